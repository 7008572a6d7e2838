"""What every kind of input needs: is the file there, and what does an error call the input."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from unclip_mm.errors import InputError

FilePath = str | os.PathLike[str]


def readable(source: FilePath | bytes | bytearray, name: str) -> Path | BytesIO:
    """Return an existing file that is not empty and can be read, or bytes as a file in memory; else an InputError."""
    if not isinstance(source, (bytes, bytearray)):
        return readable_path(source, name)
    if not source:
        raise InputError(f"{name}: is empty (0 bytes); give the bytes of a whole file")
    return BytesIO(source)


def readable_path(source: FilePath, name: str) -> Path:
    """Return the path of an existing file that is not empty and can be read; else raise an InputError."""
    if not str(source).strip():
        raise InputError(f"{name}: the file name is empty; give the path of a file")
    path = Path(source)
    try:
        fault = _fault(path)
        if fault is None:
            with path.open("rb"):
                return path
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be opened ({reason(error)}); check the path and its permissions") from None
    raise InputError(f"{name}: {fault}")


def name_of(source: object, kind: str) -> str:
    """Return what an error calls an input: its path on one line, or its kind.

    Example:
        >>> name_of("apple.png", "image"), name_of(b"...", "image")
        ('apple.png', 'image')
    """
    if not isinstance(source, (str, os.PathLike)) or not str(source).strip():
        return kind
    text = "".join(character if character.isprintable() else "?" for character in str(source))
    return text if len(text) <= 120 else f"{text[:50]}...{text[-50:]}"


def reason(error: BaseException) -> str:
    """Return why something failed, in a few words on one line."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else text[:97] + "..."


def _fault(path: Path) -> str | None:
    if path.is_dir():
        return "is a folder; give the path of a file"
    if not path.exists():
        return "there is no such file; check the path"
    if not path.is_file():
        return "is a device or a pipe; give the path of a file"
    if path.stat().st_size == 0:
        return "is empty (0 bytes); give a whole file"
    return None
