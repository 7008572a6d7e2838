"""CS-Aligner: InfoNCE for the pairs, and a divergence for the distributions (arXiv:2502.17028)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unclip_mm.objectives.chunks import over_rows
from unclip_mm.objectives.common import Batch, check_number
from unclip_mm.objectives.infonce import InfoNCE
from unclip_mm.objectives.kernels import log_kernel

__all__ = ["CSAligner", "cauchy_schwarz_divergence"]


class CSAligner(InfoNCE):
    """InfoNCE, and the Cauchy-Schwarz divergence between the modalities' distributions.

        D_CS(x, y) = log mean_ij k(x_i, x_j) + log mean_ij k(y_i, y_j) - 2 log mean_ij k(x_i, y_j)
        k(x, y)    = exp(-||x - y||^2 / (2 bandwidth^2))
        L          = InfoNCE + lambda_cs * mean over the pairs of modalities of D_CS

    **When to use.** When the gap that InfoNCE leaves between the modalities is in the way, as in generation. The
    divergence needs no partners, so rows with a single modality help. Relatives: `UniAlign`, by the same group, closes
    the gap without negatives between modalities; `diagnostics.hoelder_divergence` measures what is left of it.

    Args:
        anchor, temperature, learnable, chunk_size: as in `InfoNCE`.
        lambda_cs: weight of the divergence.
        bandwidth: width of the kernel, in units of the sphere's radius. The default is ours.

    Terms: `contrastive_loss`, `divergence_loss` (weighted); for the log `accuracy` and `scale`.

    Reference: "Distributional Vision-Language Alignment by Cauchy-Schwarz Divergence", https://arxiv.org/abs/2502.17028

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> same = Embeddings.from_dict({"image": torch.eye(4), "text": torch.eye(4)})
        >>> float(CSAligner("image")(same)["divergence_loss"])
        0.0
    """

    def __init__(
        self,
        anchor: str | None = None,
        temperature: float = 0.07,
        learnable: bool = True,
        lambda_cs: float = 1.0,
        bandwidth: float = 0.5,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(anchor, temperature, learnable, chunk_size)
        self.lambda_cs = check_number("lambda_cs", lambda_cs)
        self.bandwidth = check_number("bandwidth", bandwidth, positive=True)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute both terms over the same pairs of modalities."""
        sets = [batch.vectors[batch.present[:, m], m] for m in range(len(batch.modalities))]
        divergences = [
            cauchy_schwarz_divergence(sets[m], sets[n], self.bandwidth, self.chunk_size) for m, n in self.pairs(batch)
        ]
        contrast = super().terms(batch)
        return {"divergence_loss": self.lambda_cs * torch.stack(divergences).mean(), **contrast}


def cauchy_schwarz_divergence(x: Tensor, y: Tensor, bandwidth: float, chunk_size: int | None = None) -> Tensor:
    """Estimate D_CS between the distributions of two sets of unit vectors, by kernel density; 0 for equal sets.

    Args:
        x: (N, D).
        y: (K, D).
        bandwidth: of the gaussian kernel.
        chunk_size: rows compared at a time; None: what suits the device.

    Example:
        >>> import torch
        >>> x = torch.eye(3)
        >>> float(cauchy_schwarz_divergence(x, x, 0.5)), bool(cauchy_schwarz_divergence(x, -x, 0.5) > 0)
        (0.0, True)
    """

    def log_mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        sums = over_rows(
            lambda part: log_kernel(part @ b.mT, "gaussian", bandwidth).logsumexp(dim=1), chunk_size, len(b), a
        )
        return sums.logsumexp(dim=0) - math.log(len(a) * len(b))

    return log_mean_kernel(x, x) + log_mean_kernel(y, y) - 2.0 * log_mean_kernel(x, y)
