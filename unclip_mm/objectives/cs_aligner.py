"""CS-Aligner: InfoNCE for the pairs, and a divergence for the distributions (arXiv:2502.17028)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unclip_mm.checks import check_number
from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import rows_at_once, take
from unclip_mm.objectives.common import Batch
from unclip_mm.objectives.infonce import InfoNCE
from unclip_mm.objectives.products import add_product, compact, multiply, zeros_by_columns

__all__ = ["CSAligner", "cauchy_schwarz_divergence"]


class CSAligner(InfoNCE):
    """InfoNCE, and the Cauchy-Schwarz divergence between the modalities' distributions.

        D_CS(x, y) = log mean_ij k(x_i, x_j) + log mean_ij k(y_i, y_j) - 2 log mean_ij k(x_i, y_j)
        k(x, y)    = exp(-||x - y||^2 / (2 bandwidth^2))
        L          = InfoNCE + lambda_cs * mean over the pairs of modalities of D_CS

    **When to use.** When the gap that InfoNCE leaves between the modalities is in the way, as in generation. The
    divergence needs no partners, so rows with a single modality help; and it has no negatives: it compares densities of
    all rows, whatever their groups, which matter to InfoNCE alone. Relatives: `UniAlign`, by the same group, closes
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
        sets = [
            take(column, torch.nonzero(there).flatten())
            for column, there in zip(batch.columns, batch.present.unbind(dim=1), strict=True)
        ]
        divergences = _divergences(sets, self.pairs(batch), self.bandwidth, self.chunk_size)
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
    return _divergences((x, y), [(0, 1)], bandwidth, chunk_size)[0]


def _divergences(
    sets: Sequence[Tensor], pairs: Sequence[tuple[int, int]], bandwidth: float, chunk_size: int | None
) -> list[Tensor]:
    """Compare pairs of sets; what a set has with itself is computed once, however many pairs it is in."""

    def log_mean_kernel(x: Tensor, y: Tensor | None) -> Tensor:
        size = rows_at_once(chunk_size, len(x), len(x if y is None else y), x)
        return _LogMeanKernel.apply(x, y, bandwidth, size)

    own = {m: log_mean_kernel(sets[m], None) for m in dict.fromkeys(m for pair in pairs for m in pair)}
    return [own[m] + own[n] - 2.0 * log_mean_kernel(sets[m], sets[n]) for m, n in pairs]


class _LogMeanKernel(torch.autograd.Function):
    """log mean_ij k(x_i, y_j); without y, of x with itself, whose matrix is symmetric.

    Strips of log k are made in one place, and again in backward.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, bandwidth: float, size: int) -> Tensor:
        rows, others = compact(x), compact(x if y is None else y)
        strip, means = x.new_empty(min(size, len(x)), len(others)), []
        for part in rows.split(size):
            logs = _log_kernel(part, others, bandwidth, strip)
            top = logs.amax(dim=1, keepdim=True)
            means.append(logs.sub_(top).exp_().mean(dim=1).log_().add_(top.squeeze(1)))
        mean = torch.cat(means).logsumexp(dim=0) - math.log(len(x))
        # A matrix that is a single strip is small enough to be kept, as what it asks of each pair.
        kept = strip.mul_(top.sub_(mean).exp_()) if len(means) == 1 else None
        ctx.save_for_backward(x, y, mean, kept)
        ctx.bandwidth, ctx.size = bandwidth, size
        return mean

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mean, kept = ctx.saved_tensors
        rows, others = compact(x), compact(x if y is None else y)
        strip = x.new_empty(min(ctx.size, len(x)), len(others)) if kept is None else kept
        of_x, of_y = torch.empty_like(rows), None if y is None else zeros_by_columns(others)
        for part, asked in zip(rows.split(ctx.size), of_x.split(ctx.size), strict=True):
            weights = _log_kernel(part, others, ctx.bandwidth, strip).sub_(mean).exp_() if kept is None else kept
            multiply(weights, others, out=asked)
            if of_y is not None:
                add_product(of_y, weights.mT, part)
        slope = gradients[0] / (len(x) * len(others) * ctx.bandwidth**2)
        if of_y is None:
            return of_x.mul_(2.0 * slope), None, None, None
        return of_x.mul_(slope), of_y.mul_(slope), None, None


def _log_kernel(part: Tensor, others: Tensor, bandwidth: float, strip: Tensor) -> Tensor:
    """Put the log of the gaussian between unit vectors, (cosine - 1) / bandwidth^2, into the first rows of a strip."""
    return multiply(part, others.mT, out=strip[: len(part)]).sub_(1.0).div_(bandwidth**2)
