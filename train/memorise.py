"""What a model is to remember: the captions and pictures that it was taught, and examples that lead to captions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from train.config import Recipe
from train.normalizer import embed_all
from unclip_mm.data.cache import ModalityCache
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.memory import EmbeddingMemory, in_eight_bits
from unclip_mm.normalizer import EmbeddingNormalizer


def vocabulary(run: Path) -> dict[str, int]:
    """Give one caption, the shortest, of every concept that was trained on with pictures, and its row in the cache.

    Sorted by the captions; empty without texts.
    """
    if not all((run / "cache" / f"{modality}.json").is_file() for modality in ("text", "image")):
        return {}
    texts, pictures = (ModalityCache.load(run / "cache", modality) for modality in ("text", "image"))
    drawn = {pictures.items[row]["concept"] for row in pictures.where(split="train")}
    shortest: dict[str, int] = {}
    for row in texts.where(split="train"):
        concept, caption = texts.items[row]["concept"], texts.items[row]["text"]
        if concept in drawn and (concept not in shortest or len(caption) < len(texts.items[shortest[concept]]["text"])):
            shortest[concept] = row
    return dict(sorted((texts.items[row]["text"], row) for row in shortest.values()))


def memorise(
    recipe: Recipe, run: Path, encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer
) -> EmbeddingMemory | None:
    """Embed what the recipe looks things up in, where images lie: the vocabulary of a run, its pictures, examples.

    None for a recipe that looks nothing up.

    Raises:
        CheckpointError: There is no vocabulary.
        InputError: It looks up among something else than ``text`` and ``image``, or there are no examples of a kind.
    """

    def moved(modality: str, rows: list[int] | None = None, **fields: str) -> tuple[Tensor, list[str]]:
        cache = ModalityCache.load(run / "cache", modality)
        chosen = cache.where(split="train", **fields) if rows is None else rows
        if not chosen:
            raise InputError(f"examples: no training item of {modality!r} is of the kind {fields.get('kind')!r}")
        vectors = aligned_part(embed_all(encoder, cache, modality, chosen), encoder.dim)
        return normalizer.to_image(vectors, modality), [cache.items[row]["concept"] for row in chosen]

    points, examples, words = {}, {}, list(vocabulary(run).values())
    for among in sorted({among for among, _ in recipe.recall.values()}):
        if among not in ("text", "image"):
            raise InputError(f"recall: nothing is looked up among {among!r}; give 'text' or 'image'")
        if not words:
            raise CheckpointError(
                f"{run / 'cache'}: no captions of pictures, which the recipe's recall looks things up in; "
                "run train.embed first, or leave recall out"
            )
        points[among], concepts = moved(among, words if among == "text" else None)
        for modality, kind in recipe.examples.items():
            if among == "text" and recipe.recall.get(modality, ("",))[0] == among:
                examples[modality] = meant_by(*moved(modality, kind=kind), points[among], concepts)
    return EmbeddingMemory.of(points, examples) if points else None


def meant_by(
    examples: Tensor, concepts: list[str], captions: Tensor, concepts_of_captions: list[str]
) -> tuple[Tensor, Tensor]:
    """Return which caption every example means; of one that stands for several things, only what it is nearest to.

    Args:
        examples: (n, D); those of concepts without a caption are left out.
        concepts: Of the examples.
        captions: (N, D).
        concepts_of_captions: Of the captions.

    Returns:
        Examples (m, D), and the place of the caption of each, int64 (m,).

    Example:
        >>> bell, barks = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.8, 0.6]])
        >>> captions = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> meant_by(torch.cat([bell, barks]), ["bell", "dog", "wolf"], captions, ["dog", "wolf"])
        (tensor([[0.8000, 0.6000]]), tensor([1]))
    """
    place = {concept: number for number, concept in enumerate(concepts_of_captions)}
    known = [row for row, concept in enumerate(concepts) if concept in place]
    meant = torch.tensor([place[concepts[row]] for row in known], dtype=torch.int64)
    cosines = (examples[known] * captions[meant]).sum(dim=-1)
    nearest: dict[bytes, int] = {}
    for number in cosines.argsort(descending=True).tolist():
        nearest.setdefault(in_eight_bits(examples[known[number]][None]).numpy().tobytes(), number)
    kept = sorted(nearest.values())
    return examples[[known[number] for number in kept]], meant[kept]
