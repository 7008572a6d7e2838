"""Frozen backbones in 8 bits: smaller, nearly the same, and saved and loaded as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.towers.quantized import QuantizedLinear, QuantizedWords

TEXT = {
    "model_type": "bert",
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 16,
}
AUDIO = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "num_mel_bins": 5,
    "max_source_positions": 6,
}
INPUTS = {
    "text": {
        "input_ids": torch.tensor([[3, 499, 7], [250, 1, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    },
    "audio": {"mel": torch.linspace(-1, 1, 120).reshape(2, 1, 5, 12), "frames": torch.tensor([12, 8])},
}


def encoder() -> MultimodalEncoder:
    torch.manual_seed(0)
    towers = {
        "text": {"type": "text", "backbone": TEXT, "width": 16, "dropout": 0.0},
        "audio": {"type": "audio", "backbone": AUDIO, "width": 16, "depth": 1, "dropout": 0.0},
        "other": {"type": "vector", "features": 3},
    }
    return MultimodalEncoder(8, towers).eval()


def embed(model: MultimodalEncoder, modality: str) -> torch.Tensor:
    return model.embed(modality, model.features(modality, INPUTS[modality]))


def matrices(model: MultimodalEncoder) -> int:
    """Numbers in what is rounded."""
    backbones = [model.tower(name).backbone for name in INPUTS]
    linear = [m.weight for backbone in backbones for m in backbone.modules() if isinstance(m, torch.nn.Linear)]
    return sum(weight.numel() for weight in (*linear, backbones[0].get_input_embeddings().weight))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@torch.no_grad()
def test_rounded_backbones_say_nearly_the_same_and_are_kept_so(tmp_path: Path) -> None:
    model = encoder()
    exact, rounds = {name: embed(model, name) for name in INPUTS}, matrices(model)
    model.half().save_pretrained(tmp_path / "whole")
    model.float().quantize()
    rounded = {name: embed(model, name) for name in INPUTS}
    for name in INPUTS:
        assert 0.998 < float((exact[name] * rounded[name]).sum(dim=-1).min()) < 1 - 1e-9
    model.half().save_pretrained(tmp_path / "rounded")
    saved = size(tmp_path / "whole") - size(tmp_path / "rounded")
    assert 0.7 * rounds < saved < rounds  # a byte a number, less a scale a row
    loaded = MultimodalEncoder.from_pretrained(tmp_path / "rounded")
    assert {name for name, options in loaded.config.towers.items() if options.get("quantized")} == set(INPUTS)
    words = loaded.tower("text").backbone.get_input_embeddings()
    assert isinstance(words, QuantizedWords) and words.table.dtype == torch.int8
    loaded.float().eval()
    for name in INPUTS:
        kinds = {type(m) for m in loaded.tower(name).backbone.modules()}
        assert QuantizedLinear in kinds and torch.nn.Linear not in kinds
        torch.testing.assert_close(embed(loaded, name), rounded[name], atol=5e-3, rtol=0)
    loaded.quantize()
    assert loaded.tower("text").backbone.get_input_embeddings() is words  # once is enough


def test_heads_of_rounded_backbones_are_trained() -> None:
    model = encoder()
    model.quantize()
    embed(model, "text").sum().backward()
    assert all(p.grad is not None for p in model.tower("text").mlp.parameters())
    assert not any(p.requires_grad for p in model.tower("text").backbone.parameters())


def test_what_is_zero_stays_zero() -> None:
    table, linear = torch.nn.Embedding(3, 4), torch.nn.Linear(4, 2, bias=False)
    torch.nn.init.zeros_(table.weight)
    torch.nn.init.zeros_(linear.weight)
    assert torch.equal(QuantizedWords.of(table).half()(torch.tensor([2])), torch.zeros(1, 4, dtype=torch.float16))
    rounded = QuantizedLinear.of(linear).half()
    assert rounded.bias is None and torch.equal(rounded(torch.ones(1, 4)), torch.zeros(1, 2))


def test_a_rounded_map_is_within_its_bound() -> None:
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(64, 16), torch.randn(5, 64)
    with torch.no_grad():
        error = (QuantizedLinear.of(linear)(x) - linear(x)).abs()
        bound = x.abs().sum(dim=1)[:, None] * linear.weight.abs().amax(dim=1)[None] / 254
    assert bool((error <= bound + 1e-6).all()) and float(error.max()) > 0


def test_what_is_trained_is_not_rounded() -> None:
    trained = MultimodalEncoder(8, {"text": {"type": "text", "backbone": TEXT, "frozen": False}})
    trained.quantize()
    assert isinstance(trained.tower("text").backbone.get_input_embeddings(), torch.nn.Embedding)
    for options in ({"type": "text", "backbone": TEXT, "frozen": False}, {"type": "vector", "features": 3}):
        with pytest.raises(InputError, match="only a frozen backbone can be put in 8 bits; what is trained cannot"):
            MultimodalEncoder(8, {"a": {**options, "quantized": True}})
