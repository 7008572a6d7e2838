"""Train the prior: ``python -m train.prior --recipe pictograms``.

Diffusion over standardised image embeddings, conditioned on the mean of any subset of the modalities of the same
concept. The network predicts the clean embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor, nn

from train.config import PriorConfig
from train.loop import Losses, Step, train
from train.normalizer import embed_all, load_or_fit_normalizer
from train.stage import Stage, run_stage
from train.views import Views, encode_views
from unclip_mm.data.cache import ConceptPools
from unclip_mm.diffusion import dropped
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior


class SampleLoss(nn.Module):
    """Squared error of the predicted clean embedding, and its cosine to the truth for the log."""

    def __init__(self, prior: MultimodalPrior):
        super().__init__()
        self.prior = prior

    def forward(self, noisy: Tensor, timesteps: Tensor, condition: Tensor, known: Tensor, target: Tensor) -> Losses:
        """Return the losses of a batch."""
        predicted = self.prior(noisy, timesteps, condition, known).float()
        cosine = F.cosine_similarity(predicted, target, dim=-1).mean()
        return {"sample_loss": (predicted - target).square().mean(), "cosine": cosine}


class Batches:
    """Draws image embeddings and, for each, the mean of some condition embeddings of the same concept."""

    def __init__(
        self,
        stage: Stage[PriorConfig],
        encoder: MultimodalEncoder,
        normalizer: EmbeddingNormalizer,
        split: str,
        views: int,
    ):
        caches = stage.caches()
        self.config, self.normalizer, self.device = stage.config, normalizer, stage.device
        self.modalities, self.dim = encoder.modalities, encoder.dim
        self.rows = caches["image"].where(split=split)
        self.concepts = [caches["image"].items[row]["concept"] for row in self.rows]
        self.views: Views = encode_views(caches["image"], self.rows, encoder, None, views, stage.config.loop.seed)
        others = {name: cache for name, cache in caches.items() if name != "image"}
        self.pools = ConceptPools(others, split)
        self.positions = {name: {row: i for i, row in enumerate(c.where(split=split))} for name, c in others.items()}
        self.vectors = {
            name: normalizer.to_image(embed_all(encoder, cache, name, cache.where(split=split)), name).half()
            for name, cache in others.items()
        }
        self.schedule = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample")

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the arguments of :class:`SampleLoss`."""
        chosen = torch.randint(len(self.rows), (count,), generator=generator)
        embeddings, _ = self.views.draw(chosen, generator)
        target = self.normalizer.normalize(embeddings)
        vectors, present = self._conditions([self.concepts[i] for i in chosen.tolist()], embeddings, generator)
        condition = _mean(vectors, self._choose(present, generator))
        length = self.config.condition_noise * torch.rand(count, 1, generator=generator)
        away = torch.randn(condition.shape, generator=generator) / self.dim**0.5
        condition = F.normalize(condition + length * away, dim=-1)
        known = ~dropped(count, self.config.drop_condition, generator)
        timesteps = torch.randint(self.schedule.config.num_train_timesteps, (count,), generator=generator)
        noisy = self.schedule.add_noise(target, torch.randn(target.shape, generator=generator), timesteps)
        return tuple(part.to(self.device) for part in (noisy, timesteps, condition, known, target))

    def _conditions(self, concepts: list[str], embeddings: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return an embedding of every modality (B, M, D), zero where the concept lacks it, and which there are."""
        vectors = torch.zeros(len(concepts), len(self.modalities), self.dim)
        present = torch.zeros(len(concepts), len(self.modalities), dtype=torch.bool)
        for slot, name in enumerate(self.modalities):
            if name == "image":
                vectors[:, slot], present[:, slot] = aligned_part(embeddings, self.dim), True
                continue
            items = self.pools.items_of(concepts, name, generator)
            where = items >= 0
            index = [self.positions[name][row] for row in items[where].tolist()]
            vectors[where, slot], present[:, slot] = self.vectors[name][index].float(), where
        return vectors, present

    def _choose(self, present: Tensor, generator: torch.Generator) -> Tensor:
        """Choose the modalities that are shown: most often one, whichever there is."""
        chance = torch.rand(present.shape, generator=generator)
        first = torch.zeros_like(present).scatter(1, (chance * present).argmax(dim=1, keepdim=True), True)
        also = torch.rand(present.shape, generator=generator) < self.config.keep_modality
        several = torch.rand(len(present), 1, generator=generator) < 0.4
        return present & (first | (also & several))


def _mean(vectors: Tensor, shown: Tensor) -> Tensor:
    """Unit vectors (B, D): the mean over the modalities that are shown."""
    return F.normalize((vectors * shown[..., None]).sum(dim=1), dim=-1)


def train_prior(stage: Stage[PriorConfig]) -> None:
    """Train and export to ``RUN/export/prior``."""
    config = stage.config
    encoder = MultimodalEncoder.from_pretrained(stage.exported("encoder")).to(stage.device).eval()
    normalizer = load_or_fit_normalizer(stage, encoder)
    batches = Batches(stage, encoder, normalizer, "train", config.views)
    held_out = Batches(stage, encoder, normalizer, "validation", 1)
    torch.manual_seed(config.loop.seed)
    sizes = {"aligned_dim": encoder.dim, "embedding_dim": encoder.image_embedding_dim}
    layers = {"width": config.width, "hidden": config.hidden, "layers": config.layers}
    model = SampleLoss(stage.initial(MultimodalPrior, lambda: MultimodalPrior(**sizes, **layers), **sizes))

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*batches.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        losses = model(*held_out.draw(512, torch.Generator().manual_seed(0)))
        return {f"held_out_{name.removesuffix('_loss')}": float(value.detach()) for name, value in losses.items()}

    trained = train(config.loop, model, loss, stage.folder, validate=validate, description="prior")
    trained.prior.save_pretrained(stage.export)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("prior", __doc__, train_prior)
