"""The manifest format: what is read, what is written, and how bad rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unclip_mm.data.manifest import Row, parse_row, read_manifest, write_manifest
from unclip_mm.errors import InputError


def make(folder: Path, *lines: object, modalities: object = None) -> Path:
    (folder / "a.png").write_bytes(b"png")
    (folder / "a.npy").write_bytes(b"npy")
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    if modalities is not None:
        (folder / "modalities.json").write_text(json.dumps(modalities), encoding="utf-8")
    return folder


GOOD = {"id": "a", "text": "a red apple", "image": "a.png"}


def test_reads_defaults_and_lists(tmp_path):
    folder = make(
        tmp_path, GOOD, "", {"id": "b", "concept": "pear", "text": ["eine Birne", "pear"], "split": "validation"}
    )
    manifest = read_manifest(folder)
    first, second = manifest.rows
    assert (first.concept, first.split, first.text, first.modalities) == (
        "a",
        "train",
        ("a red apple",),
        ("text", "image"),
    )
    assert second.text == ("eine Birne", "pear") and second.modalities == ("text",)
    assert manifest.path(first, "image") == tmp_path / "a.png"
    assert manifest.modalities == ("text", "image")
    assert manifest.select(split="validation") == [second] == [r for r in manifest.rows if r.image is None]
    assert manifest.select(modality="image") == [first]
    with pytest.raises(InputError, match="row 'b': has no audio; it has text"):
        manifest.path(second, "audio")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "not JSON"),
        ("[1]", "not an object"),
        ({"text": "x"}, "field 'id' is missing"),
        ({"id": 3, "text": "x"}, "field 'id' is 3"),
        ({"id": "b"}, "has no modality"),
        ({"id": "b", "text": ""}, "field 'text' is ''"),
        ({"id": "b", "text": []}, "field 'text' is an empty list"),
        ({"id": "b", "text": ["x", None]}, "field 'text' is None"),
        ({"id": "b", "imgae": "a.png"}, "field 'imgae' is unknown; declare it in modalities.json"),
        ({"id": "b", "image": "b.png"}, "field 'image' names 'b.png', which is not a file in"),
        ({"id": "b", "image": "/a.png"}, "give a path inside the folder"),
        ({"id": "b", "image": "../a.png"}, "give a path inside the folder"),
        ({"id": "b", "image": "x\\a.png"}, "give a path inside the folder"),
        ({"id": "b", "text": "x", "split": " "}, "field 'split' is ' '"),
        ({"id": "b", "text": "x", "also": []}, "field 'also' is an empty list; give at least one concept"),
        ({"id": "b", "text": "x", "also": ["b"]}, "field 'also' names 'b', the row's own concept"),
        ({"id": "a", "text": "x"}, "id 'a' is already used in line 1"),
    ],
)
def test_names_the_first_bad_line(tmp_path, line, message):
    folder = make(tmp_path, GOOD, line, {"id": "worse"})
    with pytest.raises(InputError) as error:
        read_manifest(folder)
    assert str(error.value).startswith("metadata.jsonl line 2: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_declared_modalities(tmp_path):
    row = {"id": "a", "imu": "a.npy"}
    manifest = read_manifest(make(tmp_path, row, modalities={"imu": {"type": "sequence"}}))
    assert manifest.rows[0].files == {"imu": "a.npy"} and manifest.modalities == ("imu",)
    with pytest.raises(InputError, match=r"line 1: field 'imu' is 'a.png'; a vector is a .npy or .safetensors"):
        read_manifest(make(tmp_path, {"id": "a", "imu": "a.png"}, modalities={"imu": {"type": "vector"}}))
    with pytest.raises(InputError, match="'image' is a name that every manifest has already"):
        read_manifest(make(tmp_path, row, modalities={"image": {"type": "vector"}}))
    with pytest.raises(InputError, match="'imu' is 'vector'"):
        read_manifest(make(tmp_path, row, modalities={"imu": "vector"}))


def test_missing_empty_and_not_utf8(tmp_path):
    with pytest.raises(InputError, match=r"no metadata.jsonl"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="is empty"):
        read_manifest(make(tmp_path, ""))
    (tmp_path / "metadata.jsonl").write_bytes('{"id": "ä"}'.encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_manifest(tmp_path)


def test_files_are_checked_only_on_request(tmp_path):
    folder = make(tmp_path, {"id": "b", "image": "elsewhere.png"})
    assert read_manifest(folder, check_files=False).rows[0].image == "elsewhere.png"


def test_write_and_read_back(tmp_path):
    make(tmp_path)
    rows = [
        Row(id="ä", concept="apple", text=("ein Apfel", "an apple"), image="a.png", style="noto", split="test_style"),
        Row(id="b", concept="apple", files={"imu": "a.npy"}, kind="speech", licence="MIT", category="food"),
        Row(id="c", concept="apple", text=("a fruit",), also=("pear", "plum")),
    ]
    written = write_manifest(tmp_path, rows, {"imu": {"type": "vector"}})
    read = read_manifest(tmp_path)
    assert read.rows == rows == written.rows and read.digest == written.digest
    assert "ä" in (tmp_path / "metadata.jsonl").read_text(encoding="utf-8")
    assert parse_row(rows[0].to_json()) == rows[0]


def test_a_bad_row_leaves_the_old_manifest(tmp_path):
    make(tmp_path, GOOD)
    before = (tmp_path / "metadata.jsonl").read_bytes()
    good = Row(id="a", concept="a", text=("x",))
    for rows, message in [
        ([good, Row(id="b", concept="b")], "row 2: row 'b' has no modality"),
        ([good, good], "row 2: id 'a' is already used in row 1"),
        ([Row(id="a", concept="a", image="none.png")], "row 1: field 'image' names 'none.png'"),
        ([], "no rows to write"),
    ]:
        with pytest.raises(InputError, match=message):
            write_manifest(tmp_path, rows)
    assert (tmp_path / "metadata.jsonl").read_bytes() == before
