"""A text tower whose table of words lies in 8 bits: smaller, nearly the same, and saved and loaded as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.towers import TextTower
from unclip_mm.towers.words import QuantizedWords

BACKBONE = {
    "model_type": "bert",
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
TEXTS = {
    "input_ids": torch.tensor([[3, 499, 7], [250, 1, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
}


def encoder() -> MultimodalEncoder:
    torch.manual_seed(0)
    towers = {"text": {"type": "text", "backbone": BACKBONE, "width": 16, "dropout": 0.0}}
    return MultimodalEncoder(8, towers).eval()


def embed(model: MultimodalEncoder) -> torch.Tensor:
    return model.embed("text", model.features("text", TEXTS))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


@torch.no_grad()
def test_rounded_words_say_nearly_the_same_and_are_kept_so(tmp_path: Path) -> None:
    model = encoder()
    exact = embed(model)
    model.half().save_pretrained(tmp_path / "whole")
    model.float().quantize_words()
    rounded = embed(model)
    assert 0.999 < float((exact * rounded).sum(dim=-1).min()) < 1 - 1e-9
    model.half().save_pretrained(tmp_path / "rounded")
    assert size(tmp_path / "whole") - size(tmp_path / "rounded") > 500 * 32 - 500 * 2 - 1000
    loaded = MultimodalEncoder.from_pretrained(tmp_path / "rounded")
    assert loaded.config.towers["text"]["quantized"]
    table = loaded.tower("text").backbone.get_input_embeddings()
    assert isinstance(table, QuantizedWords) and table.table.dtype == torch.int8
    torch.testing.assert_close(embed(loaded.float().eval()), rounded, atol=5e-3, rtol=0)
    again = loaded.tower("text").backbone.get_input_embeddings()
    loaded.quantize_words()
    assert loaded.tower("text").backbone.get_input_embeddings() is again  # once is enough


def test_words_that_are_zero_stay_zero() -> None:
    table = torch.nn.Embedding(3, 4)
    torch.nn.init.zeros_(table.weight)
    assert torch.equal(QuantizedWords.of(table).half()(torch.tensor([2])), torch.zeros(1, 4, dtype=torch.float16))


def test_a_table_that_is_trained_is_not_rounded() -> None:
    with pytest.raises(InputError, match="8 bits cannot be trained; freeze the backbone"):
        TextTower(8, BACKBONE, frozen=False, quantized=True)
    towers = {"text": {"type": "text", "backbone": BACKBONE, "frozen": False}}
    trained = MultimodalEncoder(8, towers)
    trained.quantize_words()
    assert isinstance(trained.tower("text").backbone.get_input_embeddings(), torch.nn.Embedding)
