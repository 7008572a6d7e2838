"""Unit vectors: checks, the great circle between two of them, and sums of directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unclip_mm.errors import InputError

__all__ = [
    "arithmetic",
    "as_vectors",
    "check_finite",
    "check_names",
    "check_unit",
    "slerp",
    "unit",
    "unit_where",
    "widen",
]

_NORM_TOLERANCE = 1e-3
_HALF_NORM_TOLERANCE = 1e-2  # bfloat16 keeps 8 bits: rounding a unit vector moves its norm by up to 0.4%


def slerp(a: Any, b: Any, t: float | Sequence[float] | Tensor) -> Tensor:
    """Walk along the great circle from `a` to `b` at constant speed.

    Args:
        a: (..., D), any non-zero norm; it is normalised.
        b: (..., D), broadcast against `a`.
        t: position in [0, 1]: a number, or values broadcast against the leading dimensions of `a` and `b`.

    Returns:
        (..., D) unit vectors; `a` at 0 and `b` at 1.

    Raises:
        InputError: t outside [0, 1], dimensions that differ, a zero or non-finite vector, or vectors that are opposite,
            between which no single great circle exists.

    Example:
        >>> import torch
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), [0.0, 0.5, 1.0])
        tensor([[1.0000, 0.0000],
                [0.7071, 0.7071],
                [0.0000, 1.0000]])
    """
    a, b = unit("slerp a", as_vectors("slerp a", a)), unit("slerp b", as_vectors("slerp b", b))
    _check_same_dim("slerp", [a, b])
    step = torch.as_tensor(t, dtype=torch.promote_types(a.dtype, b.dtype), device=a.device)
    if not bool(((step >= 0) & (step <= 1)).all()):
        raise InputError("slerp: t lies outside [0, 1]; give positions from 0 (the first vector) to 1 (the second)")
    # The angle from half the chord: accurate to the last bit for small angles, where arccos of the cosine is not.
    angle = 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    if bool((angle > torch.pi - 1e-3).any()):
        raise InputError("slerp: the two vectors are opposite: the way between them is not defined; move one of them")
    straight = angle < 1e-4
    safe = torch.where(straight, torch.ones_like(angle), angle)
    left = torch.where(straight, 1 - step, torch.sin((1 - step) * safe) / torch.sin(safe))
    right = torch.where(straight, step, torch.sin(step * safe) / torch.sin(safe))
    return F.normalize(left.unsqueeze(-1) * a + right.unsqueeze(-1) * b, dim=-1)


def arithmetic(plus: Sequence[Any], minus: Sequence[Any] = ()) -> Tensor:
    """Add and subtract directions: "king - man + woman" on unit vectors.

    Args:
        plus: vectors (..., D) to add; each is normalised first, so all weigh alike.
        minus: vectors (..., D) to subtract.

    Returns:
        (..., D) unit vectors.

    Raises:
        InputError: nothing to add, dimensions that differ, a zero or non-finite vector, or a sum that cancels out.

    Example:
        >>> import torch
        >>> x, y, z = torch.eye(3)
        >>> arithmetic([x, y], [y])
        tensor([1., 0., 0.])
    """
    if len(plus) == 0:
        raise InputError("arithmetic: nothing to add; give at least one vector in plus")
    terms = [("plus", vector) for vector in plus] + [("minus", vector) for vector in minus]
    units = [unit(f"arithmetic {sign}", as_vectors(f"arithmetic {sign}", vector)) for sign, vector in terms]
    _check_same_dim("arithmetic", units)
    total = sum(unit if sign == "plus" else -unit for (sign, _), unit in zip(terms, units, strict=True))
    assert isinstance(total, Tensor)
    return unit("arithmetic", total)


def widen(vectors: Tensor) -> Tensor:
    """Give float64 as it is and everything else as float32."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()


def as_vectors(name: str, value: Any, ndim: int | None = None) -> Tensor:
    """Give a floating point tensor (..., D), of `ndim` dimensions if told; InputError, with `name`, if it is none."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}: {type(value).__name__} is no tensor; give floating point (..., D)") from error
    wanted = "(B, D)" if ndim == 2 else "(..., D)"
    if not tensor.is_floating_point() or tensor.ndim < 1 or (ndim is not None and tensor.ndim != ndim):
        raise InputError(f"{name}: {tensor.dtype} of shape {tuple(tensor.shape)}; give floating point vectors {wanted}")
    return tensor


def unit(name: str, vectors: Tensor) -> Tensor:
    """Normalise (..., D), at least in float32; InputError, with `name`, if a vector has no direction."""
    wide = widen(vectors)
    norm = wide.detach().norm(dim=-1)
    if not bool((torch.isfinite(norm) & (norm > 1e-6)).all()):
        raise InputError(f"{name}: a vector is zero, cancels out or is not finite, so it has no direction")
    return F.normalize(wide, dim=-1)


def _check_same_dim(name: str, vectors: Sequence[Tensor]) -> None:
    dims = sorted({vector.shape[-1] for vector in vectors})
    if len(dims) > 1:
        raise InputError(f"{name}: vectors of dimensions {dims}; give all the same dimension")


def unit_where(name: str, vectors: Tensor, mask: Tensor) -> Tensor:
    """Normalise the rows of the mask; zero the others, so that nothing in them reaches a value or a gradient."""
    clean = widen(vectors).masked_fill(~mask.unsqueeze(-1), 0.0)
    norm = clean.detach().norm(dim=-1)
    wrong = torch.nonzero(mask & ~(torch.isfinite(norm) & (norm > 1e-12))).flatten()
    if len(wrong):
        raise InputError(f"embeddings {name!r}: row {int(wrong[0])} is zero or not finite; mark it absent or fix it")
    return F.normalize(clean, dim=-1)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Give the names of the modalities as a tuple; InputError if there are none, or one is empty or repeats."""
    names = tuple(names)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"modalities: {names!r}; give at least one name, each a non-empty string")
    if len(set(names)) != len(names):
        raise InputError(f"modalities: {', '.join(names)}: a name repeats; give each modality its own name")
    return names


def check_finite(vectors: Tensor) -> None:
    """Raise InputError if a unit vector (B, M, D) is not finite, as after a step that went wrong."""
    if not bool(torch.isfinite(widen(vectors.detach()).sum())):  # of unit vectors: it cannot overflow
        raise InputError("embeddings: not all values are finite; look for a tower that overflows, or a lower rate")


def check_unit(vectors: Tensor, present: Tensor, names: tuple[str, ...]) -> None:
    """Raise InputError at the first present vector (B, M, D) that is not finite or not of norm 1."""
    tolerance = _NORM_TOLERANCE if vectors.dtype in (torch.float32, torch.float64) else _HALF_NORM_TOLERANCE
    norm = widen(vectors).norm(dim=-1)
    wrong = present & ~((norm - 1).abs() <= tolerance)  # a NaN fails the comparison too
    if bool(wrong.any()):
        row, column = torch.nonzero(wrong)[0].tolist()
        value = float(norm[row, column])
        fault = f"has norm {value:.4g}" if value < float("inf") else "is not finite"
        raise InputError(f"embeddings {names[column]!r}: row {row} {fault}; give unit vectors, or use from_dict")
