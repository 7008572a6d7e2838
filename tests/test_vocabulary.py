"""The tokens that a small text encoder keeps: nothing that it was trained on is spelled or understood in another way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from train import vocabulary
from train.backbones import convert_minilm, read_captions, read_dictionary
from train.vocabulary import choose_tokens, is_form
from unclip_mm.data.synthetic import make_synthetic_world

TOKENS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "m", "##a", "##s", "##ing", "the", "犬", "1945"]
RARE = ["mango", "mangos", "dresden", "##erly", "bake", "baking", "baked", "plume", "##d", "oslo"]
DICTIONARY = {"the", "mango", "mangos", "bake", "baking", "baked", "plume"}


@pytest.fixture(autouse=True)
def few_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "FREQUENT", 10)


def test_words_are_kept_and_names_and_forms_are_not() -> None:
    tokens = TOKENS + RARE
    kept = [tokens[place] for place in choose_tokens(tokens, DICTIONARY, {"oslo"})]
    # "baking" is not "bake" and an ending, letter by letter; "oslo" is needed
    assert kept == [*TOKENS[:1], *TOKENS[2:11], "mango", "bake", "baking", "plume", "##d", "oslo"]


def test_forms_need_their_stem() -> None:
    assert is_form("boxes", {"box"}) and is_form("slowly", {"slow"}) and is_form("baked", {"bake"})
    assert not is_form("bus", {"bake"}) and not is_form("red", {"bake"})


def test_training_captions_mean_what_they_meant(tmp_path: Path) -> None:
    whole, small = tmp_path / "whole", tmp_path / "small"
    torch.manual_seed(0)
    tokens = TOKENS + RARE
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(whole)
    (whole / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    convert_minilm(whole, small, DICTIONARY, ["the mangos", "oslo"])
    states, spelled = [], []
    for folder in (whole, small):
        tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
        model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        with torch.no_grad():
            states.append(model(**tokenizer("the mangos oslo", return_tensors="pt")).last_hidden_state)
        spelled.append([tokenizer.tokenize(text) for text in ("the mangos oslo", "baked plume", "dresden")])
    torch.testing.assert_close(states[0], states[1])
    assert spelled[0] == [["the", "mangos", "oslo"], ["baked", "plume"], ["dresden"]]
    assert spelled[1] == [["the", "mangos", "oslo"], ["bake", "##d", "plume"], ["[UNK]"]]
    assert BertTokenizerFast.from_pretrained(small).model_max_length == model.config.max_position_embeddings == 128
    assert BertTokenizerFast.from_pretrained(small).vocab_size == model.config.vocab_size < len(tokens)


def test_the_words_come_from_the_package_and_the_captions_from_training_rows(tmp_path: Path) -> None:
    folder = tmp_path / "package" / "usr" / "share" / "dict"
    folder.mkdir(parents=True)
    (folder / "american-english").write_text("Oslo\nmango\nmangos\n", encoding="utf-8")
    assert read_dictionary(tmp_path / "package") == {"mango", "mangos"}
    world = make_synthetic_world(tmp_path / "world", image_size=16, variations=1)
    captions = read_captions(tmp_path / "world")
    assert set(captions) == {text for row in world.select(split="train") for text in row.text or ()} != set()


def test_data_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "train.backbones", "--output", str(tmp_path / "new"), "--data", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.startswith("train.backbones: error: ")
    assert done.stderr.count("\n") == 1 and str(tmp_path / "none") in done.stderr
    assert not (tmp_path / "new").exists()
