"""Sounds and pictures for the tests of inputs."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from unclip_mm.errors import InputError

RATE = 16000
FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3", "aiff": "AIFF", "opus": "OGG"}


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def sound_bytes(form: str = "wav", seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> bytes:
    file = BytesIO()
    samples = np.repeat(tone(seconds, rate)[:, None], channels, axis=1)
    soundfile.write(file, samples, rate, format=FORMATS[form], subtype="OPUS" if form == "opus" else None)
    return file.getvalue()


def image_bytes(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def picture(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A red box on white: left of the middle, so that turning shows."""
    image = Image.new("RGB", size, "white")
    image.paste("red", (4, 4, size[0] // 3, size[1] - 4))
    return image.convert(mode)


def refusal(load: Any, *arguments: Any, **options: Any) -> str:
    """The message of the InputError that a call raises: one line."""
    with pytest.raises(InputError) as caught:
        load(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert ": " in message
    return message


def compile_resource(files: dict[str, bytes], *, version: int = 2, compressed: bool = False) -> bytes:
    """Lay files out as Qt's compiler does: header, data, names, and the tree, whose folders point at their children."""
    folders: dict[str, list[str]] = {"": []}
    for path in sorted(files):
        parts = path.split("/")
        for depth in range(len(parts)):
            here, child = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
            if child not in folders.setdefault(here, []):
                folders[here].append(child)
    order = [""]
    for path in order:
        order += folders.get(path, [])
    data, names, tree = b"", b"", b""
    for path in order:
        name = path.rpartition("/")[2]
        node = struct.pack(">I", len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        if path in folders:
            first = order.index(folders[path][0]) if folders[path] else 0
            node += struct.pack(">HII", 2, len(folders[path]), first)
        else:
            node += struct.pack(">HHHI", int(compressed), 0, 0, len(data))
            data += struct.pack(">I", len(files[path])) + files[path]
        tree += node + (b"" if version == 1 else bytes(8))
    header = 20 if version < 3 else 24
    places = (version, header + len(data) + len(names), header, header + len(data))
    return b"qres" + struct.pack(">4I", *places) + bytes(header - 20) + data + names + tree
