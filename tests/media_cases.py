"""Sounds and pictures for the tests of inputs."""

from __future__ import annotations

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
