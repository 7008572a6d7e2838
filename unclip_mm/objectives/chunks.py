"""Memory that grows with the batch, not with its square: rows in chunks that are computed again in backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unclip_mm.errors import InputError

__all__ = ["check_chunk_size", "over_rows", "take"]


def over_rows(function: Callable[[Tensor], Tensor], rows: Tensor, chunk_size: int | None) -> Tensor:
    """Concatenate ``function(part)`` over parts of ``rows``.

    What a part computes between its rows and the result, a strip of a B x B matrix say, is dropped and computed again
    in backward, so that one part of it exists at a time. Costs a second forward pass. The values do not depend on the
    parts, and the gradients only by rounding.

    Args:
        function: (n,) int64 -> (n, ...); may use tensors from outside, which get their gradients.
        rows: (N,) int64 positions.
        chunk_size: Most rows of a part; None takes all at once and keeps everything.

    Returns:
        (N, ...).

    Example:
        >>> x = torch.arange(6.0).reshape(3, 2)
        >>> over_rows(lambda rows: (x[rows] @ x.mT).logsumexp(dim=1), torch.arange(3), chunk_size=2).shape
        torch.Size([3])
    """
    if chunk_size is None or len(rows) <= chunk_size:
        return function(rows)
    parts = [
        checkpoint(function, part, use_reentrant=False, preserve_rng_state=False) for part in rows.split(chunk_size)
    ]
    return torch.cat(parts)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Take rows of a tensor, in ascending order; all of them without a copy, whose gradient is slow to sum up."""
    return values if len(rows) == len(values) else values[rows]


def check_chunk_size(value: int | None) -> int | None:
    """Give `value`; InputError if it is neither None nor a whole number of 1 or more."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(
            f"chunk_size: {value!r} is not allowed; give a whole number of 1 or more, or None for no chunks"
        )
    return value
