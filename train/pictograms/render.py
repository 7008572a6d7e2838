"""From a picture file of any source to a square on white: trimmed, centred, with the same margin everywhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

MARGIN = 0.06
SUPERSAMPLING = 2
VISIBLE_ALPHA = 12
NEAR_WHITE = 14


def open_rgba(path: Path, size: int) -> Image.Image:
    """Open a picture as RGBA; an SVG is drawn so that its longer side has about twice ``size`` pixels."""
    if path.suffix.lower() != ".svg":
        with Image.open(path) as image:
            return image.convert("RGBA")
    import resvg_py

    side = SUPERSAMPLING * size
    drawn = resvg_py.svg_to_bytes(svg_string=path.read_text(encoding="utf-8", errors="replace"), width=side)
    image = Image.open(io.BytesIO(bytes(drawn)))
    return image.convert("RGBA")


def content_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the box of what is drawn: the visible pixels, or where nothing is transparent, all that is not white."""
    pixels = np.asarray(image)
    mask = pixels[..., 3] > VISIBLE_ALPHA
    if mask.mean() > 0.995:
        mask = (255 - pixels[..., :3].min(axis=2)) > NEAR_WHITE
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def compose(image: Image.Image, size: int) -> Image.Image | None:
    """Compose an RGBA picture on a white square of ``size`` pixels; None if there is nothing in it."""
    box = content_box(image)
    if box is None:
        return None
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    content = Image.alpha_composite(white, image).convert("RGB").crop(box)
    inner = round(size * (1 - 2 * MARGIN))
    scale = inner / max(content.size)
    width, height = (max(1, round(side * scale)) for side in content.size)
    content = content.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), (255, 255, 255))
    square.paste(content, ((size - width) // 2, (size - height) // 2))
    return square


def render(path: Path, size: int, modality: str) -> Image.Image | None:
    """Render a picture: RGB for an image, grey (dark on white) for a sketch; None if it is blank."""
    square = compose(open_rgba(path, size), size)
    if square is None or np.asarray(square).min() > 255 - NEAR_WHITE:
        return None
    return square.convert("L") if modality == "sketch" else square


def is_silhouette(image: Image.Image) -> bool:
    """Whether a picture is nearly without colour and has large black areas: a shadow, not a picture.

    Example:
        >>> is_silhouette(Image.new("RGB", (8, 8), (0, 0, 0))), is_silhouette(Image.new("RGB", (8, 8), (255, 0, 0)))
        (True, False)
    """
    pixels = np.asarray(image).astype(np.int16)
    colour = pixels.max(axis=2) - pixels.min(axis=2)
    return bool((colour > 40).mean() < 0.02)
