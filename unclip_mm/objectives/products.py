"""Products of large matrices, by the faster of the libraries that PyTorch has for them on a CPU.

`torch.mm` goes through MKL, which leaves a processor that is not Intel's at half of its speed; oneDNN, which PyTorch has
for convolutions, does not (two cores of an AMD EPYC with AVX-512: 200 and 450 billion operations a second in float32).
Through `torch.nn.functional.linear` it is reached with copies only, so it is called by the name that PyTorch's compiler
uses, where that is there. Both sum up in float32, in another order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unclip_mm.objectives.chunks import rows_at_once

__all__ = ["add_product", "compact", "multiply", "zeros_by_columns"]


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Give the product (N, K) of two matrices (N, D) and (D, K), float32 or float64, on any device; no gradient.

    Args:
        a, b: may be transposed.
        out: where it is to be; None: in memory of its own.

    Example:
        >>> multiply(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
        tensor([[11.]])
    """
    if not _through_onednn(a):  # what is written somewhere is never cast by an autocast that backward runs in
        return torch.mm(a, b, out=a.new_empty(len(a), b.shape[1]) if out is None else out)
    if out is None:
        return _onednn(a, b)
    # Whatever takes new memory takes it for a part that the caches hold, and gives it back at once.
    size = rows_at_once(None, b.shape[1], len(a), a)
    for part, place in zip(b.split(size, dim=1), out.split(size, dim=1), strict=True):
        place.copy_(_onednn(a, part))
    return out


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product of two matrices (N, D) and (D, K) to one (N, K); as `multiply`.

    What is summed up of `a` that lie by columns, as of transposed strips, is fastest where the total does too:
    `zeros_by_columns`.

    Example:
        >>> total = torch.ones(1, 1)
        >>> add_product(total, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
        >>> total
        tensor([[12.]])
    """
    if not _through_onednn(a):
        total.addmm_(a, b)
        return
    if total.stride(0) < total.stride(1):
        total, a, b = total.mT, b.mT, a.mT
    # In parts of few shapes: oneDNN keeps a program for each, of 65,536 rows in strips of 256 a third of a gigabyte.
    side = math.isqrt(rows_at_once(None, 1, 1, a))
    inner = rows_at_once(None, len(b), min(side, len(a)), a)
    for rows, row_places in zip(a.split(side), total.split(side), strict=True):
        for columns, place in zip(b.split(side, dim=1), row_places.split(side, dim=1), strict=True):
            for part, of_part in zip(rows.split(inner, dim=1), columns.split(inner), strict=True):
                place.add_(_onednn(part, of_part))


def zeros_by_columns(like: Tensor) -> Tensor:
    """Make zeros (N, D) like a tensor, whose columns lie in one piece.

    Example:
        >>> zeros_by_columns(torch.ones(3, 2)).mT.is_contiguous()
        True
    """
    return like.new_zeros(like.shape[1], like.shape[0]).mT


def compact(matrix: Tensor) -> Tensor:
    """Copy a matrix whose rows do not lie close together where oneDNN is to multiply it: of such it knows nothing fast."""
    dense = matrix.is_contiguous() or matrix.mT.is_contiguous() or not _through_onednn(matrix)
    if dense:
        return matrix
    return matrix.mT.contiguous().mT if matrix.stride(0) < matrix.stride(1) else matrix.contiguous()


def _through_onednn(a: Tensor) -> bool:
    suited = a.dtype == torch.float32 and a.device.type == "cpu"
    return suited and _AVAILABLE and bool(torch.backends.mkldnn.enabled)


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    # The first matrix by rows: one by columns takes longer than the copy and the product together.
    return torch.ops.mkldnn._linear_pointwise(a.contiguous(), compact(b.mT), None, "none", [], "")


_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
