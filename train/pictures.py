"""Pictures to finetune on, with the embeddings that they are to come of: their own, or such as prompts lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        chances: (N,): how often each embedding is drawn, up to a factor; None draws all alike.
        twins: int64 (P,): the picture of another concept that each is most like; None where none is looked for.
    """

    pixels: Tensor
    embeddings: Tensor
    shown: Tensor
    chances: Tensor | None = None
    twins: Tensor | None = None

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
        return replace(
            self,
            embeddings=torch.cat([self.embeddings, made[clear]]),
            shown=torch.cat([self.shown, self.shown[places[clear]]]),
        )

    def favouring(self, errors: Tensor, share: float) -> Pictures:
        """Draw a share of the rows in proportion to the errors of the pictures that they are to become.

        Args:
            errors: (P / V,), 0 or more, of the pictures; the V versions of each count alike.
            share: In [0, 1]; the other rows are drawn alike.

        Example:
            >>> pictures = Pictures(torch.zeros(2, 3, 8, 8), torch.zeros(3, 4), torch.tensor([0, 1, 1]))
            >>> pictures.favouring(torch.tensor([3.0, 1.0]), 0.6).chances
            tensor([0.4933, 0.2533, 0.2533])
        """
        of_rows = errors[self.shown % len(errors)] + 1e-12  # no picture has a chance of nothing
        return replace(self, chances=share * of_rows / of_rows.sum() + (1 - share) / len(of_rows))

    def with_twins(self, concepts: Sequence[str]) -> Pictures:
        """Find the picture of another concept that each of the first P / V, with these concepts, is most like.

        By their embeddings. The versions of a picture count as their own twins, from which nothing can tell them.

        Example:
            >>> at = torch.nn.functional.normalize(torch.tensor([[3.0, 0.0], [3.0, 0.1], [3.0, 1.0], [0.0, 1.0]]), dim=-1)
            >>> pictures = Pictures(torch.zeros(8, 3, 8, 8), at.repeat(2, 1), torch.arange(8))
            >>> pictures.with_twins(["cat", "cat", "dog", "dog"]).twins
            tensor([2, 2, 1, 1, 4, 5, 6, 7])
        """
        number = {concept: place for place, concept in enumerate(dict.fromkeys(concepts))}
        numbers = torch.tensor([number[concept] for concept in concepts])
        directions = F.normalize(self.embeddings[: len(concepts)], dim=-1)
        twins = torch.arange(len(self.pixels))
        for places in torch.arange(len(concepts)).split(BATCH):
            same = numbers[places, None] == numbers
            twins[places] = (directions[places] @ directions.mT).masked_fill(same, -torch.inf).argmax(dim=-1)
        return replace(self, twins=twins)

    def draw(self, count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw embeddings, what they are to become, and what that is to be told from.

        Returns:
            Embeddings (B, E), with noise up to so many of their standard deviations, pictures (B, 3, S, S), and their
            twins, which are the pictures themselves where none were looked for.
        """
        chances = torch.ones(len(self.embeddings)) if self.chances is None else self.chances
        rows = torch.multinomial(chances, count, replacement=True, generator=generator)
        strength = noise * torch.rand(count, 1, generator=generator)
        embeddings, shown = self.embeddings[rows], self.shown[rows]
        return (
            embeddings + strength * torch.randn(embeddings.shape, generator=generator),
            pixels_to_float(self.pixels[shown]),
            pixels_to_float(self.pixels[shown if self.twins is None else self.twins[shown]]),
        )


def shrink(pictures: Tensor, size: int) -> Tensor:
    """Make pictures (B, 3, H, W) in [-1, 1] as small as the towers see them: (B, 3, size, size)."""
    return F.interpolate(pictures, size, mode="bicubic", antialias=True).clamp(-1, 1)


@torch.no_grad()
def embed_pictures(pixels: Tensor, size: int, encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer) -> Pictures:
    """Embed pictures, uint8 (N, 3, P, P), at the size that the towers see."""
    device, embeddings = next(encoder.parameters()).device, []
    for part in tqdm(pixels.split(BATCH), desc="embed", unit="batch"):
        embedded = encoder.image_embedding({"pixels": shrink(pixels_to_float(part), size).to(device)})
        embeddings.append(normalizer.normalize(embedded).cpu())
    return Pictures(pixels, torch.cat(embeddings), torch.arange(len(pixels)))
