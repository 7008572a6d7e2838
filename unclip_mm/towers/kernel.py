"""A head that is a regression: smooth between what it was taught, and exact there as far as is wanted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.towers.quantized import QuantizedRows


class KernelHead(nn.Module):
    """Kernel ridge regression from features (B, F) to vectors (B, D): a sum of bumps on N features that were seen.

        f(x) = m + sum_i k(Px, Px_i) a_i,    k(x, y) = exp(width (cos(x - c, y - c) - 1)),
        a = (K + ridge I)^-1 (y - m),        m = mean of y,    c = mean of Px,    P = I - V^T V

    "The elements of statistical learning" (Hastie et al., 2009), section 5.8. A network fits what it is trained on and
    goes where it likes between; of all functions that fit as well, this one takes the shortest way. The directions V
    (r, F), orthonormal, are those in which features differ and nothing is meant; there may be none.

    Args:
        features: F.
        bumps: N.
        dim: D.
        width: How narrow the bumps are, greater than 0.
        aside: r.

    Raises:
        InputError: ``width`` is not greater than 0.

    Example:
        >>> known = KernelHead.fit(torch.eye(3), torch.eye(3), width=2.0, ridge=0.01)
        >>> sure, between = known(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]))
        >>> bool(sure[0] > 0.9), bool((between[0] - between[1]).abs() < 1e-3), bool(between[0] > between[2])
        (True, True, True)
        >>> blind = KernelHead.fit(torch.eye(3), torch.eye(3), width=2.0, ridge=0.01, aside=torch.eye(3)[2:])
        >>> torch.equal(*blind(torch.tensor([[0.3, 0.2, 0.0], [0.3, 0.2, 9.0]])))
        True
    """

    center: Tensor
    seen: Tensor | QuantizedRows
    mean: Tensor
    weights: Tensor
    aside: Tensor

    def __init__(self, features: int, bumps: int, dim: int, width: float = 2.0, aside: int = 0):
        super().__init__()
        _check_positive("width", width)
        self.width = width
        self.register_buffer("aside", torch.zeros(aside, features), persistent=aside > 0)
        for name, shape in (
            ("center", (features,)),
            ("seen", (bumps, features)),
            ("mean", (dim,)),
            ("weights", (bumps, dim)),
        ):
            self.register_buffer(name, torch.zeros(shape))

    @classmethod
    def fit(
        cls, features: Tensor, vectors: Tensor, width: float, ridge: float, aside: Tensor | None = None
    ) -> KernelHead:
        """Return the regression from ``features`` (N, F) to ``vectors`` (N, D).

        Args:
            features: x_i; the cost grows with the cube of N.
            vectors: y_i.
            width: How narrow the bumps are, greater than 0.
            ridge: How far f may stay from y, greater than 0.
            aside: V, orthonormal (r, F); None: no direction is left aside.

        Raises:
            InputError: ``width`` or ``ridge`` is not greater than 0.
        """
        _check_positive("ridge", ridge)
        head = cls(features.shape[1], len(features), vectors.shape[1], width, 0 if aside is None else len(aside))
        if aside is not None:
            head.aside = aside.float()
        meant = head._meant(features.float())
        head.center, head.mean = meant.mean(dim=0), vectors.float().mean(dim=0)
        head.seen = seen = F.normalize(meant - head.center, dim=-1)
        kernel = head._bumps(seen).double()
        kernel.diagonal().add_(ridge)
        head.weights = torch.linalg.solve(kernel, (vectors - head.mean).double()).float()
        return head

    def quantize(self) -> None:
        """Round the features that were seen to 8 bits; the weights, which nearly cancel each other, stay."""
        if isinstance(self.seen, Tensor):
            rounded = QuantizedRows(*self.seen.shape)
            rounded.round(self.seen)
            del self.seen
            self.seen = rounded

    def _meant(self, x: Tensor) -> Tensor:
        return x - x @ self.aside.mT @ self.aside

    def _bumps(self, directions: Tensor) -> Tensor:
        seen = self.seen if isinstance(self.seen, Tensor) else self.seen.matrix()
        return torch.exp(self.width * (directions @ seen.to(directions).mT - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to (B, D)."""
        directions = F.normalize(self._meant(x.to(self.center)) - self.center, dim=-1)
        return self.mean + self._bumps(directions) @ self.weights


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name}: {value} is not allowed; give a number greater than 0")
