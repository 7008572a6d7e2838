"""Drawing from the caches: by concept, and of what a concept has of one modality, each kind as often."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from unclip_mm.data.cache import ConceptPools, ModalityCache
from unclip_mm.errors import InputError


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


def test_a_kind_that_few_concepts_have_fills_its_share_of_a_batch() -> None:
    audio = cache(*[(f"named-{i}", "speech") for i in range(90)], *[(f"heard-{i}", "sound") for i in range(10)])
    generator = torch.Generator().manual_seed(0)

    def heard(pools: ConceptPools, count: int) -> int:
        drawn = pools.draw(count, generator)["audio"].tolist()
        assert len(set(drawn)) == count
        return sum(audio.items[row]["kind"] == "sound" for row in drawn)

    assert sum(heard(ConceptPools({"audio": audio}), 20) for _ in range(50)) < 150
    often = ConceptPools({"audio": audio}, shares={"sound": 0.4})
    assert all(heard(often, 20) >= 8 for _ in range(50))
    assert heard(often, 50) == 10, "there are no more"
    with pytest.raises(InputError, match="no item of split 'train' has the kind 'song'"):
        ConceptPools({"audio": audio}, shares={"song": 0.4})
    with pytest.raises(InputError, match="give a number from 0 to 1"):
        ConceptPools({"audio": audio}, shares={"sound": 40})
