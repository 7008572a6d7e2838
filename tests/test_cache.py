"""Drawing from the caches: by concept, and of what a concept has of one modality, each kind as often."""

from __future__ import annotations

from collections import Counter

import torch

from unclip_mm.data.cache import ConceptPools, ModalityCache


def cache(*items: tuple[str, str]) -> ModalityCache:
    """Items of (concept, kind)."""
    about = [{"row": str(i), "concept": c, "split": "train", "kind": k} for i, (c, k) in enumerate(items)]
    return ModalityCache({"vector": torch.zeros(len(items), 2)}, about)


def test_few_sounds_are_drawn_as_often_as_many_voices() -> None:
    pools = ConceptPools({"audio": cache(("cow", "sound"), *[("cow", "speech")] * 9, ("sun", "speech"))})
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(pools.items_of(["cow"] * 2000, "audio", generator).tolist())
    assert 900 < drawn[0] < 1100 and sorted(drawn) == list(range(10))
    assert all(60 < drawn[voice] < 160 for voice in range(1, 10))
    assert pools.items_of(["sun", "moon"], "audio", generator).tolist() == [10, -1]


def test_items_without_a_kind_are_all_alike() -> None:
    bare = ModalityCache(
        {"vector": torch.zeros(3, 2)}, [{"row": str(i), "concept": "cow", "split": "train"} for i in range(3)]
    )
    drawn = Counter(ConceptPools({"imu": bare}).items_of(["cow"] * 900, "imu", torch.Generator()).tolist())
    assert sorted(drawn) == [0, 1, 2] and min(drawn.values()) > 230
