"""Symile: contrast by the multilinear inner product of all modalities at once (arXiv:2411.01053)."""

from __future__ import annotations

import torch
from torch import Tensor

from unclip_mm.errors import InputError
from unclip_mm.objectives.common import Batch
from unclip_mm.objectives.contrast import Contrast, search

__all__ = ["Symile"]


class Symile(Contrast):
    """Symmetric contrast of whole tuples: the score of vectors a, b, c is sum_d a_d b_d c_d.

    With each modality m in turn as the one that is asked for, over the rows that have every modality:

        s_ij = sum_d z_id^(m) prod_{n != m} z_jd^(n) / tau
        L    = mean_m mean_i -log softmax_j(s_ij)[i]

    **When to use.** As a baseline, and where a modality says something only together with another (their total
    correlation is bounded, not the correlations of pairs). For two modalities it is `InfoNCE`. It is the one objective
    here that depends on the axes of the space, and the scores of unit vectors shrink with D: raise the scale, or train
    it, for more than two modalities.

    **Negatives.** The other modalities of a negative come from different rows (the n-th from n rows further on), so that
    a tuple that does not belong together is a negative too. With `shuffle=False` they come from one row, which teaches
    less but depends on no order.

    Args:
        temperature: initial temperature. The scale 1 / tau is clamped at 100.
        learnable: train the temperature.
        shuffle: put negatives together from several rows.
        chunk_size: rows compared at a time, so that no B x B matrix is held; None: what suits the device.

    Terms: `contrastive_loss`; for the log `accuracy` and `scale`.

    Reference: "Contrasting with Symile: Simple Model-Agnostic Representation Learning for Unlimited Modalities",
    https://arxiv.org/abs/2411.01053

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> same = Embeddings.from_dict({name: torch.eye(4) for name in ("image", "text", "audio")})
        >>> round(float(Symile()(same)["accuracy"]), 2)
        1.0
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learnable: bool = True,
        shuffle: bool = True,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(temperature, learnable, chunk_size)
        self.shuffle = shuffle

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Ask for each modality by all others."""
        there = [m for m in range(len(batch.modalities)) if bool(batch.present[:, m].any())]
        rows = torch.nonzero(batch.present[:, there].all(dim=1)).flatten()
        if len(there) < 2 or len(rows) < 2:
            raise InputError(
                "embeddings: no row has every modality, or only one; mix two such rows or more into every batch"
            )
        scale = self.scale(batch.vectors.dtype)
        vectors = batch.vectors[rows][:, there]
        sides = [self._ask(vectors, m, rows, batch.groups, scale) for m in range(len(there))]
        return {
            "contrastive_loss": torch.stack([loss for loss, _ in sides]).mean(),
            "accuracy": torch.stack([hits for _, hits in sides]).mean(),
            "scale": scale,
        }

    def _ask(
        self, vectors: Tensor, m: int, rows: Tensor, groups: Tensor | None, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        asked, others = scale * vectors[:, m], [n for n in range(vectors.shape[1]) if n != m]
        shifts = [position if self.shuffle else 0 for position in range(len(others))]
        own = (asked * vectors[:, others].prod(dim=1)).sum(dim=1)
        mixed = torch.stack([vectors[:, n].roll(-by, 0) for n, by in zip(others, shifts, strict=True)]).prod(dim=0)

        def logits(part: Tensor, own: Tensor, at: Tensor) -> Tensor:
            return (part @ mixed.mT).scatter(1, at.unsqueeze(1), own.unsqueeze(1))

        members = torch.stack([rows.roll(-by, 0) for by in shifts])
        at = torch.arange(len(rows), device=rows.device)
        return search(logits, [asked, own, at], rows, rows, groups, self.chunk_size, members=members)
