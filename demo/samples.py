"""The examples on the page. The files beside them are described in examples/README.md."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "examples"

TEXTS = ["a red apple", "a yellow star", "a sailing boat", "a cat", "a bicycle", "a house with a tree"]
SOUNDS = [str(FOLDER / name) for name in ("red-apple-spoken.ogg", "dog-spoken.ogg")]
SKETCHES = [str(FOLDER / name) for name in ("fish-sketch.png", "umbrella-sketch.png")]
IMAGES = [str(FOLDER / "boat-image.png")]
SUMS = [["a red apple", "red", "green"], ["a cat", "cat", "bird"], ["a blue car", "blue", "yellow"]]
"""Start, take away, add."""
