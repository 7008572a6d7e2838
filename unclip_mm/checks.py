"""Checks of options: what is given back can be used, and what cannot be used is named."""

from __future__ import annotations

import math
from contextlib import suppress
from numbers import Real
from typing import Any

import torch

from unclip_mm.errors import InputError

__all__ = ["as_real", "check_choice", "check_flag", "check_number"]

_SMALLEST = 1e-6
"""What is divided by is no less: its square, and what becomes of the quotient, are numbers of float32."""


def as_real(value: Any) -> float:
    """Give a real number, of Python or of numpy, as a float; NaN for anything else.

    Example:
        >>> as_real(2), as_real(True), as_real("2"), as_real(10**400)
        (2.0, nan, nan, nan)
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # of whole numbers
            return float(value)
    return math.nan


def check_number(name: str, value: float, *, positive: bool = False) -> float:
    """Give `value`, of Python or of numpy, as a float.

    Args:
        name: what it is.
        value: 0 or more.
        positive: it, or its square, is divided by, so it is 1e-6 or more.

    Raises:
        InputError: no finite number of float32, or too small.

    Example:
        >>> check_number("tau", 0.07, positive=True)
        0.07
        >>> check_number("tau", 1e-30, positive=True)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: tau: 1e-30 is too small; give a number of 1e-06 or more
    """
    least = _SMALLEST if positive else 0.0
    wanted = f"of {least:g} or more"
    number = as_real(value)
    if not abs(number) <= torch.finfo(torch.float32).max:
        raise InputError(f"{name}: {value!r} is no finite number of float32; give one {wanted}")
    if number < least:
        raise InputError(f"{name}: {value!r} is too small; give a number {wanted}")
    return number


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Give `value`; InputError if it is none of the choices."""
    if value not in choices:
        raise InputError(f"{name}: {value!r} is unknown; give one of {', '.join(choices)}")
    return value


def check_flag(name: str, value: bool) -> bool:
    """Give `value`; InputError if it is neither True nor False."""
    if not isinstance(value, bool):
        raise InputError(f"{name}: {value!r} is neither True nor False; give one of them")
    return value
