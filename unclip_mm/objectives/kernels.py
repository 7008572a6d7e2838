"""Kernels between unit vectors, and how much every row of a set sees of the others through one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import NOT_COUNTED, rows_at_once

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
        half = _Half(points, groups, kernel, tau, min(size, len(points)))
        sums = points.new_full((len(points),), NOT_COUNTED)
        for start in half.starts:
            own, later = half.rows(start)
            logs = half.logs(start)
            for seen, part, dim in ((sums[own], logs, 1), (sums[later], logs[:, half.size :], 0)):
                if part.shape[1]:
                    torch.logaddexp(seen, half.log_sum_exp(part, dim), out=seen)
        ctx.kernel, ctx.tau, ctx.size = kernel, tau, half.size
        # A matrix that is a single strip is small enough to be kept.
        ctx.save_for_backward(points, groups, sums, logs if half.size == len(points) else None)
        return sums.masked_fill(sums < NOT_COUNTED / 2, float("-inf"))

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, groups, sums, kept = ctx.saved_tensors
        [of_sums] = gradients
        sums = sums.masked_fill(sums < NOT_COUNTED / 2, 0.0)
        half = _Half(points, groups, ctx.kernel, ctx.tau, ctx.size)
        asked = torch.zeros_like(points)
        for start in half.starts:
            own, later = half.rows(start)
            logs = half.logs(start) if kept is None else kept
            # what its rows ask of their pairs, and what those ask of its rows
            weights = torch.sub(logs, sums[own, None], out=half.like(logs)).exp_().mul_(of_sums[own, None])
            if kept is None:
                weights += logs.sub_(sums[start:]).exp_().mul_(of_sums[start:])
            else:
                weights = weights + weights.mT
            weights = half.through_kernel(weights, start)
            asked[own].addmm_(weights, points[start:])
            asked[later].addmm_(weights[:, half.size :].mT, points[own])
        return asked, None, None, None, None


class _Half:
    """The upper half of the matrix of a kernel, strip by strip, always in the same memory.

    Args:
        points, groups, kernel, tau: As for `log_kernel_sums`.
        size: Rows of a strip.
    """

    def __init__(self, points: Tensor, groups: Tensor | None, kernel: str, tau: float, size: int) -> None:
        self.points, self.groups, self.kernel, self.tau, self.size = points, groups, kernel, tau, size
        self.numbers, self.work = (points.new_empty(size * len(points)) for _ in range(2))
        self.starts = range(0, len(points), size)

    def rows(self, start: int) -> tuple[slice, slice]:
        """Give the rows of a strip, and those after it."""
        return slice(start, start + self.size), slice(start + self.size, None)

    def like(self, strip: Tensor) -> Tensor:
        """Give memory for as much as is in a strip."""
        return self.work[: strip.numel()].view_as(strip)

    def logs(self, start: int) -> Tensor:
        """Give the logarithms of a strip's rows with themselves and all later ones; `NOT_COUNTED` within a group."""
        logs = self._cosines(start)
        if self.kernel == "clip":
            logs.mul_(1.0 / self.tau)
        elif self.kernel == "gaussian":
            logs.sub_(1.0).mul_(1.0 / self.tau**2)
        else:
            logs.copy_(log_kernel(logs, self.kernel, self.tau))
        if self.groups is None:
            logs.diagonal().fill_(NOT_COUNTED)
            return logs
        return logs.masked_fill_(self.groups[self.rows(start)[0], None] == self.groups[start:], NOT_COUNTED)

    def _cosines(self, start: int) -> Tensor:
        rows, all_later = self.points[self.rows(start)[0]], self.points[start:]
        shape = len(rows), len(all_later)
        return torch.mm(rows, all_later.mT, out=self.numbers[: shape[0] * shape[1]].view(shape))

    def log_sum_exp(self, logs: Tensor, dim: int) -> Tensor:
        """Sum up a strip, or the end of one."""
        top = logs.amax(dim=dim, keepdim=True)
        return torch.sub(logs, top, out=self.like(logs)).exp_().sum(dim=dim).log_().add_(top.squeeze(dim))

    def through_kernel(self, weights: Tensor, start: int) -> Tensor:
        """Multiply weights of a strip by the slope of log kappa there."""
        if self.kernel != "geodesic":
            return weights.mul_(1.0 / self.tau if self.kernel == "clip" else 1.0 / self.tau**2)
        cosine = self._cosines(start)
        with torch.enable_grad():
            cosine = cosine.detach().requires_grad_()
            [slopes] = torch.autograd.grad(log_kernel(cosine, self.kernel, self.tau), cosine, weights)
        return slopes
