"""What a prior is asked with in training: the mean of some of a concept's embeddings, where images lie, and noisy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import PriorConfig
from train.normalizer import embed_all
from unclip_mm.data.cache import ConceptPools, ModalityCache
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.memory import EmbeddingMemory, Recall
from unclip_mm.normalizer import EmbeddingNormalizer

_BATCH = 4096


class Conditions:
    """Draws conditions for pictures.

    A drawing that is looked up among the pictures is asked with as the picture that it was taken to, which is to come of
    that: such modalities are not drawn, as pictures are. (With any picture of the concept as the answer a prior would
    learn that a picture's own vector may mean another one.)

    Args:
        caches: Modality -> its items; images need none but their place here: their embeddings come with each draw.
        encoder: Embeds the others, once.
        normalizer: Moves them to where images lie.
        split: Which items may be drawn; of one split, or of several.
        config: How often which modalities are shown.
        memory: Takes some modalities to what they mean before they are drawn, as the pipeline does; None does not. What it
            takes to another concept's captions is put right (:func:`as_taught`).
        recall: Which, among what, and at what temperature.
    """

    def __init__(
        self,
        caches: dict[str, ModalityCache],
        encoder: MultimodalEncoder,
        normalizer: EmbeddingNormalizer,
        split: str | Sequence[str],
        config: PriorConfig,
        memory: EmbeddingMemory | None = None,
        recall: Recall | None = None,
    ):
        self.config, self.dim = config, encoder.dim
        pictured = {name for name, (among, _) in (recall or {}).items() if memory is not None and among == "image"}
        self.modalities = tuple(name for name in encoder.modalities if name in caches and name not in pictured)
        others = {name: cache for name, cache in caches.items() if name in self.modalities and name != "image"}
        self.pools = ConceptPools(others, split)
        self.positions = {name: {row: i for i, row in enumerate(c.where(split=split))} for name, c in others.items()}
        self.vectors = {}
        for name, cache in others.items():
            moved = normalizer.to_image(embed_all(encoder, cache, name, cache.where(split=split)), name)
            self.vectors[name] = (moved if memory is None else memory.recall_one(moved, name, recall or {})).half()
        if memory is not None and "text" in others:
            concepts = {n: [c.items[row]["concept"] for row in self.positions[n]] for n, c in others.items()}
            for name in [name for name, (among, _) in (recall or {}).items() if among == "text" and name in others]:
                self.vectors[name] = as_taught(
                    self.vectors[name], concepts[name], self.vectors["text"], concepts["text"]
                )

    def draw(self, concepts: list[str], embeddings: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        """Return vectors (B, D), as long as their cosine to what they were before the noise is expected to be.

        Half of the noise is shorter than a quarter of the longest: most prompts are met as they are. Noise of length n,
        in many dimensions, leaves a cosine of ``1 / (1 + n^2)^(1/2)``.

        Args:
            concepts: Of the pictures.
            embeddings: Of the pictures, whole (B, E).
            noise: Largest length of what is added to the condition, which is of length 1.
            generator: The source of randomness, on the CPU.
        """
        return self.draw_with_shown(concepts, embeddings, noise, generator)[0]

    def draw_with_shown(
        self, concepts: list[str], embeddings: Tensor, noise: float, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw vectors (B, D) as :meth:`draw` does, and tell of each modality which rows show it, bool (B,)."""
        vectors, present = self._look_up(concepts, embeddings, generator)
        shown = self._choose(present, generator)
        named = dict(zip(self.modalities, shown.unbind(dim=1), strict=True))
        return self.noisy(_mean(vectors, shown), noise, generator), named

    def noisy(self, vectors: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        """Add noise to unit vectors (B, D), as :meth:`draw` does."""
        length = noise * torch.rand(len(vectors), 1, generator=generator).square()
        away = torch.randn(vectors.shape, generator=generator) / self.dim**0.5
        return F.normalize(vectors + length * away, dim=-1) / (1 + length.square()).sqrt()

    def _look_up(self, concepts: list[str], embeddings: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
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


def as_taught(
    vectors: Tensor, concepts: Sequence[str], captions: Tensor, concepts_of_captions: Sequence[str]
) -> Tensor:
    """Put right what was looked up among captions and taken to those of something else.

    A recording of "lasagna" that is heard as "guitar" is asked with as a guitar is, and would teach that one may come of
    that: where it is nearest to another concept's captions it becomes the mean of its own.

    Args:
        vectors: Unit vectors (n, D).
        concepts: Theirs.
        captions: Unit vectors (N, D).
        concepts_of_captions: Theirs.

    Returns:
        Unit vectors (n, D); those of concepts without captions are as they were.

    Example:
        >>> guitar, lasagna = torch.eye(2)
        >>> heard = torch.stack([guitar, guitar])
        >>> as_taught(heard, ["guitar", "lasagna"], torch.eye(2), ["guitar", "lasagna"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    number = {concept: place for place, concept in enumerate(dict.fromkeys(concepts_of_captions))}
    places = torch.tensor([number[concept] for concept in concepts_of_captions])
    means = torch.zeros(len(number), captions.shape[1]).index_add(0, places, captions.float())
    means = F.normalize(means, dim=-1)
    own = torch.tensor([number.get(concept, -1) for concept in concepts])
    nearest = torch.cat([(part.float() @ means.mT).argmax(dim=1) for part in vectors.split(_BATCH)])
    wrong = (own >= 0) & (nearest != own)
    return torch.where(wrong[:, None], means[own].to(vectors.dtype), vectors)


def _mean(vectors: Tensor, shown: Tensor) -> Tensor:
    """Unit vectors (B, D): the mean over the modalities that are shown."""
    return F.normalize((vectors * shown[..., None]).sum(dim=1), dim=-1)
