"""Images and sketches, from files or memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageChops, ImageOps

from unclip_mm.errors import InputError
from unclip_mm.inputs.files import name_of, readable, reason

MAX_PIXELS = 64_000_000
"""The largest image that is taken, in pixels; larger ones are refused before they are decoded."""
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "MPO", "AVIF")
"""The image formats that are tried, as Pillow calls them; no format that runs a program, as EPS does."""

BLANK_INK = 40
"""A pixel of a sketch counts as stroke from this darkness on, of 255."""
_GOOD_IMAGE = "give a PNG, JPEG, WebP, GIF, BMP or TIFF"


def load_image(source: object, *, name: str | None = None) -> Image.Image:
    """Load an image: upright as its EXIF rotation says, transparent parts on white, the first frame if it moves.

    Args:
        source: A path, the bytes of a file, a PIL image, or a uint8 array (height, width[, 3 or 4]).
        name: What an error calls it.

    Returns:
        A PIL image in mode RGB.

    Raises:
        InputError: A missing, empty or damaged file, no image, more than ``MAX_PIXELS``, 32-bit pixels, a wrong type,
            or nothing to see (every pixel has the same colour on white).

    Example:
        >>> pixels = np.zeros((8, 8, 4), dtype=np.uint8)
        >>> pixels[2:6, 2:6] = [255, 0, 0, 255]
        >>> image = load_image(pixels)
        >>> image.getpixel((0, 0)), image.getpixel((3, 3))
        ((255, 255, 255), (255, 0, 0))
    """
    name = name or name_of(source, "image")
    image = _on_paper(open_image(source, name=name), "white")
    if all(low == high for low, high in (channel.getextrema() for channel in image.split())):
        raise InputError(f"{name}: is blank (every pixel has the same colour); give a picture that shows something")
    return image


def load_sketch(source: object, *, name: str | None = None) -> Image.Image:
    """Load a sketch as dark strokes on white, whatever its paper and its pens are.

    The rules: transparent parts are paper. The paper's colour is the median colour of the border; what differs from it
    is ink, in any colour: a red stroke counts as much as a black one. If the paper is dark (a blackboard), light is
    ink, so the picture comes out inverted; if it is light, only darker pixels are ink. On a transparent layer that
    shows next to nothing on white, light strokes are ink.

    Args:
        source: As for :func:`load_image`.
        name: What an error calls it.

    Returns:
        A PIL image in mode L of the same size, 0 a full stroke and 255 paper.

    Raises:
        InputError: As for :func:`load_image`, and a sheet without a stroke.

    Example:
        >>> board = np.zeros((32, 32), dtype=np.uint8)
        >>> board[8:24, 15:17] = 255
        >>> sketch = load_sketch(board)
        >>> sketch.getpixel((0, 0)), sketch.getpixel((15, 15))
        (255, 0)
    """
    name = name or name_of(source, "sketch")
    image = open_image(source, name=name)
    ink = _ink(_on_paper(image, "white"))
    if image.mode == "RGBA" and _darkest(ink) < 128:  # a pen too light for white paper
        ink = max(ink, _ink(_on_paper(image, "black")), key=_darkest)
    if sum(ink.histogram()[BLANK_INK:]) < max(4, ink.width * ink.height // 20_000):
        raise InputError(f"{name}: is blank (no stroke on it); give a drawing")
    return ImageChops.invert(ink)


def open_image(source: object, *, name: str = "image") -> Image.Image:
    """Open an image as it is stored: decoded, upright, in mode RGB, or RGBA where it has transparency.

    Takes and raises what :func:`load_image` does, but lets blank images pass. ``info`` keeps the text chunks of a PNG.

    Example:
        >>> open_image(Image.new("LA", (2, 2))).mode
        'RGBA'
    """
    if isinstance(source, np.ndarray):
        shape = source.shape
        if source.dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,), (4,)) or 0 in shape:
            raise InputError(f"{name}: is an array {source.dtype} {shape}; give uint8 (height, width[, 3 or 4])")
        source = Image.fromarray(np.ascontiguousarray(source))
    if isinstance(source, Image.Image):
        return _decode_image(source, name)
    if not isinstance(source, (str, os.PathLike, bytes, bytearray)):
        raise InputError(f"{name}: is a {type(source).__name__}; give a path, bytes, a PIL image or a uint8 array")
    file = readable(source, name)
    Image.init()
    try:
        with _warnings_settled():
            opened = Image.open(file, formats=[form for form in IMAGE_FORMATS if form in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name}: has more than {MAX_PIXELS:,} pixels; make it smaller") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: is not an image that can be read; {_GOOD_IMAGE}") from None
    except Exception as error:  # whatever a damaged header makes the format's reader raise
        raise InputError(f"{name}: is damaged ({reason(error)}); {_GOOD_IMAGE}") from error
    with opened:
        return _decode_image(opened, name)


def _decode_image(image: Image.Image, name: str) -> Image.Image:
    if 0 in image.size:
        raise InputError(f"{name}: has no pixels ({image.width} x {image.height}); give at least one")
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{name}: has {image.width} x {image.height} pixels; give at most {MAX_PIXELS:,}")
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise InputError(f"{name}: has 32-bit pixels, whose range is not known; save it with 8 or 16 bits")
    try:
        with _warnings_settled():
            image.load()
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):
                image = _from_16_bit(image)
            return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except Exception as error:  # whatever damaged data makes the format's reader raise
        raise InputError(f"{name}: is damaged or cut short ({reason(error)}); {_GOOD_IMAGE}") from error


@contextmanager
def _warnings_settled() -> Iterator[None]:
    """Too many pixels are an error; what Pillow has to say of odd tags beside the pixels is of no use to anybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _from_16_bit(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
    hidden = image.info.get("transparency")
    if hidden is not None:
        grey.putalpha(Image.fromarray(np.where(pixels == hidden, 0, 255).astype(np.uint8)))
    return grey


def _on_paper(image: Image.Image, colour: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    paper = Image.new("RGB", image.size, colour)
    paper.paste(image, mask=image.getchannel("A"))
    return paper


def _darkest(ink: Image.Image) -> int:
    return int(np.asarray(ink).max())


def _ink(image: Image.Image) -> Image.Image:
    """How much each pixel differs from the paper: mode L, 0 paper, 255 a full stroke."""
    width, height = image.size
    edge = max(1, min(width, height) // 50)
    rows = [(0, 0, width, edge), (0, height - edge, width, height)]
    columns = [(0, 0, edge, height), (width - edge, 0, width, height)]
    border = np.concatenate([np.asarray(image.crop(strip)).reshape(-1, 3) for strip in rows + columns])
    paper = np.median(border, axis=0)
    dark = float(paper @ (0.299, 0.587, 0.114)) < 128
    ink = Image.new("L", image.size)
    for channel, level in zip(image.split(), paper, strict=True):
        distance = np.arange(256) - level if dark else level - np.arange(256)
        scale = 255 / max(255 - level if dark else level, 64)
        table = np.clip(distance * scale + 0.5, 0, 255).astype(int).tolist()
        ink = ImageChops.lighter(ink, channel.point(table))
    return ink
