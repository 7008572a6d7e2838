"""What the encoder is trained on: batches of concepts, one item of every modality each, pictures and drawings augmented."""

from __future__ import annotations

import torch
from torch import Tensor

from train.augment import another_hand, line_drawing, shift_and_scale
from unclip_mm.data.cache import ConceptPools, ModalityCache
from unclip_mm.towers import Features

Batch = dict[str, tuple[Features, Tensor]]
"""Modality -> features of the rows that have it, and which of the B rows these are (bool (B,))."""


class Batches:
    """Draws training batches from the caches, augmented.

    Args:
        caches: Modality -> its items.
        anchor: The modality that every row has.
        max_tokens: Longest stretch of a sequence.
        hide_tokens: Share of its steps that are hidden.
        device: Where the batches go.
        shares: See :class:`unclip_mm.data.cache.ConceptPools`.
    """

    def __init__(
        self,
        caches: dict[str, ModalityCache],
        anchor: str,
        max_tokens: int,
        hide_tokens: float,
        device: torch.device,
        shares: dict[str, float] | None = None,
    ):
        self.caches, self.max_tokens, self.hide_tokens, self.device = caches, max_tokens, hide_tokens, device
        self.pools = ConceptPools(caches, "train", anchor=anchor, shares=shares)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Return one batch of ``count`` concepts."""
        batch: Batch = {}
        positions = self.pools.draw(count, generator)
        drawn = "image" in positions and "pixels" in self.caches["image"].tensors
        pictured = positions["image"] >= 0 if drawn else torch.zeros(count, dtype=torch.bool)
        pixels = None
        if pictured.any():
            pixels = shift_and_scale(self.caches["image"].features(positions["image"][pictured])["pixels"], generator)
            batch["image"] = self._on_device({"pixels": pixels}, pictured)
        for modality, chosen in positions.items():
            where = chosen >= 0
            if modality == "sketch" and "pixels" in self.caches["sketch"].tensors:
                sketches, where = self._sketches(chosen, pixels, pictured, generator)
                features = {"pixels": sketches}
            elif modality in batch or not where.any():
                continue
            else:
                features = self.caches[modality].features(chosen[where])
                features = hide(crop(features, self.max_tokens, generator), self.hide_tokens, generator)
            if where.any():
                batch[modality] = self._on_device(features, where)
        return {name: batch[name] for name in positions if name in batch}

    def _sketches(
        self, chosen: Tensor, pixels: Tensor | None, pictured: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Drawings where there are any, and in their place, or two times in five, the edges of the pictures.

        Args:
            chosen: Places of the drawings in their cache (B,), -1 where there is none.
            pixels: Of the rows that have a picture.
            pictured: Which rows these are, bool (B,).

        Returns:
            (n, 1, S, S), and which rows these are, bool (B,).
        """
        side = self.caches["sketch"].tensors["pixels"].shape[-1]
        sketches, there = torch.ones(len(chosen), 1, side, side), chosen >= 0
        drawn = there & (torch.rand(len(chosen), generator=generator) < 0.6)
        if pixels is None:
            drawn = there
        else:
            sketches[pictured] = line_drawing(pixels, generator)
            drawn, there = drawn | (there & ~pictured), there | pictured
        if drawn.any():
            own = shift_and_scale(self.caches["sketch"].features(chosen[drawn])["pixels"], generator)
            sketches[drawn] = another_hand(own, generator)
        return sketches[there], there

    def _on_device(self, features: Features, where: Tensor) -> tuple[Features, Tensor]:
        return {name: values.to(self.device) for name, values in features.items()}, where.to(self.device)


def crop(features: Features, most: int, generator: torch.Generator) -> Features:
    """Cut sequences to a random stretch of at most ``most`` steps, so that one long recording does not slow a batch."""
    if "tokens" not in features or features["mask"].shape[1] <= most:
        return features
    lengths = features["mask"].sum(dim=1)
    start = (torch.rand(len(lengths), generator=generator) * (lengths - most + 1).clamp(min=1)).long()
    index = start[:, None] + torch.arange(most)
    mask = index < lengths[:, None]
    index = index.clamp(max=features["mask"].shape[1] - 1)
    tokens = features["tokens"].gather(1, index[..., None].expand(-1, -1, features["tokens"].shape[2]))
    return {"tokens": tokens, "mask": mask}


def hide(features: Features, share: float, generator: torch.Generator) -> Features:
    """Mask a share of the steps of sequences; one whose steps would all be hidden stays as it is.

    Example:
        >>> sequence = {"tokens": torch.zeros(1, 1000, 1), "mask": torch.ones(1, 1000, dtype=torch.bool)}
        >>> 700 < hide(sequence, 0.2, torch.Generator().manual_seed(0))["mask"].sum() < 900
        tensor(True)
    """
    if "mask" not in features or share == 0:
        return features
    mask = features["mask"]
    shown = mask & (torch.rand(mask.shape, generator=generator) >= share)
    return features | {"mask": torch.where(shown.any(dim=1, keepdim=True), shown, mask)}
