"""Memory that grows with the batch, not with its square: rows in chunks that are computed again in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unclip_mm.errors import InputError

__all__ = ["check_chunk_size", "in_chunks", "rows_at_once", "take"]

_CACHED = 2**20
"""Numbers of a strip of a B x B matrix that a CPU's caches hold: what is done to it one by one is fast there."""


def in_chunks(
    function: Callable[..., Any], chunk_size: int | None, columns: int, *tensors: Tensor
) -> list[tuple[Tensor, ...]]:
    """Give what ``function`` makes of each part of the rows.

    What a part computes between its rows and the results, a strip of a B x B matrix say, is dropped and computed again
    in backward, so that one part of it exists at a time. Costs a second forward pass, and on a CPU gains more than that
    for large batches.

    Args:
        function: parts (n, ...) of all tensors -> a tuple of tensors; may use tensors from outside, which get their
            gradients.
        chunk_size: Most rows of a part. None takes as many as a CPU's caches hold, and on other devices all at once,
            of which everything is kept.
        columns: Width of the strips.
        tensors: (N, ...) each.

    Example:
        >>> import torch
        >>> x = torch.arange(6.0).reshape(3, 2)
        >>> [low.tolist() for low, _ in in_chunks(lambda part: (part @ x.mT).aminmax(dim=1), 2, 3, x)]
        [[1.0, 3.0], [5.0]]
    """
    size = rows_at_once(chunk_size, len(tensors[0]), columns, tensors[0])
    if len(tensors[0]) <= size:
        return [function(*tensors)]
    parts = zip(*(tensor.split(size) for tensor in tensors), strict=True)
    return [checkpoint(function, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]


def rows_at_once(chunk_size: int | None, rows: int, columns: int, like: Tensor) -> int:
    """Give the rows of a part, see `in_chunks`, on the device of a tensor."""
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
