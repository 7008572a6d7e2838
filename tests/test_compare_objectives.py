"""The comparison of objectives, on a small world of vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks.compare_objectives import MODALITIES, TRIALS, World, fit_readout, train_heads, validation_score
from train.config import LoopConfig
from unclip_mm.data.cache import ModalityCache

CONCEPTS, FEATURES = 24, 6


@pytest.fixture
def world() -> World:
    """Every concept has two items of every modality, all linear in what the concept is; a third are for validation."""
    torch.manual_seed(0)
    shared = torch.randn(CONCEPTS, FEATURES)
    items = [
        {"row": f"{n}-{k}", "concept": str(n), "split": "validation" if n % 3 == 0 else "train"}
        for n in range(CONCEPTS)
        for k in range(2)
    ]
    caches = {
        name: ModalityCache({"vector": shared.repeat_interleave(2, dim=0) @ torch.randn(FEATURES, FEATURES)}, items)
        for name in MODALITIES
    }
    return World(caches, [], {}, None, lambda pictures: torch.zeros(0), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TRIALS)
def test_every_trial_trains(world: World, name: str, tmp_path: Path) -> None:
    for number, options in enumerate(TRIALS[name]):
        vectors = train_heads(world, name, options, LoopConfig(steps=2, batch_size=8), tmp_path / str(number))
        assert all(torch.isfinite(vectors[modality]).all() for modality in MODALITIES)


def test_training_is_what_raises_the_score(world: World, tmp_path: Path) -> None:
    loop = LoopConfig(steps=150, batch_size=16, learning_rate=3e-3, warmup_steps=5)
    options = TRIALS["infonce"][0]
    untrained = train_heads(world, "infonce", options, LoopConfig(steps=1, batch_size=16), tmp_path / "none")
    trained = train_heads(world, "infonce", options, loop, tmp_path / "some")
    assert validation_score(world, trained) > validation_score(world, untrained) + 0.2
    same = torch.eye(2 * CONCEPTS)
    assert validation_score(world, dict.fromkeys(MODALITIES, same)) < 1  # another item of the concept is no partner
    pairs = F.normalize(world.caches["text"].tensors["vector"], dim=-1)
    assert validation_score(world, dict.fromkeys(MODALITIES, pairs)) == 1


def test_the_readout_finds_a_linear_map() -> None:
    known = F.normalize(torch.randn(64, FEATURES), dim=-1)
    turned = known @ torch.randn(FEATURES, FEATURES)
    assert torch.allclose(fit_readout(turned, known, ridge=1e-9)(turned), known, atol=1e-2)
