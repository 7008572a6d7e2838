"""Pictures as PNG files that say how they were made."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unclip_mm.errors import InputError
from unclip_mm.inputs import open_image
from unclip_mm.inputs.files import name_of, readable_path, reason

CHUNK = "unclip_mm"
"""The keyword of the tEXt chunk; its text is JSON in ASCII."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def save_png(image: Image.Image, path: str | os.PathLike[str], metadata: dict[str, Any]) -> Path:
    """Write a picture and how it was made as one PNG: whole or not at all; a file that is there is replaced.

    Args:
        image: A PIL image of a mode that PNG knows, such as RGB.
        path: Ends in ``.png``; its folder is there already.
        metadata: Whatever JSON can hold: prompt, seed, model, weights...

    Returns:
        The path.

    Raises:
        InputError: The path cannot be written (see :func:`check_png_path`), the disk is full, or the metadata are no
            JSON.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_png(Image.new("RGB", (2, 2)), f"{folder}/apple.png", {"text": "a red apple", "seed": 7})
        ...     read_png_metadata(path)
        {'text': 'a red apple', 'seed': 7}
    """
    path = check_png_path(path)
    name = name_of(path, "output")
    try:
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: the metadata are no JSON ({reason(error)}); give plain values") from error
    info = PngInfo()
    info.add_text(CHUNK, text)
    target = Path(os.path.realpath(path))  # a link stays a link
    scratch = target.with_name(f".unclip-{secrets.token_hex(8)}.part")
    try:
        with scratch.open("xb") as stream:
            image.save(stream, format="PNG", pnginfo=info)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(target)
    except OSError as error:
        raise InputError(f"{name}: cannot be written ({reason(error)}); give another file name") from error
    finally:
        scratch.unlink(missing_ok=True)
    return path


def check_png_path(path: str | os.PathLike[str]) -> Path:
    """Check that a picture can be written to a path, before the work of making it; nothing is written.

    Raises:
        InputError: Another ending than ``.png``, a folder, no folder to write into, or no permission.

    Example:
        >>> check_png_path("apple.jpg")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: apple.jpg: pictures are written as PNG; give a file name that ends in .png
    """
    name = name_of(path, "output")
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{name}: pictures are written as PNG; give a file name that ends in .png")
    try:
        fault = _fault(path)
    except (OSError, ValueError) as error:
        fault = f"cannot be written ({reason(error)}); give another file name"
    if fault is not None:
        raise InputError(f"{name}: {fault}")
    return path


def read_png_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata that :func:`save_png` wrote into a picture.

    Raises:
        InputError: No such file, no PNG, a damaged one, or one without metadata of unclip-mm.
    """
    name = name_of(path, "image")
    with readable_path(path, name).open("rb") as stream:
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            raise InputError(f"{name}: is no PNG; give a picture written by unclip-mm")
    text = open_image(path, name=name).info.get(CHUNK)
    try:
        metadata = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise InputError(f"{name}: says nothing about how it was made; give a picture written by unclip-mm")
    return metadata


def _fault(path: Path) -> str | None:
    target = Path(os.path.realpath(path))
    exists = target.exists()
    if exists and not target.is_file():
        return f"is a {'folder' if target.is_dir() else 'device or a pipe'}; give a file name"
    if not target.parent.is_dir():
        return f"there is no folder {name_of(path.parent, '.')}; make it or give another file name"
    if not os.access(target.parent, os.W_OK | os.X_OK) or (exists and not os.access(target, os.W_OK)):
        return "must not be written; check the permissions or give another file name"
    return None
