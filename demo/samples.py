"""The examples on the page. The files beside them are described in examples/README.md."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "examples"

TEXTS = ["a red apple", "star", "a sailboat", "an owl", "cat", "umbrella"]
SOUNDS = [str(FOLDER / name) for name in ("red-apple-spoken.ogg", "dog-spoken.ogg")]
SKETCHES = [str(FOLDER / name) for name in ("fish-sketch.png", "umbrella-sketch.png")]
IMAGES = [str(FOLDER / "boat-image.png")]
SUMS = [["umbrella", "purple", "red"], ["car", "red", "blue"], ["sun", "", "moon"]]
"""Start, take away, add."""
