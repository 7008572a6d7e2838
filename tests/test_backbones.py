"""Networks of packages, converted: YAMNet from a file of the ONNX format as it is written there."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoModel

from train.backbones import convert_yamnet

WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def convolutions() -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    """Random kernels, biases and strides: one convolution, then 13 times one a channel and one a pixel."""
    generator = torch.Generator().manual_seed(0)

    def drawn(rows: int, width: int, side: int, stride: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        spread = (2 / (width * side * side)) ** 0.5
        kernel = torch.randn(rows, width, side, side, generator=generator) * spread
        return kernel, torch.randn(rows, generator=generator) * 0.1, stride

    made, before = [drawn(32, 1, 3, 2)], 32
    for width, stride in zip(WIDTHS, STRIDES, strict=True):
        made += [drawn(before, 1, 3, stride), drawn(width, before, 1, 1)]
        before = width
    return made


def write_onnx(layers: list[tuple[torch.Tensor, torch.Tensor, int]], output: Path) -> None:
    """Write a zip as it is in the package: kernels on the way through 8 bits, and the numbers in a file of their own."""
    tables, nodes, before = [numpy_helper.from_array(np.float32([0.1]), "scale")], [], "audio"
    for i, (kernel, bias, stride) in enumerate(layers):
        tables += [numpy_helper.from_array(value.numpy(), f"{name}{i}") for name, value in (("k", kernel), ("b", bias))]
        nodes += [
            helper.make_node("QuantizeLinear", [f"k{i}", "scale"], [f"k{i}_q"]),
            helper.make_node("DequantizeLinear", [f"k{i}_q", "scale"], [f"k{i}_back"]),
            helper.make_node("Conv", [before, f"k{i}_back", f"b{i}"], [f"c{i}"], strides=[stride, stride]),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
        ]
        before = f"r{i}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("audio", before)]
    model = helper.make_model(helper.make_graph(nodes, "yamnet", ends[:1], ends[1:], tables))
    folder = output.parent / "job"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    with zipfile.ZipFile(output, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"job/{file.name}")


def test_yamnet_of_a_package_says_the_same_in_transformers(tmp_path: Path) -> None:
    layers = convolutions()
    write_onnx(layers, tmp_path / "yamnet.onnx.zip")
    convert_yamnet(tmp_path / "yamnet.onnx.zip", tmp_path / "yamnet")
    converted = AutoModel.from_pretrained(tmp_path / "yamnet").eval()
    sound = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(1))
    expected = sound
    for kernel, bias, stride in layers:
        side = kernel.shape[-1]
        pads = (0, 1, 0, 1) if stride == 2 else (side // 2,) * 4  # of even sides, as TensorFlow pads
        groups = 1 if kernel.shape[1] > 1 or (len(bias) == 32 and stride == 2) else len(bias)
        expected = F.conv2d(F.pad(expected, pads), kernel, bias, stride, groups=groups).relu()
    with torch.no_grad():
        heard = converted(sound).last_hidden_state
    assert heard.shape == (2, 1024, 3, 2)
    torch.testing.assert_close(heard, expected, atol=1e-4, rtol=1e-4)
