"""Singular values and directions of each row's modalities, through the M x M Gram matrix, with stable gradients.

The eigenvectors are computed without gradient, and the differentiable values are rebuilt from them: a singular value
as the length of Z^T q, the leading direction with its first-order perturbation. So the backward of `eigh` is never run:
it divides by differences of eigenvalues and turns to NaN when two of them are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Spectrum", "root", "spectrum"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of (B, M, D) vectors, row by row.

    Attributes:
        values: (B, M), ascending; squares sum to the number of present modalities. Zeros for the absent come first.
        absent: (B, M) bool, True at the first M - k values of a row with k present modalities.
        axes: (B, M, M) eigenvectors of the Gram matrix as columns, without gradient.
        gaps: (B, M) leading eigenvalue minus each eigenvalue, without gradient.
        vectors: (B, M, D) the vectors themselves, with gradient.
        present: (B, M) bool, what of them is there.
    """

    values: Tensor
    absent: Tensor
    axes: Tensor
    gaps: Tensor
    vectors: Tensor
    present: Tensor

    def leading_direction(self, *, exact: bool) -> Tensor:
        """Give the leading left singular vectors (B, D), signed to point with the mean modality.

        Where the mean is orthogonal to the direction, as it always is for two modalities of negative cosine, the first
        present modality decides.

        Args:
            exact: carry the gradient through the mixing weights q as well, which grows as 1 / (lambda_1 - lambda_j);
                otherwise q counts as a constant. The value is the same.
        """
        q = self.axes[..., -1]
        if exact:
            gram = self.vectors @ self.vectors.mT
            change = gram - gram.detach()  # zero in value
            toward = (self.axes.mT @ (change @ q.unsqueeze(-1))).squeeze(-1)
            floor = torch.finfo(q.dtype).eps  # squared: keeps the gradient finite when two eigenvalues are equal
            q = q + (self.axes @ (toward * self.gaps / (self.gaps.square() + floor)).unsqueeze(-1)).squeeze(-1)
        direction = F.normalize((q.unsqueeze(1) @ self.vectors).squeeze(1), dim=-1)
        with torch.no_grad():
            cosine = (self.vectors @ direction.unsqueeze(-1)).squeeze(-1)
            first = cosine.gather(1, self.present.long().argmax(dim=1, keepdim=True))
            mean = cosine.sum(dim=1, keepdim=True)
            against = torch.where(mean.abs() > 1e-3, mean, first) < 0
        return torch.where(against, -direction, direction)

    def volume(self) -> Tensor:
        """Give sqrt(det G) of the present modalities (B,), kept differentiable at zero volume."""
        return root(self.values.square().masked_fill(self.absent, 1.0).prod(dim=-1))


def spectrum(vectors: Tensor, present: Tensor) -> Spectrum:
    """Decompose each row.

    Args:
        vectors: (B, M, D) float32 or float64, finite, zero where absent.
        present: (B, M) bool, at least one in each row.
    """
    fixed = vectors.detach()
    # Absent modalities get the eigenvalue -1, below all others: they sort first and never mix with the present ones.
    gram = fixed @ fixed.mT - torch.diag_embed((~present).to(fixed.dtype))
    eigenvalues, axes = torch.linalg.eigh(gram)
    absent = torch.arange(vectors.shape[1], device=vectors.device) < (~present).sum(dim=1, keepdim=True)
    values = torch.linalg.vector_norm(axes.mT @ vectors, dim=-1)
    return Spectrum(values, absent, axes, eigenvalues[:, -1:] - eigenvalues, vectors, present)


def root(square: Tensor) -> Tensor:
    """Give sqrt(x + 1e-6): a volume or an area from its square, with a finite gradient where it is zero."""
    return (square + 1e-6).sqrt()
