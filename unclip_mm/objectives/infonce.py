"""InfoNCE: contrast pairs of modalities, to an anchor or all with all (arXiv:1807.03748, 2103.00020, 2305.05665)."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import take
from unclip_mm.objectives.common import Batch
from unclip_mm.objectives.contrast import Contrast
from unclip_mm.objectives.search import Products, search

__all__ = ["InfoNCE"]


class InfoNCE(Contrast):
    """Symmetric contrastive loss over pairs of modalities: find your partner among the other rows.

    For a pair of modalities (m, n), with a learnable temperature tau:

        L_mn = mean_i -log softmax_j(z_i^(m) . z_j^(n) / tau)[i]         i: rows that have both m and n
        L    = mean over the pairs of (L_mn + L_nm) / 2                  j: rows that have the modality searched

    With an `anchor` the pairs are (anchor, other), as ImageBind binds everything to images; without one they are all
    pairs, as CLIP with more than two modalities.

    **When to use.** The baseline, and the safest start from scratch: many rows a batch, partners of which at least two
    modalities are there. It leaves a gap between the modalities (`diagnostics.centroid_gap`), because its uniformity
    also pushes *across* modalities. Relatives: `PMRL` and `UniAlign`, which do not.

    Args:
        anchor: the modality that all others are paired with; None pairs all with all.
        temperature: initial temperature. The scale 1 / tau is clamped at 100, as in CLIP.
        learnable: train the temperature. Give the objective's parameters to the optimiser then, without weight decay;
            after `backward` each process has the whole gradient.
        chunk_size: rows compared at a time, so that no B x B matrix is held; None: what suits the device.

    Terms: `contrastive_loss`; for the log `accuracy`, the share of searches that find the partner first, and `scale`.

    Reference: "Representation Learning with Contrastive Predictive Coding", https://arxiv.org/abs/1807.03748;
    "Learning Transferable Visual Models From Natural Language Supervision", https://arxiv.org/abs/2103.00020;
    "ImageBind: One Embedding Space To Bind Them All", https://arxiv.org/abs/2305.05665

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> aligned = Embeddings.from_dict({"text": torch.eye(4), "image": torch.eye(4)})
        >>> terms = InfoNCE(anchor="image", temperature=0.5)(aligned)
        >>> {name: round(term.item(), 3) for name, term in terms.items()}
        {'contrastive_loss': 0.341, 'accuracy': 1.0, 'scale': 2.0}
    """

    def __init__(
        self,
        anchor: str | None = None,
        temperature: float = 0.07,
        learnable: bool = True,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(temperature, learnable, chunk_size)
        self.anchor = anchor

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Average both directions of all pairs that share rows."""
        scale = self.scale(batch.vectors.dtype)
        found = [
            self._search(
                batch.columns[m], batch.columns[n], batch.present[:, m], batch.present[:, n], batch.groups, scale
            )
            for m, n in self.pairs(batch)
        ]
        return {
            "contrastive_loss": torch.stack([loss for loss, _ in found]).mean(),
            "accuracy": torch.stack([hits for _, hits in found]).mean(),
            "scale": scale,
        }

    def pairs(self, batch: Batch) -> list[tuple[int, int]]:
        """Give the pairs of modalities that share a row, and of which one is in a second row.

        Raises:
            InputError: there are none.
        """
        if self.anchor is None:
            wanted, pairs = "two modalities", list(combinations(range(len(batch.modalities)), 2))
        else:
            anchor = batch.index(self.anchor)
            wanted = f"the anchor {self.anchor!r} and another modality"
            pairs = [(anchor, other) for other in range(len(batch.modalities)) if other != anchor]
        there = batch.present
        shared = [
            (m, n)
            for m, n in pairs
            if bool((there[:, m] & there[:, n]).any()) and int((there[:, m] | there[:, n]).sum()) >= 2
        ]
        if not shared:
            raise InputError(f"embeddings: no row has {wanted}; mix such rows into every batch")
        return shared

    def _search(
        self, x: Tensor, y: Tensor, x_there: Tensor, y_there: Tensor, groups: Tensor | None, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        firsts, seconds = (torch.nonzero(there).flatten() for there in (x_there, y_there))
        vectors = [take(x, firsts), take(y, seconds)]
        return search(Products, scale, vectors, firsts, seconds, groups, self.chunk_size)[:2]
