"""Memory that grows with the batch, not with its square: how many rows are compared at a time, and taken."""

from __future__ import annotations

from torch import Tensor

from unclip_mm.errors import InputError

__all__ = ["LARGEST_LOGIT", "NOT_COUNTED", "check_chunk_size", "rows_at_once", "take"]

_CACHED = 2**20
"""Numbers of a strip of a B x B matrix that a CPU's caches hold: what is done to it one by one is fast there."""


NOT_COUNTED = -1e30
"""Logit of what does not count. Finite, so that a strip in which nothing counts has gradients."""

LARGEST_LOGIT = 30.0
"""Up to which exponentials of logits, and sums and products of two, are far from the ends of float32, e^-87 and e^88."""


def rows_at_once(chunk_size: int | None, rows: int, columns: int, like: Tensor) -> int:
    """Give how many rows are compared with all columns at a time, on the device of a tensor.

    A strip of a B x B matrix is computed, dropped, and computed again in backward, so that one of them exists at a time.
    That costs a second forward pass, and on a CPU gains more than that for large batches.

    Args:
        chunk_size: Most rows. None takes as many as a CPU's caches hold, and on other devices all at once.
        rows, columns: Of the whole matrix.
        like: Says where it is.

    Example:
        >>> import torch
        >>> rows_at_once(None, 4096, 4096, torch.zeros(1)), rows_at_once(64, 4096, 4096, torch.zeros(1))
        (256, 64)
    """
    if chunk_size is None:
        return max(1, _CACHED // max(1, columns)) if like.device.type == "cpu" else max(1, rows)
    return chunk_size


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Take rows of a tensor, in ascending order; all of them without a copy, whose gradient is slow to sum up."""
    return values if len(rows) == len(values) else values[rows]


def check_chunk_size(value: int | None) -> int | None:
    """Give `value`; InputError if it is neither None nor a whole number of 1 or more."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(
            f"chunk_size: {value!r} is not allowed; give a whole number of 1 or more, or None for what suits the device"
        )
    return value
