"""GRAM and TRIANGLE: contrast an anchor with whole tuples of the other modalities, by volume or by area."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import take
from unclip_mm.objectives.common import Batch, check_number
from unclip_mm.objectives.contrast import Contrast, search
from unclip_mm.objectives.spectrum import root

__all__ = ["GRAM", "TRIANGLE"]

Cosines = Callable[[Tensor], Tensor]
"""(K, D) vectors of K tuples -> their inner products with anchors: (n, K), or (K,) with one anchor a tuple."""


class GRAM(Contrast):
    """Gramian representation alignment: the volume that an anchor and the other modalities span is their distance.

    Unit vectors that all point the same way span no volume; orthogonal ones span 1. With x_i the anchor of row i and
    Y_j the other modalities of row j:

        V_ij = sqrt(det Gram(x_i, Y_j))
        L    = 1/2 [ CE_i softmax_j(-V_ij / tau) + CE_j softmax_i(-V_ij / tau) ]         with label smoothing

    **When to use.** As a baseline for three modalities or more, one of which is a natural anchor. The volume is blind
    to signs, and it is zero as soon as any two of the vectors agree: a row whose text and audio coincide fits every
    image. Rank by the cosine when you retrieve. Relatives: `PMRL` measures the same tuple by its leading singular
    value; `TRIANGLE` by an area, which sees signs.

    **How it is computed.** Within the comparisons of a tuple only the anchor changes, so
    det Gram(x_i, Y_j) = det Gram(Y_j) (1 - ||Q_j x_i||^2) with an orthonormal basis Q_j of the tuple: one small
    orthogonalisation a tuple and one product a pair, in place of B x B determinants. What a row lacks is left out of
    its basis.

    Args:
        anchor: the modality that is compared with tuples of the others.
        temperature: initial temperature. The scale 1 / tau is clamped at 100.
        learnable: train the temperature.
        smoothing: label smoothing, in [0, 1).
        chunk_size: rows compared at a time, so that no B x B matrix is held; None: what suits the device.

    Terms: `contrastive_loss`; for the log `accuracy`, `scale`, and `volume`, the mean V_ii.

    Reference: "Gramian Multimodal Representation Learning and Alignment", https://arxiv.org/abs/2412.11959

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> aligned = Embeddings.from_dict({"image": torch.eye(4), "text": torch.eye(4), "audio": torch.eye(4)})
        >>> round(float(GRAM("image")(aligned)["volume"]), 3)
        0.001
    """

    measured = "volume"
    needs = "another modality"

    def __init__(
        self,
        anchor: str = "image",
        temperature: float = 0.07,
        learnable: bool = True,
        smoothing: float = 0.1,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(temperature, learnable, chunk_size)
        self.anchor = anchor
        self.smoothing = check_number("smoothing", smoothing)
        if self.smoothing >= 1:
            raise InputError(f"smoothing: {smoothing!r} is too large; give a number below 1")

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Search the tuple of every anchor, and the anchor of every tuple."""
        scale, anchor = self.scale(batch.vectors.dtype), batch.index(self.anchor)
        others = [m for m in range(len(batch.modalities)) if m != anchor]
        columns, present = batch.vectors.unbind(dim=1), batch.present.unbind(dim=1)
        described = self.describe([columns[m] for m in others], [present[m] for m in others])
        there, tuple_there = present[anchor], self.complete(batch.present[:, others])
        both = torch.nonzero(there & tuple_there).flatten()
        if not len(both):
            wanted = f"the anchor {self.anchor!r} and {self.needs}"
            raise InputError(f"embeddings: no row has {wanted}; mix such rows into every batch")
        anchors, tuples = torch.nonzero(there).flatten(), torch.nonzero(tuple_there).flatten()
        x, y = take(columns[anchor], anchors), [take(values, tuples) for values in described]
        loss, accuracy = search(
            lambda part: -scale * self.distance(lambda v: part @ v.mT, *y),
            [x],
            anchors,
            tuples,
            batch.groups,
            self.chunk_size,
            both_ways=True,
            smoothing=self.smoothing,
        )
        with torch.no_grad():
            asked = columns[anchor][both]
            own = self.distance(lambda v: (asked * v).sum(dim=-1), *(values[both] for values in described)).mean()
        return {
            "contrastive_loss": loss,
            "accuracy": accuracy,
            "scale": scale,
            self.measured: own,
        }

    def complete(self, present: Tensor) -> Tensor:
        """Tell which tuples can be compared, (B,) bool, from which of the others are there (B, k)."""
        return present.any(dim=1)

    def describe(self, others: Sequence[Tensor], present: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Prepare tuples for `distance`.

        Args:
            others: k times (B, D), zero where absent.
            present: k times (B,).

        Returns:
            An orthonormal basis of each tuple, k times (B, D), zero where it has a direction less; det Gram(Y) (B,).
        """
        tiny = torch.finfo(others[0].dtype).eps
        basis: list[Tensor] = []
        determinant = torch.ones_like(others[0][:, 0])
        for vector, there in zip(others, present, strict=True):
            for direction in basis:
                vector = vector - (vector * direction).sum(dim=-1, keepdim=True) * direction
            square = vector.square().sum(dim=-1, keepdim=True)
            determinant = determinant * torch.where(there, square.squeeze(-1), 1.0)
            basis.append(vector / (square + tiny).sqrt())
        return *basis, determinant

    def distance(self, cosines: Cosines, *described: Tensor) -> Tensor:
        """Measure anchors against tuples as `describe` gives them: (n, K), or (K,)."""
        *basis, determinant = described
        outside = torch.ones((), dtype=determinant.dtype, device=determinant.device)
        for direction in basis:
            outside = outside - cosines(direction).square()
        return root(determinant * outside.clamp(min=0.0))


class TRIANGLE(GRAM):
    """The area between the tips of three unit vectors in place of the volume that they span; three modalities.

        A_ij = 1/2 sqrt(|u|^2 |v|^2 - (u . v)^2),   u = x_i - y_j,   v = x_i - z_j
        L    = as in `GRAM`, with A for V

    **When to use.** As `GRAM`, with exactly three modalities. The area is zero only if the three tips lie on a line:
    on the sphere, if two of them coincide. Rows that lack one of the three have no part.

    Args:
        anchor, temperature, learnable, smoothing, chunk_size: as in `GRAM`.

    Terms: `contrastive_loss`; for the log `accuracy`, `scale`, and `area`, the mean A_ii.

    Reference: "A TRIANGLE Enables Multimodal Alignment Beyond Cosine Similarity", https://arxiv.org/abs/2509.24734

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> corners = torch.eye(3).repeat(2, 1, 1)
        >>> apart = Embeddings(corners, torch.ones(2, 3, dtype=torch.bool), ("image", "text", "audio"))
        >>> round(float(TRIANGLE("image")(apart)["area"]), 3)
        0.866
    """

    measured = "area"
    needs = "both others"

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Search the pair of every anchor, and the anchor of every pair."""
        if len(batch.modalities) != 3:
            names = ", ".join(batch.modalities)
            raise InputError(
                f"embeddings: {len(batch.modalities)} modalities ({names}); TRIANGLE takes three: select them"
            )
        return super().terms(batch)

    def complete(self, present: Tensor) -> Tensor:
        """Tell which pairs can be compared: those that have both."""
        return present.all(dim=1)

    def describe(self, others: Sequence[Tensor], present: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give the two vectors (B, D) of each pair, and their cosine (B,)."""
        y, z = others
        return y, z, (y * z).sum(dim=-1)

    def distance(self, cosines: Cosines, *described: Tensor) -> Tensor:
        """Measure anchors against pairs as `describe` gives them: (n, K), or (K,)."""
        y, z, yz = described
        xy, xz = cosines(y), cosines(z)
        product = (1.0 - xy - xz + yz).square()
        return 0.5 * root((4.0 * (1.0 - xy) * (1.0 - xz) - product).clamp(min=0.0))
