"""Pictures are written whole or not at all, with their metadata, and never over something that is no picture."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unclip_mm.errors import InputError
from unclip_mm.png import CHUNK, read_png_metadata, save_png

METADATA = {
    "text": ["ein größerer Apfel 🍎", 'quote " and \\'],
    "seeds": [1, 2**63],
    "weights": {"text": 0.3},
    "no": None,
}


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def test_pixels_and_metadata_come_back(picture: Image.Image, tmp_path: Path) -> None:
    path = save_png(picture, tmp_path / "apple.png", METADATA)
    assert read_png_metadata(path) == METADATA
    with Image.open(path) as read:
        assert np.array_equal(np.asarray(read), np.asarray(picture))
        assert read.text[CHUNK].isascii()  # type: ignore[attr-defined]
    assert [file.name for file in tmp_path.iterdir()] == ["apple.png"]


def test_a_picture_is_replaced_and_has_ordinary_permissions(picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "apple.PNG"
    save_png(picture, path, {"seed": 1})
    save_png(picture, path, {"seed": 2})
    assert read_png_metadata(path) == {"seed": 2}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_stays_a_link(picture: Image.Image, tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    save_png(picture, target, {"seed": 1})
    link.symlink_to(target)
    save_png(picture, link, {"seed": 2})
    assert link.is_symlink()
    assert read_png_metadata(target) == {"seed": 2}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("apple.jpg", r"apple.jpg: pictures are written as PNG"),
        ("", r"output: pictures are written as PNG"),
        ("folder.png", r"folder.png: is a folder"),
        ("none/apple.png", r"there is no folder .*none; make it"),
        ("file/apple.png", r"there is no folder .*file; make it"),
        ("device.png", r"device.png: is a device or a pipe"),
        ("a" * 300 + ".png", r"\.png: cannot be written \(File name too long\)"),
        ("nul\0.png", r"nul\?.png: cannot be written"),
    ],
)
def test_an_unwritable_path_is_named(picture: Image.Image, tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "device.png").symlink_to("/dev/null")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        save_png(picture, tmp_path / path if path else path, {})
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody may write to")
def test_no_permission_is_an_input_error(picture: Image.Image) -> None:
    with pytest.raises(InputError, match=r"/proc/apple.png: (must not|cannot) be written"):
        save_png(picture, "/proc/apple.png", {})


def test_a_failed_write_leaves_the_old_picture(picture: Image.Image, tmp_path: Path) -> None:
    path = save_png(picture, tmp_path / "apple.png", {"seed": 1})
    with pytest.raises(InputError, match="cannot be written"):
        save_png(Image.new("F", (2, 2)), path, {})  # PNG has no float pixels: fails while the file is being written
    with pytest.raises(InputError, match="the metadata are no JSON"):
        save_png(picture, path, {"seed": float("nan")})
    with pytest.raises(InputError, match="the metadata are no JSON"):
        save_png(picture, path, {"seed": {1, 2}})
    assert read_png_metadata(path) == {"seed": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["apple.png"]


def test_reading_names_what_is_no_picture_of_ours(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "apple.jpg")
    whole = save_png(picture, tmp_path / "whole.png", {"seed": 1}).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-40])
    for text in (b"[1]", b"{"):
        (tmp_path / f"{text[0]}.png").write_bytes(_with_chunk(whole, text))
    for name, message in {
        "plain.png": "says nothing",
        f"{ord('[')}.png": "says nothing",
        f"{ord('{')}.png": "says nothing",
        "apple.jpg": "is no PNG",
        "none.png": "no such file",
        "cut.png": "damaged or cut short",
    }.items():
        with pytest.raises(InputError, match=message):
            read_png_metadata(tmp_path / name)


def _with_chunk(png: bytes, text: bytes) -> bytes:
    """The same PNG with another text in our chunk."""
    start = png.index(b"tEXt") - 4
    length = struct.unpack(">I", png[start : start + 4])[0]
    data = b"tEXt" + CHUNK.encode() + b"\0" + text
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return png[:start] + chunk + png[start + length + 12 :]
