"""Kernels between unit vectors, and how much every row of a set sees of the others through one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import LARGEST_LOGIT, NOT_COUNTED, rows_at_once
from unclip_mm.objectives.products import add_product, compact, multiply, zeros_by_columns

__all__ = ["KERNELS", "log_kernel", "log_kernel_sums"]

KERNELS = ("clip", "gaussian", "geodesic")


def log_kernel(cosine: Tensor, kernel: str, tau: float) -> Tensor:
    """Give log kappa of two unit vectors from their cosine. Kernels themselves vanish in float32 at small tau."""
    if kernel == "clip":
        return cosine / tau
    if kernel == "gaussian":
        return (cosine - 1.0) / tau**2
    return -_squared_angle(cosine) / (2.0 * tau**2)


def _squared_angle(cosine: Tensor) -> Tensor:
    """Give arccos(cosine)^2 with a finite gradient everywhere, also at equal and at opposite vectors."""
    near = cosine > 0.99
    t = 1.0 - torch.where(near, cosine, torch.ones_like(cosine))
    series = torch.zeros_like(cosine)
    for n in (6, 5, 4, 3, 2, 1):  # arccos(1 - t)^2 = 2 sum_n (2 t)^n / (n^2 binomial(2n, n))
        series = 2.0 * t * (1.0 / (n * n * math.comb(2 * n, n)) + series)
    angle = torch.where(near, torch.zeros_like(cosine), cosine).clamp(min=-1.0 + 1e-6).arccos()
    return torch.where(near, 2.0 * series, angle.square())


def log_kernel_sums(points: Tensor, groups: Tensor | None, kernel: str, tau: float, chunk_size: int | None) -> Tensor:
    """Compute log sum_j kappa(x_i, x_j), j over the rows of other groups than i's; -inf where there are none.

    The matrix of the kernel is symmetric, so one strip of it is all that a strip of the gradient needs: with the strips
    computed again, no more matrix products than if autograd had kept the whole.

    Args:
        points: (N, D) unit vectors.
        groups: (N,) int64; None: every row is a group of its own.
        kernel: name of the kernel.
        tau: its width.
        chunk_size: rows at a time; None: what suits the device.

    Returns:
        (N,).

    Example:
        >>> log_kernel_sums(torch.eye(3), None, "clip", 0.5, None)
        tensor([0.6931, 0.6931, 0.6931])
    """
    return _LogKernelSums.apply(points, groups, kernel, tau, rows_at_once(chunk_size, len(points), len(points), points))


class _LogKernelSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, groups: Tensor | None, kernel: str, tau: float, size: int) -> Tensor:
        # A matrix that could be a single strip is small enough to be kept, for one backward pass.
        keep = size >= len(points)
        half = _half(points, groups, kernel, tau, size, keep)
        sums, strips = half.nothing(), []
        for start in half.starts:
            strips.append(half.strip(start))
            half.add(strips[-1], start, sums)
            if not keep:
                strips.clear()
        sums = half.logarithms(sums)
        ctx.kernel, ctx.tau, ctx.size = kernel, tau, size
        ctx.made = (half, strips) if keep and ctx.needs_input_grad[0] else None
        ctx.save_for_backward(points, groups, sums)
        return sums

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, groups, sums = ctx.saved_tensors
        of_sums = gradients[0].masked_fill(sums.isneginf(), 0.0)
        sums = sums.nan_to_num(neginf=0.0)
        made, ctx.made = ctx.made, None  # used up; a second pass through the same graph makes it again
        if made is not None:
            half, strips = made
            return multiply(half.whole(strips, sums, of_sums), half.points), None, None, None, None
        half = _half(points, groups, ctx.kernel, ctx.tau, ctx.size, keep=False)
        asked, of_later = torch.zeros_like(half.points), zeros_by_columns(half.points)
        for start in half.starts:
            own, later = half.rows(start)
            weights = half.weights(half.strip(start), start, sums, of_sums)
            add_product(asked[own], weights, half.points[start:])
            add_product(of_later[later], weights[:, half.size :].mT, half.points[own])
        return asked.add_(of_later), None, None, None, None


_QUARTERED = 512
"""Rows from which on a matrix that is kept is faster to compute in four strips, of which the half is five eighths."""


class _Half(ABC):
    """The upper half of the matrix of a kernel, strip by strip.

    Args:
        points, groups, kernel, tau: As for `log_kernel_sums`.
        size: Rows of a strip; of those that are kept fewer.
        keep: Make each strip in memory of its own, not always in the same.
    """

    def __init__(self, points: Tensor, groups: Tensor | None, kernel: str, tau: float, size: int, keep: bool) -> None:
        self.points, self.groups, self.kernel, self.tau = compact(points), groups, kernel, tau
        size = -(-len(points) // 4) if keep and len(points) >= _QUARTERED else size
        self.slope, self.size = _slope(kernel, tau), min(size, len(points))
        self.starts = range(0, len(points), self.size)
        self.numbers = None if keep else points.new_empty(self.size * len(points))

    def rows(self, start: int) -> tuple[slice, slice]:
        """Give the rows of a strip, and those after it."""
        return slice(start, start + self.size), slice(start + self.size, None)

    def cosines(self, start: int, factor: float = 1.0) -> Tensor:
        """Give the cosines of a strip's rows with themselves and all later ones, times a factor."""
        rows, all_later = self.points[self.rows(start)[0]], self.points[start:]
        rows = rows if factor == 1.0 else rows * factor
        place = None if self.numbers is None else _part(self.numbers, (len(rows), len(all_later)))
        return multiply(rows, all_later.mT, out=place)

    def leave_out(self, strip: Tensor, start: int, value: float) -> Tensor:
        """Set what does not count to a value."""
        if self.groups is not None:
            return strip.masked_fill_(self.groups[self.rows(start)[0], None] == self.groups[start:], value)
        strip.diagonal().fill_(value)
        return strip

    @abstractmethod
    def strip(self, start: int) -> Tensor:
        """Compute a strip."""

    @abstractmethod
    def nothing(self) -> Tensor:
        """Give the sums (N,) of no strip."""

    @abstractmethod
    def add(self, strip: Tensor, start: int, sums: Tensor) -> None:
        """Add a strip to the sums, of its rows and of those that they are compared with."""

    @abstractmethod
    def logarithms(self, sums: Tensor) -> Tensor:
        """Turn the sums of all strips into what is wanted."""

    @abstractmethod
    def weights(self, strip: Tensor, start: int, sums: Tensor, of_sums: Tensor) -> Tensor:
        """Give what is asked of each cosine of a strip, by its row and by that which it is compared with.

        Args:
            strip, start: as `strip` gave it; it is used up.
            sums: (N,) finite.
            of_sums: (N,), their gradient.
        """

    def whole(self, strips: Sequence[Tensor], sums: Tensor, of_sums: Tensor) -> Tensor:
        """Turn all strips into the whole matrix (N, N) of `weights`."""
        if len(strips) == 1:
            return self.weights(strips[0], 0, sums, of_sums)
        matrix = self.points.new_empty(len(self.points), len(self.points))
        for strip, start in zip(strips, self.starts, strict=True):
            weights = self.weights(strip, start, sums, of_sums)
            own, later = self.rows(start)
            matrix[own, start:] = weights
            matrix[later, own] = weights[:, self.size :].mT
        return matrix


class _Exponentials(_Half):
    """Strips of kappa itself, up to a factor: one exponential for sums and gradients, where float32 holds all of them."""

    def strip(self, start: int) -> Tensor:
        """Compute it."""
        return self.leave_out(self.cosines(start, self.slope).exp_(), start, 0.0)

    def nothing(self) -> Tensor:
        """Give zeros."""
        return self.points.new_zeros(len(self.points))

    def add(self, strip: Tensor, start: int, sums: Tensor) -> None:
        """Add both ways."""
        own, later = self.rows(start)
        sums[own] += strip.sum(dim=1)
        if strip.shape[1] > self.size:
            sums[later] += strip[:, self.size :].sum(dim=0)

    def logarithms(self, sums: Tensor) -> Tensor:
        """Take the factor out."""
        return sums.log_().sub_(self.slope if self.kernel == "gaussian" else 0.0)

    def weights(self, strip: Tensor, start: int, sums: Tensor, of_sums: Tensor) -> Tensor:
        """Weigh kappa by what its row and its column are asked for."""
        factor = self.slope if self.kernel == "gaussian" else 0.0
        asked = (-sums - factor).exp_().mul_(of_sums).mul_(self.slope)
        size = rows_at_once(None, len(strip), strip.shape[1], strip)
        for rows, of_rows in zip(strip.split(size), asked[start : start + len(strip), None].split(size), strict=True):
            rows.mul_(of_rows + asked[start:])
        return strip


class _Logarithms(_Half):
    """Strips of log kappa, for kernels of any width."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.work = self.points.new_empty(self.size * len(self.points))

    def strip(self, start: int) -> Tensor:
        """Compute it; `NOT_COUNTED` within a group."""
        logs = self.cosines(start)
        if self.kernel == "geodesic":
            logs.copy_(log_kernel(logs, self.kernel, self.tau))
        else:
            logs.sub_(0.0 if self.kernel == "clip" else 1.0).mul_(self.slope)
        return self.leave_out(logs, start, NOT_COUNTED)

    def nothing(self) -> Tensor:
        """Give logarithms of nothing."""
        return self.points.new_full((len(self.points),), NOT_COUNTED)

    def add(self, strip: Tensor, start: int, sums: Tensor) -> None:
        """Add both ways, each row relative to its largest."""
        own, later = self.rows(start)
        for seen, part, dim in ((sums[own], strip, 1), (sums[later], strip[:, self.size :], 0)):
            if part.shape[1]:
                top = part.amax(dim=dim, keepdim=True)
                total = torch.sub(part, top, out=_part(self.work, part.shape)).exp_().sum(dim=dim)
                torch.logaddexp(seen, total.log_().add_(top.squeeze(dim)), out=seen)

    def logarithms(self, sums: Tensor) -> Tensor:
        """Say where there were none."""
        return sums.masked_fill(sums < NOT_COUNTED / 2, float("-inf"))

    def weights(self, strip: Tensor, start: int, sums: Tensor, of_sums: Tensor) -> Tensor:
        """Take exponentials relative to the sums of both ways, and the slope of log kappa."""
        own = slice(start, start + len(strip))
        weights = torch.sub(strip, sums[own, None], out=_part(self.work, strip.shape)).exp_().mul_(of_sums[own, None])
        weights += strip.sub_(sums[start:]).exp_().mul_(of_sums[start:])
        if self.kernel != "geodesic":
            return weights.mul_(self.slope)
        cosine = multiply(self.points[own], self.points[start:].mT)
        with torch.enable_grad():
            cosine.requires_grad_()
            [slopes] = torch.autograd.grad(log_kernel(cosine, self.kernel, self.tau), cosine, weights)
        return slopes


def _half(points: Tensor, groups: Tensor | None, kernel: str, tau: float, size: int, keep: bool) -> _Half:
    """Choose how its strips are made."""
    kind = _Exponentials if _slope(kernel, tau) <= LARGEST_LOGIT else _Logarithms
    return kind(points, groups, kernel, tau, size, keep)


def _slope(kernel: str, tau: float) -> float:
    """Give by how much log kappa grows with the cosine, of the kernels where it does so evenly."""
    return {"clip": 1.0 / tau, "gaussian": 1.0 / tau**2}.get(kernel, math.inf)


def _part(memory: Tensor, shape: Sequence[int]) -> Tensor:
    """Give the beginning of some memory in a shape."""
    return memory[: math.prod(shape)].view(shape)
