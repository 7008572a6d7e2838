"""Pictures to finetune on, with what asks for them: their own embedding, what the prior imagines, or a prompt alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from train.conditions import Conditions
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer

BATCH = 64
CHOICE = 8
"""Most pictures of one concept that a prompt alone may become."""


@dataclass
class Pictures:
    """Pictures with the whole embeddings that they are asked for by.

    Attributes:
        pixels: uint8 (P, 3, S, S).
        embeddings: (N, E), standardised.
        shown: int64 (N,): the picture that is to come of each embedding.
    """

    pixels: Tensor
    embeddings: Tensor
    shown: Tensor

    def draw(self, count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, E), with noise up to so many of their standard deviations, and pictures (B, 3, S, S)."""
        rows = torch.randint(len(self.embeddings), (count,), generator=generator)
        strength = noise * torch.rand(count, 1, generator=generator)
        embeddings = self.embeddings[rows]
        return (
            embeddings + strength * torch.randn(embeddings.shape, generator=generator),
            pixels_to_float(self.pixels[self.shown[rows]]),
        )


@torch.no_grad()
def embed_pictures(pixels: Tensor, size: int, encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer) -> Pictures:
    """Embed pictures, uint8 (N, 3, P, P), at the size that the towers see."""
    device, embeddings = next(encoder.parameters()).device, []
    for part in tqdm(pixels.split(BATCH), desc="embed", unit="batch"):
        small = F.interpolate(pixels_to_float(part), size, mode="bicubic", antialias=True).clamp(-1, 1)
        embedded = encoder.image_embedding({"pixels": small.to(device)})
        embeddings.append(normalizer.normalize(embedded).cpu())
    return Pictures(pixels, torch.cat(embeddings), torch.arange(len(pixels)))


class Prompts:
    """What prompts mean, without a prior, and the pictures of their concepts, any of which may come of it.

    Args:
        pictures: Of which the first N are of the concepts.
        concepts: Of N pictures.
        conditions: What a prompt says of a concept.
        normalizer: Of the run, on the CPU.
        noise: Largest length of what is added to the prompts' embeddings, which are of length 1.
    """

    def __init__(
        self,
        pictures: Pictures,
        concepts: list[str],
        conditions: Conditions,
        normalizer: EmbeddingNormalizer,
        noise: float,
    ):
        self.pixels, self.concepts, self.conditions = pictures.pixels, concepts, conditions
        self.embeddings = normalizer.denormalize(pictures.embeddings[: len(concepts)])
        self.normalizer, self.noise = normalizer, noise
        shown: dict[str, list[int]] = {}
        for row, concept in enumerate(concepts):
            shown.setdefault(concept, []).append(row)
        self.choices = torch.tensor([(shown[concept] * CHOICE)[:CHOICE] for concept in concepts])

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, E) without detail, standardised, and pictures to choose from (B, K, 3, S, S)."""
        rows = torch.randint(len(self.concepts), (count,), generator=generator)
        concepts = [self.concepts[row] for row in rows.tolist()]
        asked = self.conditions.draw(concepts, self.embeddings[rows], self.noise, generator)
        embeddings = self.normalizer.aligned_to_embedding(F.normalize(asked, dim=-1))
        return embeddings, pixels_to_float(self.pixels[self.choices[rows]])


def nearest(made: Tensor, choices: Tensor) -> Tensor:
    """Return of each row's pictures the one that comes nearest to what was made, seen from afar.

    A prompt alone has several answers, and the mean of them is none. So each time the answer is the one that the decoder
    is on its way to.

    Args:
        made: (B, 3, S, S).
        choices: (B, K, 3, S, S).

    Returns:
        (B, 3, S, S).

    Example:
        >>> choices = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])[None]
        >>> nearest(torch.full((1, 3, 8, 8), 0.7), choices).mean()
        tensor(1.)
    """
    side = max(made.shape[-1] // 8, 1)
    far, there = (F.adaptive_avg_pool2d(pixels, side) for pixels in (made.detach(), choices.flatten(0, 1)))
    errors = (there.unflatten(0, choices.shape[:2]) - far[:, None]).square().flatten(2).mean(dim=2)
    return choices[torch.arange(len(choices), device=choices.device), errors.argmin(dim=1)]
