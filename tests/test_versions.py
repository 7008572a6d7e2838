"""Other versions of sounds: what they keep, what changes, and where the cache gets them from."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.testing import assert_array_equal

from train.embed import Item, compute, with_versions
from train.models import build_processor
from train.recipes.tiny import TINY
from train.versions import RATE, SPEED, Version, vary
from unclip_mm.encoder import build_encoder
from unclip_mm.inputs.audio import MAX_AUDIO_SECONDS, MIN_AUDIO_SECONDS, load_audio


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


def test_versions_differ_in_speed_and_pitch_and_are_the_same_every_time(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "tone.wav", tone, RATE)
    versions = [Version(tmp_path / "tone.wav", seed).load() for seed in range(8)]
    assert {rate for rate, _ in versions} == {RATE}
    for _, samples in versions:
        faster = RATE / len(samples)
        assert 1 / SPEED <= faster <= SPEED and abs(pitch(samples) - 500 * faster) < 5
        assert samples.dtype == np.float32 and abs(np.abs(samples).max() - 0.9) < 1e-6
    assert len({len(samples) for _, samples in versions}) == 8
    assert_array_equal(versions[3][1], Version(tmp_path / "tone.wav", 3).load()[1])


def test_the_spectrum_is_tilted_and_nothing_else_of_it_changes() -> None:
    clicks = np.zeros(RATE, dtype=np.float32)
    clicks[RATE // 2] = 1
    slopes = []
    for seed in range(20):
        loud = np.abs(np.fft.rfft(vary(clicks, np.random.default_rng(seed))))
        low, high = (loud[int(f * len(loud) / 8000)] for f in (400, 3200))
        slopes.append(20 * np.log10(high / low) / 3)  # three octaves
    assert -7 < min(slopes) < -2 and 2 < max(slopes) < 7


@pytest.mark.parametrize("seconds", [MIN_AUDIO_SECONDS, MAX_AUDIO_SECONDS])
def test_the_shortest_and_the_longest_sound_have_versions_that_are_taken(seconds: float) -> None:
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32) / 5
    for seed in range(6):
        load_audio((RATE, vary(noise, np.random.default_rng(seed))))


def test_versions_are_cached_as_sounds_of_their_own(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(RATE) / 5), RATE)
    about = {"row": "tone", "concept": "tone", "kind": "sound", "split": "train"}
    inputs = with_versions([Item(tmp_path / "tone.wav", about)], {"sound": 2})
    recipe = replace(TINY, encoder=replace(TINY.encoder, towers={"audio": TINY.encoder.towers["audio"]}))
    encoder = build_encoder(TINY.encoder.dim, recipe.encoder.towers).eval()
    cache = compute(encoder, build_processor(recipe, []), "audio", inputs)
    assert sorted(item["row"] for item in cache.items) == ["tone", "tone/0", "tone/1"]
    parts = [cache.features([row]) for row in range(3)]
    assert not any(all(torch.equal(one[name], other[name]) for name in one) for one, other in combinations(parts, 2))


def test_only_training_sounds_of_a_kind_that_is_named_get_versions() -> None:
    def item(name: str, kind: str, split: str) -> Item:
        return Item(Path(f"{name}.ogg"), {"row": name, "concept": name, "kind": kind, "split": split})

    found = [item("moo", "sound", "train"), item("new", "sound", "test_sound"), item("cow", "speech", "train")]
    made = with_versions(found, {"sound": 2})
    assert made[:3] == found
    assert [added.source for added in made[3:]] == [Version(Path("moo.ogg"), 0), Version(Path("moo.ogg"), 1)]
    assert [(added.about["row"], added.about["concept"]) for added in made[3:]] == [("moo/0", "moo"), ("moo/1", "moo")]
    assert with_versions(found, {}) == found
