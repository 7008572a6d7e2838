"""What the scripts of training and benchmarks have in common: bad input is one line on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from unclip_mm.errors import UnclipError


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """End the program with one line and exit code 2 where what it was given cannot be used.

    Example:
        >>> from unclip_mm import InputError
        >>> with one_line_errors("train.prior"):  # prints "train.prior: error: recipe 'none': not known"
        ...     raise InputError("recipe 'none': not known")
        Traceback (most recent call last):
        ...
        SystemExit: 2
    """
    try:
        yield
    except UnclipError as error:
        print(f"{command}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
