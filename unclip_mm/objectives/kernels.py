"""Kernels between unit vectors, and how much every row of a set sees of the others through one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import rows_at_once

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
        sums, cosine = [], None
        for start in range(0, len(points), size):
            cosine = points[start : start + size] @ points.mT
            logs = log_kernel(cosine, kernel, tau)
            sums.append(_others(logs, groups, start).logsumexp(dim=1))
        ctx.kernel, ctx.tau, ctx.size = kernel, tau, size
        # A matrix that is a single strip is small enough to be kept.
        ctx.save_for_backward(points, groups, torch.cat(sums), cosine if len(sums) == 1 else None)
        return torch.cat(sums)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, groups, sums, kept = ctx.saved_tensors
        [of_sums] = gradients
        sums = sums.masked_fill(sums.isinf(), 0.0)
        asked = []
        for start in range(0, len(points), ctx.size):
            rows = slice(start, start + ctx.size)
            cosine = points[rows] @ points.mT if kept is None else kept
            others = _others(log_kernel(cosine, ctx.kernel, ctx.tau), groups, start)
            # what row i asks of its pairs, and what the other rows ask of row i
            weights = (others - sums[rows, None]).exp_().mul_(of_sums[rows, None])
            if kept is None:
                weights += others.sub_(sums).exp_().mul_(of_sums)
            else:
                weights = weights + weights.mT
            asked.append(_through_kernel(weights, cosine, ctx.kernel, ctx.tau) @ points)
        return torch.cat(asked), None, None, None, None


def _through_kernel(weights: Tensor, cosine: Tensor, kernel: str, tau: float) -> Tensor:
    """Multiply weights by the slope of log kappa at each cosine; in place where it is the same everywhere."""
    if kernel != "geodesic":
        return weights.mul_(1.0 / tau if kernel == "clip" else 1.0 / tau**2)
    with torch.enable_grad():
        cosine = cosine.detach().requires_grad_()
        [slopes] = torch.autograd.grad(log_kernel(cosine, kernel, tau), cosine, weights)
    return slopes


def _others(strip: Tensor, groups: Tensor | None, start: int) -> Tensor:
    """Put -inf where the rows from ``start`` on, of a matrix of all rows with all, are of one group; in place."""
    if groups is None:
        strip.diagonal(start).fill_(float("-inf"))
        return strip
    return strip.masked_fill_(groups[start : start + len(strip), None] == groups, float("-inf"))
