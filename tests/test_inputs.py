"""Every bad input gets an error of one line that names it; good ones come back in one plain form: texts, vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from media_cases import refusal
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from unclip_mm.inputs import check_text, load_audio, load_image, load_sketch, load_vector
from unclip_mm.processing import MultimodalProcessor, TextProcessor

# Text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "text: is blank"),
        (" \t\n\u200b", "text: is blank"),
        ("a" * 1001, "text: has 1001 characters; give at most 1000"),
        (None, "text: is a NoneType; give a string"),
        (b"red", "text: is a bytes; give a string"),
        ("apple \udcff", "text: is not valid Unicode"),
    ],
)
def test_bad_text(source: object, message: str) -> None:
    assert refusal(check_text, source).startswith(message)
    assert refusal(check_text, source, name="text 2").startswith(message.replace("text", "text 2", 1))


def test_good_text_keeps_its_words() -> None:
    assert check_text("\n Ein  größerer Apfel 🍎 ") == "Ein  größerer Apfel 🍎"
    assert len(check_text(" " * 50 + "a" * 1000)) == 1000


@pytest.fixture
def tokenizer(tmp_path: Path) -> BertTokenizerFast:
    """One as sentence encoders have it: lower case, accents dropped, and a part of the usual vocabulary."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "cafe", "knight", "s", "5", "-", "'", ".", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    return BertTokenizerFast(str(tmp_path / "vocab.txt"), do_lower_case=True)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("🍎", "🍎"),
        ("a cat 🍎 and 🍎", "🍎 and"),
        ("A CAT猫", "猫"),
        ("яблоко", "яблоко"),
        ("…", "…"),
        ("€5", "€5"),
        ("a 5€ cat", "5€"),
    ],
)
def test_text_of_which_a_part_is_unknown_is_refused(tokenizer: BertTokenizerFast, text: str, unknown: str) -> None:
    processor = MultimodalProcessor({"text": TextProcessor(tokenizer)})
    message = refusal(lambda source: processor.prompt("text", [source]), text)
    assert message.startswith(f"text: {text!r} has what this model's tokenizer does not know: {unknown}")
    assert len(processor({"text": [text]})["text"]["input_ids"]) == 1  # captions are taken as they are


@pytest.mark.parametrize("text", ["a cat", "Café", "a knight’s cats", "a cat — 5 €", "a cat…"])
def test_text_of_known_words_and_any_signs_is_taken(tokenizer: BertTokenizerFast, text: str) -> None:
    processor = MultimodalProcessor({"text": TextProcessor(tokenizer)})
    assert processor.prompt("text", [text], rows=[3])["input_ids"].shape[0] == 1


def test_a_tokenizer_that_knows_every_byte_refuses_nothing() -> None:
    alphabet = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytewise = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel()
    processor = TextProcessor(PreTrainedTokenizerFast(tokenizer_object=bytewise, pad_token="!"))
    MultimodalProcessor({"text": processor}).prompt("text", ["🍎 яблоко"])


# Files of any kind


@pytest.mark.parametrize("load", [load_audio, load_image, load_sketch, load_vector])
def test_what_is_no_file(load: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert refusal(load, empty) == f"{empty}: is empty (0 bytes); give a whole file"
    assert "no such file" in refusal(load, tmp_path / "none.png")
    assert "is a folder" in refusal(load, str(tmp_path))
    assert "is a device" in refusal(load, "/dev/zero")
    assert "file name is empty" in refusal(load, "")
    assert "cannot be opened" in refusal(load, "a" * 5000)
    assert refusal(load, "two\nlines.png").startswith("two?lines.png: there is no such file")
    assert refusal(load, object(), name="prompt 3").startswith("prompt 3: is a object; give ")
    assert "is a list" in refusal(load, [1.0, 2.0])


@pytest.mark.parametrize("load", [load_audio, load_image, load_sketch])
def test_bytes_that_are_no_media(load: Any, tmp_path: Path) -> None:
    assert "is empty (0 bytes)" in refusal(load, b"")
    assert "can be read" in refusal(load, b"just some text, in no media format at all")
    text = tmp_path / "text.png"
    text.write_text("no media")
    assert refusal(load, text).startswith(f"{text}: is not ")


# Vectors


def test_vectors_from_files_arrays_and_tensors(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "a.npy", values)
    save_file({"x": torch.from_numpy(values).bfloat16()}, tmp_path / "a.safetensors")
    save_file({"vectors": torch.ones(2, 3), "present": torch.ones(2)}, tmp_path / "b.safetensors")
    tensor = torch.from_numpy(values).half().requires_grad_()
    for source in (tmp_path / "a.npy", str(tmp_path / "a.safetensors"), values, tensor, values.astype(np.int64)):
        vector = load_vector(source, dim=3)
        assert vector.dtype == np.float32
        assert np.array_equal(vector, values)
    assert load_vector(tmp_path / "b.safetensors").sum() == 6
    assert load_vector(np.ones((1, 2, 3)), ranks=(3,)).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.array([1.0, np.nan]), "holds NaN, infinite or too large numbers"),
        (torch.tensor([1.0, float("-inf")]), "holds NaN, infinite or too large numbers"),
        (np.array([1e300]), "holds NaN, infinite or too large numbers"),
        (np.array(1.0), "has shape (); give 1 or 2 axes, none of size 0"),
        (np.ones((1, 1, 3)), "has shape (1, 1, 3); give 1 or 2 axes"),
        (np.ones((0, 3)), "has shape (0, 3)"),
        (np.array(["a"]), "holds str"),
        (np.array([1j]), "holds complex128 values; give real numbers"),
        (torch.tensor([1j]), "holds complex64 values; give real numbers"),
        (np.array([None]), "holds object values"),
    ],
)
def test_bad_vectors(source: Any, message: str) -> None:
    assert message in refusal(load_vector, source)
    assert refusal(load_vector, source, name="imu 2").startswith("imu 2: ")


def test_bad_vector_files(tmp_path: Path) -> None:
    objects, noise, many = tmp_path / "objects.npy", tmp_path / "noise.npy", tmp_path / "many.safetensors"
    np.save(objects, np.array([{"a": 1}]), allow_pickle=True)  # what must be refused unread
    noise.write_bytes(bytes(range(256)))
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, many)
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "vector.csv").write_text("1,2,3")
    np.savez(tmp_path / "archive", a=np.ones(2))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    assert "is damaged or no .npy (Object arrays cannot be loaded" in refusal(load_vector, objects)
    assert "is damaged or no .npy" in refusal(load_vector, noise)
    assert "is damaged or no .safetensors" in refusal(load_vector, tmp_path / "noise.safetensors")
    assert "holds 2 tensors; give a file with one, or one called 'vectors'" in refusal(load_vector, many)
    assert "ends in '.csv'; give a .npy or .safetensors file" in refusal(load_vector, tmp_path / "vector.csv")
    assert "is a NpzFile" in refusal(load_vector, tmp_path / "archive.npy")
    whole = (tmp_path / "cut.npy").open("wb")
    np.save(whole, np.ones(100))
    whole.truncate(300)
    whole.close()
    assert "is damaged" in refusal(load_vector, tmp_path / "cut.npy")
