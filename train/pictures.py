"""Pictures to finetune on, with the embeddings that they are to come of: their own, or such as prompts lead to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from unclip_mm.data.cache import pixels_to_float
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer

BATCH = 64


@dataclass
class Pictures:
    """Pictures with the whole embeddings that they are to come of.

    Attributes:
        pixels: uint8 (P, 3, S, S).
        embeddings: (N, E), standardised.
        shown: int64 (N,): the picture that is to come of each embedding.
    """

    pixels: Tensor
    embeddings: Tensor
    shown: Tensor

    def with_recognised(self, made: Tensor, pictures: int, least_cosine: float) -> Pictures:
        """Add embeddings that something made of prompts; each is to become the picture that it comes nearest to.

        What has learnt its pictures makes one of them, but for small errors. Which one it meant is plain then, and what
        those errors look like is what a decoder can learn to put right.

        Args:
            made: (M, E), standardised.
            pictures: So many of the embeddings here are the pictures' own; the others are versions of them.
            least_cosine: What is farther than this from every picture is left out.
        """
        directions = F.normalize(self.embeddings[:pictures], dim=-1)
        found = [(F.normalize(part, dim=-1) @ directions.mT).max(dim=-1) for part in made.split(BATCH)]
        cosines, places = (torch.cat(part) for part in zip(*found, strict=True))
        clear = cosines >= least_cosine
        return Pictures(
            self.pixels,
            torch.cat([self.embeddings, made[clear]]),
            torch.cat([self.shown, self.shown[places[clear]]]),
        )

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
