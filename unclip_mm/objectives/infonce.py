"""InfoNCE: contrast pairs of modalities, to an anchor or all with all (arXiv:1807.03748, 2103.00020, 2305.05665)."""

from __future__ import annotations

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.objectives.common import Batch, Objective, check_number

__all__ = ["InfoNCE"]

_MAX_SCALE = 100.0


class InfoNCE(Objective):
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

    def __init__(self, anchor: str | None = None, temperature: float = 0.07, learnable: bool = True) -> None:
        super().__init__()
        scale = 1.0 / check_number("temperature", temperature, positive=True)
        if scale > _MAX_SCALE:
            raise InputError(f"temperature: {temperature} is too small; give {1 / _MAX_SCALE} or more")
        self.anchor = anchor
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learnable)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Average both directions of all pairs that share rows."""
        with torch.no_grad():  # on the parameter, before it is used: a clamp of the value would end its gradient
            self.log_scale.clamp_(max=math.log(_MAX_SCALE))
        scale = self.log_scale.to(batch.vectors.dtype).exp()
        losses, hits = [], []
        for m, n in self._pairs(batch):
            both = batch.present[:, m] & batch.present[:, n]
            if not bool(both.any()) or int((batch.present[:, m] | batch.present[:, n]).sum()) < 2:
                continue
            for query, target in ((m, n), (n, m)):
                logits, labels = self._logits(batch, both, query, target, scale)
                losses.append(F.cross_entropy(logits, labels))
                hits.append((logits.argmax(dim=1) == labels).to(logits.dtype).mean())
        if not losses:
            wanted = "two modalities" if self.anchor is None else f"the anchor {self.anchor!r} and another modality"
            raise InputError(f"embeddings: no row has {wanted}; mix such rows into every batch")
        return {
            "contrastive_loss": torch.stack(losses).mean(),
            "accuracy": torch.stack(hits).mean(),
            "scale": scale,
        }

    def _pairs(self, batch: Batch) -> list[tuple[int, int]]:
        if self.anchor is None:
            return list(combinations(range(len(batch.modalities)), 2))
        anchor = batch.index(self.anchor)
        return [(anchor, other) for other in range(len(batch.modalities)) if other != anchor]

    def _logits(self, batch: Batch, both: Tensor, query: int, target: int, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Compare the rows that have both with all that have the target: logits (rows, candidates), labels (rows,)."""
        candidates = torch.nonzero(batch.present[:, target]).flatten()
        rows = torch.nonzero(both).flatten()
        labels = torch.searchsorted(candidates, rows)
        logits = scale * batch.vectors[rows, query] @ batch.vectors[candidates, target].mT
        allowed = batch.negatives[rows][:, candidates]
        allowed[torch.arange(len(rows), device=rows.device), labels] = True
        return logits.masked_fill(~allowed, float("-inf")), labels
