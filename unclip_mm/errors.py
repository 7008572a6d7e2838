"""The errors of unclip-mm: every message names the input, what is wrong with it, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping


class UnclipError(Exception):
    """Base of all errors that unclip-mm raises on purpose."""


class InputError(UnclipError, ValueError):
    """Something given by the user cannot be used: a file, a prompt, an option, an embedding.

    Example:
        >>> raise InputError("num_images: -1 is negative; give 1 or more")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: num_images: -1 is negative; give 1 or more
    """


class GradientError(UnclipError, RuntimeError):
    """A gradient is asked for that is not there: the derivative of one that is written down."""


class TrainingError(UnclipError):
    """A training cannot go on: its loss is no longer finite."""


class CheckpointError(UnclipError):
    """A saved model or training state cannot be loaded: missing, damaged, or of another kind."""


def renamed(message: str, names: Mapping[str, str]) -> str:
    """Call the parameters in an error's message what whoever gave them knows them by.

    Args:
        message: Names a parameter in its first word, and any of several words (``a_b``, ``a_b=value``) further on.
        names: Parameter -> what it is called; what is not in it keeps its name.

    Example:
        >>> renamed("style: has no say with use_prior=False", {"style": "--style", "use_prior=False": "--no-prior"})
        '--style: has no say with --no-prior'
    """
    return re.sub(r"^\w+|\b[a-z]+_\w+(=\w+)?", lambda found: names.get(found[0], found[0]), message)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none.

    Example:
        >>> first_line(OSError("no such file\\nlong explanation"))
        'no such file'
    """
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
