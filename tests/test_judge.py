"""The judge: how it looks at pictures, and what it makes of the published weights, and of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from judge_cases import SIZE, published, published_weights, square
from PIL import Image
from torch import Tensor

from train.judge import EfficientNetLite0, Judge
from unclip_mm.errors import CheckpointError, InputError


def test_the_judge_reduces_resizes_and_remembers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Judge(EfficientNetLite0(), resolution=32, picture_size=16)
    large = square((255, 0, 0), 3).resize((64, 64), Image.Resampling.NEAREST)
    small = square((255, 0, 0), 3)
    together = judge.features_of_images([large, small])
    assert together.shape == (2, 1280)
    torch.testing.assert_close(together[0], together[1])
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(1, SIZE, SIZE, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(judge.features(pixels)[0], together[1])
    small.save(tmp_path / "a.png")
    cache = tmp_path / "cache.safetensors"
    first = judge.features_of_files([tmp_path / "a.png"], cache)
    written = cache.stat().st_mtime_ns
    torch.testing.assert_close(judge.features_of_files([tmp_path / "a.png"], cache), first)
    assert cache.stat().st_mtime_ns == written
    square((0, 0, 255), 3).save(tmp_path / "a.png")
    assert not judge.features_of_files([tmp_path / "a.png"], cache).equal(first)
    cache.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="delete it"):
        judge.features_of_files([tmp_path / "a.png"], cache)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(0, 3, 8, 8), "N of 1 or more"),
        (torch.zeros(1, 1, 8, 8), "is not"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "neither uint8 nor float"),
        (torch.full((1, 3, 8, 8), 255.0), "outside"),
    ],
)
def test_pictures_that_cannot_be_judged(pictures: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Judge(EfficientNetLite0(), resolution=32).features(pictures)


def test_published_names_load(tmp_path: Path) -> None:
    published(tmp_path, published_weights())
    judge = Judge.from_archives(tmp_path, resolution=32)
    torch.testing.assert_close(judge.network.conv_head.weight, published_weights()["_conv_head.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = published(tmp_path, {"_conv_stem.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="not EfficientNet-lite0"):
        Judge.from_archives(tmp_path)
    file.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not readable"):
        Judge.from_archives(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match="not one"):
        Judge.from_archives(tmp_path)
