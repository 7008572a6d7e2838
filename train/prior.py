"""Train the prior: ``python -m train.prior --recipe pictograms``.

Diffusion over standardised image embeddings, conditioned on the mean of any subset of the modalities of the same
concept, and on the picture's style or on none. The network predicts the clean embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor, nn

from train.conditions import Conditions
from train.config import PriorConfig
from train.loop import Losses, Step, train
from train.memorise import memorise
from train.normalizer import load_or_fit_normalizer
from train.preferred import PictureDraw
from train.stage import Stage, run_stage
from train.views import Views, encode_views
from unclip_mm.data.cache import ModalityCache
from unclip_mm.diffusion import dropped
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import ANY_STYLE, MultimodalPrior


def prior_scheduler() -> DDIMScheduler:
    """Return the noise schedule that priors are trained and sampled with."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, timestep_spacing="trailing"
    )


class SampleLoss(nn.Module):
    """Squared error of the predicted clean embedding, and its cosine to the truth for the log."""

    def __init__(self, prior: MultimodalPrior):
        super().__init__()
        self.prior = prior

    def forward(
        self, noisy: Tensor, timesteps: Tensor, condition: Tensor, known: Tensor, style: Tensor, target: Tensor
    ) -> Losses:
        """Return the losses of a batch."""
        predicted = self.prior(noisy, timesteps, condition, known, style).float()
        cosine = F.cosine_similarity(predicted, target, dim=-1).mean()
        return {"sample_loss": (predicted - target).square().mean(), "cosine": cosine}


class Batches:
    """Draws image embeddings and, for each, the mean of some condition embeddings of the same concept.

    Every concept is as likely, however many pictures it has, and what the recipe recalls is recalled: as in use.

    Args:
        stage: Of the prior.
        encoder: Of the run.
        normalizer: Of the run.
        prior: Whose styles may be told.
        split: Whose pictures are drawn.
        views: Versions of each picture.
        logits: (N,), of the pictures: where neither a picture nor a style is shown, those of a concept answer with the
            chances of their softmax; None lets all of them answer alike.
    """

    def __init__(
        self,
        stage: Stage[PriorConfig],
        encoder: MultimodalEncoder,
        normalizer: EmbeddingNormalizer,
        prior: MultimodalPrior,
        split: str | Sequence[str],
        views: int,
        logits: Tensor | None = None,
    ):
        caches = stage.caches()
        self.config, self.normalizer, self.device = stage.config, normalizer, stage.device
        self.rows = caches["image"].where(split=split)
        pictures = [caches["image"].items[row] for row in self.rows]
        self.concepts = [picture["concept"] for picture in pictures]
        self.styles = prior.style_numbers([picture.get("style") for picture in pictures]).cpu()
        self.any_picture, self.preferred = PictureDraw(self.concepts), PictureDraw(self.concepts, logits)
        self.views: Views = encode_views(caches["image"], self.rows, encoder, None, views, stage.config.loop.seed)
        memory = memorise(stage.recipe, stage.run, encoder, normalizer)
        self.conditions = Conditions(caches, encoder, normalizer, split, stage.config, memory, stage.recipe.recall)
        self.schedule = prior_scheduler()

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the arguments of :class:`SampleLoss`."""
        asked = torch.randint(self.any_picture.count, (count,), generator=generator)
        chosen = self.any_picture(asked, generator)
        embeddings, _ = self.views.draw(chosen, generator)
        concepts = [self.concepts[i] for i in chosen.tolist()]
        noise = self.config.condition_noise
        condition, shown = self.conditions.draw_with_shown(concepts, embeddings, noise, generator)
        told = torch.rand(count, generator=generator) < self.config.tell_style
        style = torch.where(told, self.styles[chosen], ANY_STYLE)
        preferred, _ = self.views.draw(self.preferred(asked, generator), generator)
        settled = shown["image"] | (style != ANY_STYLE)
        target = self.normalizer.normalize(torch.where(settled[:, None], embeddings, preferred))
        known = ~dropped(count, self.config.drop_condition, generator)
        timesteps = torch.randint(self.schedule.config.num_train_timesteps, (count,), generator=generator)
        noisy = self.schedule.add_noise(target, torch.randn(target.shape, generator=generator), timesteps)
        return tuple(part.to(self.device) for part in (noisy, timesteps, condition, known, style, target))


def named_styles(pictures: ModalityCache) -> tuple[str, ...]:
    """Return the styles of the pictures that are trained on, sorted; none where there is only one."""
    styles = {style for row in pictures.where(split="train") if (style := pictures.items[row].get("style"))}
    return tuple(sorted(styles)) if len(styles) > 1 else ()


def train_prior(stage: Stage[Any], logits: Tensor | None = None) -> None:
    """Train and export to ``RUN/export/<stage>``; ``logits`` are those of :class:`Batches`."""
    config: PriorConfig = stage.config
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    torch.manual_seed(config.loop.seed)
    sizes = {"aligned_dim": encoder.dim, "embedding_dim": encoder.image_embedding_dim}
    layers = {"width": config.width, "hidden": config.hidden, "layers": config.layers}
    styles = named_styles(stage.caches("image")["image"]) if config.tell_style else ()
    prior = stage.initial(MultimodalPrior, lambda: MultimodalPrior(**sizes, **layers, styles=styles), **sizes)
    batches = Batches(stage, encoder, normalizer, prior, stage.trained_on, config.views, logits)
    held_out = Batches(stage, encoder, normalizer, prior, "validation", 1)
    model = SampleLoss(prior)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        losses = model(*held_out.draw(512, torch.Generator().manual_seed(0)))
        return {f"held_out_{name.removesuffix('_loss')}": float(value.detach()) for name, value in losses.items()}

    trained = train(config.loop, model, loss, stage.folder, validate=validate, description=stage.name)
    stage.save(trained.prior)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("prior", __doc__, train_prior)
