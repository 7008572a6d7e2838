"""What takes long to make is made once, and again when what it was made of has changed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from train.kept import fingerprint, kept


def test_it_is_made_once_and_anew_of_something_else(tmp_path: Path) -> None:
    made: list[float] = []

    def make(value: float) -> dict[str, Tensor]:
        made.append(value)
        return {"x": torch.full((2,), value)}

    file = tmp_path / "stage" / "made.safetensors"
    assert kept(file, "a", lambda: make(1.0))["x"].tolist() == [1, 1]
    assert kept(file, "a", lambda: make(2.0))["x"].tolist() == [1, 1]
    assert kept(file, "b", lambda: make(3.0))["x"].tolist() == [3, 3]
    assert kept(file, "b", lambda: make(4.0))["x"].tolist() == [3, 3]
    assert made == [1, 3]


def test_a_file_that_says_nothing_of_itself_is_not_trusted(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "made.safetensors"
    save_file({"x": torch.zeros(2)}, file)
    assert kept(file, "a", lambda: {"x": torch.ones(2)})["x"].tolist() == [1, 1]


def test_every_ingredient_counts() -> None:
    tensor = torch.arange(4)
    assert fingerprint(tensor, 3) == fingerprint(tensor.clone(), 3)
    assert fingerprint(tensor, 3) != fingerprint(tensor, 4)
    assert fingerprint(tensor, 3) != fingerprint(tensor + 1, 3)
    assert fingerprint(tensor.half()) == fingerprint(tensor.half())
    layer = torch.nn.BatchNorm1d(2)
    before = fingerprint(layer)
    layer.running_mean += 1  # buffers are ingredients too
    assert fingerprint(layer) != before
