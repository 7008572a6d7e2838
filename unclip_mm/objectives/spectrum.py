"""Singular values and directions of each row's modalities, through the M x M Gram matrix, with stable gradients.

The eigenvectors are computed without gradient, and the gradients of what is made of them are written down: of a singular
value as the length of Z^T q, of the leading direction by first-order perturbation. So the backward of `eigh` is never
run: it divides by differences of eigenvalues and turns to NaN when two of them are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import rows_at_once

__all__ = ["Spectrum", "root", "spectrum"]

_SMALLEST = 1e-12
"""What a length is at least where something is divided by it."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of (B, M, D) vectors, row by row, and where they lead.

    Attributes:
        values: (B, M), ascending; squares sum to the number of present modalities. Zeros for the absent come first.
        absent: (B, M) bool, True at the first M - k values of a row with k present modalities.
        direction: (B, D) leading left singular vectors, signed to point with the mean modality. Where the mean is
            orthogonal to it, as it always is for two modalities of negative cosine, the first present modality decides.
        cosines: (B, M, M), of all pairs of a row's modalities, zero where one is absent; without gradient.
    """

    values: Tensor
    absent: Tensor
    direction: Tensor
    cosines: Tensor

    def volume(self) -> Tensor:
        """Give sqrt(det G) of the present modalities (B,), kept differentiable at zero volume."""
        return root(self.values.square().masked_fill(self.absent, 1.0).prod(dim=-1))


def spectrum(vectors: Tensor, present: Tensor, exact: bool = True, order: Sequence[int] | None = None) -> Spectrum:
    """Decompose each row.

    Args:
        vectors: (B, M, D) float32 or float64, finite, zero where absent.
        present: (B, M) bool. A row without any has values and a direction of zeros.
        exact: carry the gradient of the direction through the mixing weights q as well, which grows as
            1 / (lambda_1 - lambda_j); otherwise q counts as a constant. The values are the same.
        order: the modalities as they come first where the sign of a direction is open; None: as they stand.
    """
    missing = ~present
    with torch.no_grad():
        # Absent modalities get the eigenvalue -1, below all others: they sort first and never mix with the present ones.
        cosines = vectors @ vectors.mT
        gram = cosines - torch.diag_embed(missing.to(vectors.dtype))
        eigenvalues, axes = torch.linalg.eigh(gram)
        leading = axes[..., -1]
        cosine = (gram @ leading.unsqueeze(-1)).squeeze(-1) / eigenvalues[:, -1:].clamp(min=_SMALLEST).sqrt()
        order = range(vectors.shape[1]) if order is None else order
        first = cosine[:, order].gather(1, present[:, order].long().argmax(dim=1, keepdim=True))
        mean = cosine.sum(dim=1, keepdim=True)
        leading *= torch.where(torch.where(mean.abs() > 1e-3, mean, first) < 0, -1.0, 1.0)
        gaps = eigenvalues[:, -1:] - eigenvalues if exact else torch.zeros_like(eigenvalues)
    values, direction = _Rebuild.apply(vectors, axes, gaps)
    absent = torch.arange(vectors.shape[1], device=vectors.device) < missing.sum(dim=1, keepdim=True)
    return Spectrum(values, absent, direction, cosines)


class _Rebuild(torch.autograd.Function):
    """Singular values and the leading direction from the vectors Z and the eigenvectors q_j of their Gram matrix.

    With w_j = Z^T q_j: sigma_j = |w_j| and u = w_1 / sigma_1. To first order Z + dZ changes sigma_j by u_j^T dZ^T q_j,
    w_1 by dZ^T q_1 + sum_j a_j w_j, and a_j, the turn of q_1 towards q_j, is q_j^T (dZ Z^T + Z dZ^T) q_1 / gap_j.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, axes: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
        values, direction = torch.empty_like(gaps), torch.empty_like(vectors[:, 0])
        # The w_j are as large as the vectors: of some rows at a time, which the caches hold beside other things.
        size = rows_at_once(None, len(vectors), 4 * vectors[:1].numel(), vectors)
        for z, q, sigma, u in zip(*(tensor.split(size) for tensor in (vectors, axes, values, direction)), strict=True):
            sides = q.mT @ z
            torch.linalg.vector_norm(sides, dim=-1, out=sigma)
            torch.div(sides[:, -1], sigma[:, -1:].clamp(min=_SMALLEST), out=u)
        ctx.save_for_backward(vectors, values, axes, gaps)
        return values, direction

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        vectors, values, axes, gaps = ctx.saved_tensors
        of_values, of_direction = gradients
        lengths = values.clamp(min=_SMALLEST)
        # A row without any modality has no direction, and asks for nothing.
        inverse = torch.where(values[:, -1:] > 0, 1.0 / lengths[:, -1:], 0.0)
        of_direction = of_direction.unsqueeze(1)  # as a row: products of matrices with columns are ten times slower
        along = (of_direction @ vectors.mT @ axes).squeeze(1) * inverse
        floor = torch.finfo(gaps.dtype).eps  # squared: keeps the gradient finite when two eigenvalues are equal
        turn = along * gaps / (gaps.square() + floor)
        # All that is asked of Z, but for the direction's own, is a mixture of the w_j, and so of Z's rows.
        mixture = torch.diag_embed(of_values / lengths)
        mixture[:, :, -1] += turn
        mixture[:, -1] += turn
        mixture[:, -1, -1] -= along[:, -1] * inverse[:, 0].square()
        mixture = axes @ mixture @ axes.mT
        own = (axes[..., -1] * inverse).unsqueeze(-1)
        of_vectors = torch.empty_like(vectors)
        size = rows_at_once(None, len(vectors), vectors[:1].numel(), vectors)
        everything = (of_vectors, own, of_direction, mixture, vectors)
        for out, *rows in zip(*(tensor.split(size) for tensor in everything), strict=True):
            torch.mul(*rows[:2], out=out)
            out.baddbmm_(*rows[2:])
        return of_vectors, None, None


def root(square: Tensor) -> Tensor:
    """Give sqrt(x + 1e-6): a volume or an area from its square, with a finite gradient where it is zero."""
    return (square + 1e-6).sqrt()
