"""The comparison of objectives, on a small world of vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks.compare_objectives import (
    MODALITIES,
    TRIALS,
    World,
    check_settings,
    embed_caches,
    fit_readout,
    main,
    train_heads,
    validation_score,
)
from train.config import LoopConfig
from unclip_mm.data.cache import ModalityCache
from unclip_mm.errors import InputError

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
        heads = train_heads(world, name, options, LoopConfig(steps=2, batch_size=8), tmp_path / str(number))
        vectors = embed_caches(world, heads)
        assert all(torch.isfinite(vectors[modality]).all() for modality in MODALITIES)


def test_training_is_what_raises_the_score(world: World, tmp_path: Path) -> None:
    loop = LoopConfig(steps=150, batch_size=16, learning_rate=3e-3, warmup_steps=5)
    options = TRIALS["infonce"][0]
    untrained = train_heads(world, "infonce", options, LoopConfig(steps=1, batch_size=16), tmp_path / "none")
    trained = train_heads(world, "infonce", options, loop, tmp_path / "some")
    scores = [validation_score(world, embed_caches(world, heads)) for heads in (untrained, trained)]
    assert scores[1] > scores[0] + 0.2
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    once = LoopConfig(steps=1, batch_size=16, learning_rate=1e-5)
    further = train_heads(world, "pmrl", {}, once, tmp_path / "further", trained)
    assert validation_score(world, embed_caches(world, further)) == pytest.approx(scores[1], abs=0.05)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    same = torch.eye(2 * CONCEPTS)
    assert validation_score(world, dict.fromkeys(MODALITIES, same)) < 1  # another item of the concept is no partner
    pairs = F.normalize(world.caches["text"].tensors["vector"], dim=-1)
    assert validation_score(world, dict.fromkeys(MODALITIES, pairs)) == 1


def test_options_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--start-steps: 800 is not allowed; give a number from 0 to 799"):
        main(tmp_path, start_steps=800)
    with pytest.raises(InputError, match=r"--names: 'clip' is not among unialign, pmrl"):
        main(tmp_path, names=("clip",))
    with pytest.raises(InputError, match=r"--trial: 3 is not allowed; give 0, 1 or 2"):
        main(tmp_path, trial=3)


def test_results_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    check_settings(file, {"weights": "a", "steps": 800})
    check_settings(file, {"weights": "a", "steps": 800})
    with pytest.raises(InputError, match=r"holds results of other weights \(a\); choose another folder"):
        check_settings(file, {"weights": "b", "steps": 800})


def test_the_readout_gives_pictures_back_and_what_lies_off_them_less_surely() -> None:
    seen = F.normalize(torch.randn(32, 8), dim=-1)
    parts = [F.normalize(torch.randn(32, size), dim=-1) * size**0.5 for size in (4, 2)]
    known = torch.cat(parts, dim=-1)
    read = fit_readout(seen, known, 4)
    assert bool((F.cosine_similarity(read(seen), known) > 0.98).all())
    off = read(F.normalize(seen + 0.5 * F.normalize(torch.randn(32, 8), dim=-1), dim=-1))
    assert float(F.cosine_similarity(off, known).mean()) < 0.95
    torch.testing.assert_close(off[:, :4].norm(dim=-1), torch.full((32,), 2.0))
    torch.testing.assert_close(off[:, 4:].norm(dim=-1), torch.full((32,), 2.0**0.5))


def test_vectors_of_all_modalities_have_length_one(world: World, tmp_path: Path) -> None:
    heads = train_heads(world, "infonce", {}, LoopConfig(steps=1, batch_size=16), tmp_path / "once")
    for vectors in embed_caches(world, heads).values():
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2 * CONCEPTS))
