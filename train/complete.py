"""Train the completion: ``python -m train.complete --recipe pictograms``.

It is asked as a prior is, with the mean of any subset of the modalities of a concept, and answers with one image
embedding in one evaluation. A concept has many pictures, and their mean is none of them. So each time the answer is the
one that the network is nearest to, and it settles on one for each prompt; of a picture's own vector the answer is that
picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.conditions import Conditions
from train.config import CompletionConfig
from train.loop import Losses, Step, train
from train.memorise import memorise
from train.normalizer import load_or_fit_normalizer
from train.stage import Stage, run_stage
from train.views import encode_views
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.normalizer import EmbeddingNormalizer

CHOICE = 8
"""Most pictures of one concept that a prompt may come to mean."""


class NearestLoss(nn.Module):
    """Squared error to whichever answer is nearest: (B, K, E), standardised, of which one is to come."""

    def __init__(self, completion: EmbeddingCompletion):
        super().__init__()
        self.completion = completion

    def forward(self, condition: Tensor, answers: Tensor) -> Losses:
        """Return the losses of a batch, and the cosine to the answer for the log."""
        made = self.completion(condition).float()
        errors = (made[:, None] - answers).square().mean(dim=2)
        error, chosen = errors.min(dim=1)
        answer = answers[torch.arange(len(answers), device=answers.device), chosen]
        return {"nearest_loss": error.mean(), "cosine": F.cosine_similarity(made, answer, dim=-1).mean()}


class Batches:
    """Draws what is asked and the embeddings of the pictures that it may come to mean.

    Args:
        embeddings: Whole image embeddings (N, E) of the pictures of a split.
        concepts: Of the N pictures.
        conditions: What a prompt says of a concept.
        normalizer: Of the run.
        config: How often what is asked, and how noisy it is.
        device: Where the batches go.

    Concepts come up alike, however many pictures they have: people ask for each.
    """

    def __init__(
        self,
        embeddings: Tensor,
        concepts: list[str],
        conditions: Conditions,
        normalizer: EmbeddingNormalizer,
        config: CompletionConfig,
        device: torch.device,
    ):
        self.embeddings, self.conditions, self.config, self.device = embeddings, conditions, config, device
        self.standardised = normalizer.normalize(embeddings)
        shown: dict[str, list[int]] = {}
        for row, concept in enumerate(concepts):
            shown.setdefault(concept, []).append(row)
        self.concepts = sorted(shown)
        self.choices = torch.tensor([(shown[concept] * CHOICE)[:CHOICE] for concept in self.concepts])

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the arguments of :class:`NearestLoss`; of the first rows pictures themselves are what is asked."""
        rows = torch.randint(len(self.concepts), (count,), generator=generator)
        choices = self.choices[rows]
        picture = choices[torch.arange(count), torch.randint(CHOICE, (count,), generator=generator)]
        concepts, own = [self.concepts[row] for row in rows.tolist()], self.embeddings[picture]
        condition = self.conditions.draw(concepts, own, self.config.condition_noise, generator)
        alone = round(count * self.config.pictures)
        shown = aligned_part(own[:alone], condition.shape[1])
        condition[:alone] = self.conditions.noisy(shown, self.config.condition_noise, generator)
        choices[:alone] = picture[:alone, None]
        return condition.to(self.device), self.standardised[choices].to(self.device)


def train_complete(stage: Stage[CompletionConfig]) -> None:
    """Train and export to ``RUN/export/complete``."""
    config, recipe, caches = stage.config, stage.recipe, stage.caches()
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    memory = memorise(recipe, stage.run, encoder, normalizer)

    def batches(split: str | Sequence[str]) -> Batches:
        rows = caches["image"].where(split=split)
        views = encode_views(caches["image"], rows, encoder, None, 1, config.loop.seed)
        concepts = [caches["image"].items[row]["concept"] for row in rows]
        conditions = Conditions(caches, encoder, normalizer, split, recipe.prior, memory, recipe.recall)
        return Batches(views.embeddings[:, 0].float(), concepts, conditions, normalizer, config, stage.device)

    training, held_out = batches(stage.trained_on), batches("validation")
    torch.manual_seed(config.loop.seed)
    sizes = {"aligned_dim": encoder.dim, "embedding_dim": encoder.image_embedding_dim}
    layers = {"width": config.width, "layers": config.layers}
    model = NearestLoss(stage.initial(EmbeddingCompletion, lambda: EmbeddingCompletion(**sizes, **layers), **sizes))

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(*training.draw(step.batch_size, step.generator))

    def validate(model: Any) -> dict[str, float]:
        losses = model(*held_out.draw(512, torch.Generator().manual_seed(0)))
        return {f"held_out_{name.removesuffix('_loss')}": float(value.detach()) for name, value in losses.items()}

    trained = train(config.loop, model, loss, stage.folder, validate=validate, description="complete")
    stage.save(trained.completion)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("complete", __doc__, train_complete)
