"""From a picture file of any source to a square on white: trimmed, centred, with the same margin everywhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

MARGIN = 0.06
LARGEST_DRAWING = 2048
VISIBLE_ALPHA = 12
NEAR_WHITE = 14
FAINT = 30


def render(path: Path, size: int) -> Image.Image | None:
    """Render a picture file as RGB, (size, size) pixels; None if there is nothing to see.

    Raises:
        OSError, ValueError: The file is not a picture.
    """
    inner = round(size * (1 - 2 * MARGIN))
    image = open_svg(path, 2 * inner) if path.suffix == ".svg" else open_bitmap(path)
    box = content_box(image)
    if box is None:
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    if path.suffix == ".svg" and side < inner:
        image = open_svg(path, min(LARGEST_DRAWING, round(2 * inner * 1.5 * inner / side)))
        box = content_box(image) or box
    square = compose(image, box, size)
    return square if (np.asarray(square).min(axis=2) < 255 - FAINT).mean() >= 0.015 else None


def has_pixels(path: Path, size: int) -> bool:
    """Tell whether a picture file can fill a square of ``size`` pixels without being enlarged; drawings always can.

    Raises:
        OSError, ValueError: The file is not a picture.
    """
    if path.suffix == ".svg":
        return True
    image = open_bitmap(path)
    box = content_box(image)
    return box is not None and max(box[2] - box[0], box[3] - box[1]) >= round(size * (1 - 2 * MARGIN))


def open_bitmap(path: Path) -> Image.Image:
    """Open a PNG, JPEG or WebP as RGBA."""
    with Image.open(path) as image:
        return image.convert("RGBA")


def open_svg(path: Path, width: int) -> Image.Image:
    """Draw an SVG ``width`` pixels wide as RGBA."""
    import resvg_py

    text = path.read_text(encoding="utf-8", errors="replace")
    drawn = resvg_py.svg_to_bytes(svg_string=text, width=width, dpi=96, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")


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


def compose(image: Image.Image, box: tuple[int, int, int, int], size: int) -> Image.Image:
    """Put a part of an RGBA picture into the middle of a white square of ``size`` pixels."""
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    content = Image.alpha_composite(white, image).convert("RGB").crop(box)
    scale = round(size * (1 - 2 * MARGIN)) / max(content.size)
    width, height = (max(1, round(side * scale)) for side in content.size)
    content = content.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), (255, 255, 255))
    square.paste(content, ((size - width) // 2, (size - height) // 2))
    return square


def drawing_kind(image: Image.Image) -> str:
    """Tell a coloured or shaded picture ('image') from line art ('sketch') and from a black shape ('silhouette').

    Example:
        >>> drawing_kind(Image.new("RGB", (8, 8), (200, 0, 0))), drawing_kind(Image.new("RGB", (8, 8), (0, 0, 0)))
        ('image', 'silhouette')
    """
    pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    colour = pixels.max(axis=2) - pixels.min(axis=2)
    if (colour > 40).mean() >= 0.02:
        return "image"
    light = pixels.mean(axis=2)
    white, dark = (light > 235).mean(), (light < 90).mean()
    middle = 1 - white - dark
    if white > 0.55 and middle < 0.23 and dark < 0.27:
        return "sketch"
    return "silhouette" if dark > 0.7 * (1 - white) or middle < 0.2 else "image"
