"""Features on disk: what frozen parts of the model say of every item, computed once, and read by all trainings.

A cache is a folder with ``<modality>.safetensors`` and ``<modality>.json`` for each modality. An *item* is one text,
recording, picture, drawing or vector; items of one concept are partners across modalities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unclip_mm.errors import CheckpointError, InputError

T = TypeVar("T")
VALIDATION_FRACTION = 0.02
"""Of the training concepts, set aside for choosing settings, where the data names no validation rows."""


def pixels_to_float(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels into floats in [-1, 1].

    Example:
        >>> pixels_to_float(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    return pixels.float() / 127.5 - 1


def pixels_to_bytes(pixels: Tensor) -> Tensor:
    """Turn floats in [-1, 1] into uint8 pixels."""
    return ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@dataclass
class ModalityCache:
    """The items of one modality.

    Attributes:
        tensors: Name -> (N, ...). Sequences lie end to end in ``tokens`` (sum of lengths, F) beside ``lengths`` (N,).
        items: One dict of text fields an item: ``row``, ``concept``, ``split``, and what the manifest says besides.
    """

    tensors: dict[str, Tensor]
    items: list[dict[str, str]]

    def __post_init__(self) -> None:
        if "lengths" in self.tensors:
            self._ends = self.tensors["lengths"].cumsum(0)

    def __len__(self) -> int:
        return len(self.items)

    def where(self, **fields: str | Sequence[str]) -> list[int]:
        """Return the positions of the items whose fields have the given value, or one of the given values."""
        wanted = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in fields.items()}
        return [i for i, item in enumerate(self.items) if all(item.get(key) in wanted[key] for key in wanted)]

    def features(self, rows: Sequence[int] | Tensor) -> dict[str, Tensor]:
        """Return the features of some items as their tower takes them; sequences are padded, ``mask`` tells where."""
        index = torch.as_tensor(rows)
        if "lengths" not in self.tensors:
            return {name: self._as_input(name, values[index]) for name, values in self.tensors.items()}
        lengths = self.tensors["lengths"][index]
        steps = torch.arange(int(lengths.max()))
        mask = steps[None] < lengths[:, None]
        flat = (self._ends[index] - lengths)[:, None] + steps
        tokens = self.tensors["tokens"][flat.clamp(max=len(self.tensors["tokens"]) - 1)].float()
        return {"tokens": tokens.masked_fill(~mask[..., None], 0.0), "mask": mask}

    @staticmethod
    def _as_input(name: str, values: Tensor) -> Tensor:
        if name == "pixels":
            return pixels_to_float(values)
        return values.float() if values.is_floating_point() else values

    def save(self, folder: Path, modality: str) -> None:
        """Write the two files of this modality; the tensors last, under another name until they are whole."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{modality}.safetensors").unlink(missing_ok=True)
        lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in self.items)
        (folder / f"{modality}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        incomplete = folder / f"{modality}.incomplete"
        save_file({name: value.contiguous() for name, value in self.tensors.items()}, incomplete)
        incomplete.replace(folder / f"{modality}.safetensors")

    @classmethod
    def load(cls, folder: Path, modality: str) -> ModalityCache:
        """Read one modality of a cache.

        Raises:
            CheckpointError: The cache has no such modality.
        """
        path = folder / f"{modality}.safetensors"
        if not path.is_file():
            raise CheckpointError(f"{path}: no such cache; run `python -m train.embed` with this recipe first")
        items = json.loads((folder / f"{modality}.json").read_text(encoding="utf-8"))
        return cls(load_file(path), items)


def set_aside_validation(caches: dict[str, ModalityCache]) -> None:
    """Mark a stable fiftieth of the training concepts as ``validation``, unless the data names such rows itself."""
    items = [item for cache in caches.values() for item in cache.items]
    if any(item["split"] == "validation" for item in items):
        return
    for item in items:
        digest = blake2b(f"validation/{item['concept']}".encode(), digest_size=8).digest()
        if item["split"] == "train" and int.from_bytes(digest, "big") / 2**64 < VALIDATION_FRACTION:
            item["split"] = "validation"


class ConceptPools:
    """Draws rows for training: some concepts, and for each of them one item of every modality that it has.

    Drawing by concept means that no two rows of a batch show the same concept, so objectives that repel the rows of a
    batch have no false negatives. Of items that the data tells apart by ``kind``, each kind is as likely: the few sounds
    of a thing as the many voices that say its name.

    Args:
        caches: Modality -> its items.
        split: Which items may be drawn; of one split, or of several.
        anchor: Draw only concepts that have this modality.
        shares: Kind -> the least share of what is drawn that goes to concepts with such items, where there are so many.

    Raises:
        InputError: No item has a kind of ``shares``, or a share is not in [0, 1].
    """

    def __init__(
        self,
        caches: dict[str, ModalityCache],
        split: str | Sequence[str] = "train",
        anchor: str | None = None,
        shares: Mapping[str, float] | None = None,
    ):
        self.pools: dict[str, dict[str, list[list[int]]]] = {}
        for modality, cache in caches.items():
            kinds: dict[str, dict[str, list[int]]] = {}
            for position in cache.where(split=split):
                item = cache.items[position]
                kinds.setdefault(item["concept"], {}).setdefault(item.get("kind", ""), []).append(position)
            self.pools[modality] = {concept: list(groups.values()) for concept, groups in kinds.items()}
        names = set(self.pools[anchor]) if anchor else {name for pool in self.pools.values() for name in pool}
        self.concepts = sorted(names)
        self.shares = [(self._with_kind(caches, split, kind, share), share) for kind, share in (shares or {}).items()]

    def _with_kind(
        self, caches: dict[str, ModalityCache], split: str | Sequence[str], kind: str, share: float
    ) -> set[str]:
        if not 0 <= share <= 1:
            raise InputError(f"shares: {share} of {kind!r} is not allowed; give a number from 0 to 1")
        having = {c.items[row]["concept"] for c in caches.values() for row in c.where(split=split, kind=kind)}
        if not having:
            raise InputError(f"shares: no item of split {split!r} has the kind {kind!r}")
        return having

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return modality -> positions (B,) int64 in its cache, -1 where the concept lacks the modality."""
        order = [self.concepts[i] for i in torch.randperm(len(self.concepts), generator=generator)]
        first = [
            name for having, share in self.shares for name in [n for n in order if n in having][: int(count * share)]
        ]
        drawn = list(dict.fromkeys([*first, *order]))[:count]
        return {modality: self.items_of(drawn, modality, generator) for modality in self.pools}

    def items_of(self, concepts: Sequence[str], modality: str, generator: torch.Generator) -> Tensor:
        """Return one random item a concept, -1 where there is none."""
        chance = torch.rand(len(concepts), 2, generator=generator).tolist()
        pool = self.pools[modality]
        return torch.tensor(
            [
                _one(_one(pool[name], a), b) if name in pool else -1
                for name, (a, b) in zip(concepts, chance, strict=True)
            ]
        )


def _one(choices: Sequence[T], chance: float) -> T:
    """Choose by a number in [0, 1)."""
    return choices[int(chance * len(choices))]
