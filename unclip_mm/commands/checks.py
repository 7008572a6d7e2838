"""Checks of command-line values that need no heavy library, so that a mistake is reported at once.

Every check raises :class:`~unclip_mm.errors.InputError` with one line: the option, what is wrong, what would be right.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from unclip_mm.errors import InputError, renamed

MODALITIES = ("text", "audio", "sketch", "image")
_SETTINGS = ("prior_steps", "guidance_scale", "prior_guidance_scale", "style", "upsample", "embeddings")
OPTIONS = {
    **{name: f"--{name.replace('_', '-')}" for name in (*MODALITIES, *_SETTINGS)},
    **{f"negative_{name}": f"--negative-{name}" for name in MODALITIES},
    "num_inference_steps": "--steps",
    "use_prior=False": "--no-prior",
}
"""What the command line calls the parameters of the pipeline."""


@contextlib.contextmanager
def parameters_as_options() -> Iterator[None]:
    """Let errors of the pipeline name the options that its parameters were given with."""
    try:
        yield
    except InputError as error:
        raise InputError(renamed(str(error), OPTIONS)) from error


class Once(argparse.Action):
    """Take an option once: of two values one would be lost without a word.

    Example:
        >>> parser = argparse.ArgumentParser(exit_on_error=False)
        >>> _ = parser.add_argument("--seed", action=Once)
        >>> parser.parse_args(["--seed", "1", "--seed", "2"])
        Traceback (most recent call last):
        ...
        argparse.ArgumentError: argument --seed: is given twice; give it once
    """

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Keep the value."""
        seen = vars(namespace).setdefault("seen", set())
        if self.dest in seen:
            raise argparse.ArgumentError(self, "is given twice; give it once")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers in ``[low, high]`` for argparse.

    Example:
        >>> whole_number(1, 10)("4")
        4
    """

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from {low} to {high}")
        return number

    return parse


def real_number(low: float, high: float) -> Callable[[str], float]:
    """A parser of finite numbers in ``[low, high]`` for argparse.

    Example:
        >>> real_number(0, 20)("2.5")
        2.5
    """

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{value!r} is not a number from {low:g} to {high:g}")
        return number

    return parse


def as_path(option: str, name: str) -> Path:
    """A name as a path, with ``~`` expanded."""
    if not name or "\0" in name:
        raise InputError(f"{option}: {printable(name)!r} is not a file name; give a path")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(f"{option}: {printable(name)} cannot be used ({error})") from None


def parse_weights(value: str, given: Iterable[str] | None) -> dict[str, float]:
    """``text=0.3,audio=0.7`` as a dictionary.

    Args:
        value: what stands after ``--weights``.
        given: the modalities of the prompt; ``None`` where they are known only later (stored embeddings).

    Raises:
        InputError: the syntax, a name that is not in the prompt or is given twice, a number that is negative or not
            finite, or all weights zero.

    Example:
        >>> parse_weights("text=0.3,audio=0.7", ["text", "audio"])
        {'text': 0.3, 'audio': 0.7}
    """
    weights: dict[str, float] = {}
    known = None if given is None else list(given)
    for part in value.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not (name and equals and number):
            raise InputError(f"--weights: {part.strip()!r} is not NAME=NUMBER; write for example text=0.3,audio=0.7")
        if name in weights:
            raise InputError(f"--weights: {name} is given twice; give each modality once")
        if known is not None and name not in known:
            raise InputError(f"--weights: {name!r} is not in the prompt; name only what is given: {', '.join(known)}")
        weights[name] = _weight(name, number)
    if not any(weights.values()):
        raise InputError("--weights: all weights are zero; give at least one above zero")
    return weights


def _weight(name: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(f"--weights: {name}={number} is not a number of zero or more")
    return weight


def picture_path(output: str) -> Path:
    """The path of a PNG file for ``--output FILE-or-DIR``, with every reason found why it could not be written.

    A name that ends in ``.png`` is the file. An existing folder, or a name without a suffix, is a folder, and the file
    is ``image.png`` in it.
    """
    path = as_path("--output", output)
    if path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix:
        path = path / "image.png"
    elif path.suffix.lower() != ".png":
        raise InputError(f"--output: {printable(output)} is not a PNG name; end it in .png, or give a folder")
    check_writable(path)
    return path


def numbered_paths(path: Path, count: int) -> list[Path]:
    """One path for one picture; ``name-1.png``, ``name-2.png`` and so on for several.

    Example:
        >>> [str(path) for path in numbered_paths(Path("apple.png"), 2)]
        ['apple-1.png', 'apple-2.png']
    """
    if count == 1:
        return [path]
    width = len(str(count))
    return [path.with_name(f"{path.stem}-{index:0{width}d}{path.suffix}") for index in range(1, count + 1)]


def check_writable(path: Path, option: str = "--output") -> None:
    """Raise unless a file can be written at ``path``; folders that are missing on the way count as writable."""
    import tempfile

    shown = printable(path)
    folder = path.parent
    try:
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            raise InputError(f"{option}: {shown} exists and cannot be overwritten; give another name")
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"{option}: {printable(folder)} is a file, not a folder; give another place")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{option}: {shown} cannot be written ({reason}); give another place") from None


def make_folder(path: Path, option: str = "--output") -> None:
    """Make the folder that ``path`` will lie in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option}: {printable(path)} cannot be written ({error.strerror or error})") from None


def printable(name: str | Path) -> str:
    """A file name that can be shown on one line of any terminal.

    Example:
        >>> printable("two\\nlines")
        'two\\\\nlines'
    """
    text = str(name).encode(errors="backslashreplace").decode()
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
