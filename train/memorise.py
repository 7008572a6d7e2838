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
        InputError: It looks up among something else than ``text`` and ``image``, there are no examples of a kind, or
            they are of a modality that is not looked up.
    """

    def moved(modality: str, rows: list[int], cache: ModalityCache) -> tuple[Tensor, list[str]]:
        vectors = aligned_part(embed_all(encoder, cache, modality, rows), encoder.dim)
        return normalizer.to_image(vectors, modality), [cache.items[row]["concept"] for row in rows]

    words, points, examples = list(vocabulary(run).values()), {}, {}
    for among in sorted({among for among, _ in recipe.recall.values()}):
        if among not in ("text", "image"):
            raise InputError(f"recall: nothing is looked up among {among!r}; give 'text' or 'image'")
        if not words:
            raise CheckpointError(
                f"{run / 'cache'}: no captions of pictures, which the recipe's recall looks things up in; "
                "run train.embed first, or leave recall out"
            )
        cache = ModalityCache.load(run / "cache", among)
        points[among] = moved(among, words if among == "text" else cache.where(split="train"), cache)
    for modality, kind in recipe.examples.items():
        if modality not in recipe.recall:
            raise InputError(f"examples: {modality!r} is not looked up; say among what in recall, or leave it out")
        cache = ModalityCache.load(run / "cache", modality)
        rows = cache.where(split="train", kind=kind)
        if not rows:
            raise InputError(f"examples: no training item of {modality!r} is of the kind {kind!r}")
        examples[modality] = meant_by(*moved(modality, rows, cache), *points[recipe.recall[modality][0]])
    return EmbeddingMemory.of({name: vectors for name, (vectors, _) in points.items()}, examples) if points else None


def meant_by(
    examples: Tensor, concepts: list[str], points: Tensor, concepts_of_points: list[str]
) -> tuple[Tensor, Tensor]:
    """Return which point every example means: of those of its concept the nearest.

    An example that is there several times, as it stands for several concepts, is kept once, for the nearest of all.

    Args:
        examples: (n, D); those of concepts without a point are left out.
        concepts: Of the examples.
        points: (N, D).
        concepts_of_points: Of the points.

    Returns:
        Examples (m, D), and the place of the point of each, int64 (m,).

    Example:
        >>> bell, barks = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.8, 0.6], [0.8, 0.6]])
        >>> captions = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> meant_by(torch.cat([bell, barks]), ["bell", "dog", "wolf"], captions, ["dog", "wolf"])
        (tensor([[0.8000, 0.6000]]), tensor([1]))
    """
    number = {concept: place for place, concept in enumerate(dict.fromkeys([*concepts_of_points, *concepts]))}
    mine, theirs = (torch.tensor([number[name] for name in names]) for names in (concepts, concepts_of_points))
    cosines, meant = (examples @ points.mT).masked_fill(mine[:, None] != theirs, -torch.inf).max(dim=1)
    nearest: dict[bytes, int] = {}
    for row in cosines.argsort(descending=True).tolist():
        if cosines[row].isfinite():
            nearest.setdefault(in_eight_bits(examples[row]).numpy().tobytes(), row)
    kept = sorted(nearest.values())
    return examples[kept], meant[kept]
