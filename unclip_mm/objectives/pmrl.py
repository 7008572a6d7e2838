"""PMRL: align all modalities of a row at once, by making their Gram matrix rank 1 (arXiv:2507.17343)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unclip_mm.checks import check_choice, check_flag, check_number
from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import check_chunk_size
from unclip_mm.objectives.common import Batch, Objective
from unclip_mm.objectives.kernels import log_kernel_sums
from unclip_mm.objectives.spectrum import Spectrum, spectrum

__all__ = ["PMRL"]


class PMRL(Objective):
    """Principled Multimodal Representation Learning: maximise the leading singular value of each row's modalities.

    The k present unit vectors of row i are the same, up to sign, if and only if their matrix Z_i (k x D) has rank 1:
    singular values sigma_1 = sqrt(k), all others 0. So, with u_i the leading left singular vector of Z_i^T:

        L_align = mean_i -log softmax(sigma_i / tau1)[leading]
        L_reg   = mean_i -log softmax_l(u_i . u_l / tau2)[i]
        L       = L_align + lambda_reg * L_reg

    L_align pulls the modalities of a row together without choosing an anchor; L_reg pushes the leading directions of
    different rows apart.

    **When to use.** Three or more modalities, none of which is better than the others. For retrieval score by the
    cosine, not by the singular value. Relatives: `InfoNCE` compares pairs; `UniAlign` aligns to an anchor and has no
    negatives between modalities.

    **How it is computed.** By `eigh` of the masked Gram matrix in float32: the same values as the singular value
    decomposition, at a hundredth of the cost. The sign of u_i, which a decomposition leaves open, is set to point with
    the mean modality: random signs lower L_reg although nothing has moved. An absent modality is a singular value less
    in the softmax, and a row with a single modality takes part in L_reg only.

    **Watch `pairwise_cosine`.** Rank 1 does not see signs: a modality that points straight against the others costs
    nothing, and from random initialisation some rows do end there. And L_align is satisfied early: once sigma_1 leads
    by about ten tau1 its gradient is gone, at 0.05 while the mean sigma_1^2 / k is still near 0.75. Where the pictures
    depend on tight alignment, raise tau1 (0.2 reaches 0.98) or start from towers that agree in sign.

    Args:
        tau1: temperature of the singular values (paper 0.05; its released script trains with 0.01).
        tau2: temperature of the repulsion.
        lambda_reg: weight of the repulsion.
        direction: "exact" carries the gradient of L_reg through the mixing weights of u_i, which is large when the
            modalities of a row are nearly orthogonal, as at random initialisation; "detached" holds them fixed (same
            value, calmer gradient).
        reference: do as the released code does, for comparison: a full singular value decomposition, directions of
            whatever sign it gives, and a repulsion among the rows of one process only. Slow, and no modality may be
            missing. With fewer dimensions than modalities it knows of as many singular values as there are dimensions.
            Its gradients, as the released code's, are divided by differences of singular values: NaN where some are
            equal, as at full alignment (the zeros) and at orthogonality, and rounding magnified close to it.
        chunk_size: rows whose directions are compared at a time, so that no B x B matrix is held; None: what suits the
            device.

    Terms: `alignment_loss`, `regularisation_loss` (weighted); for the log `leading_share`, the mean of sigma_1^2 / k,
    and `pairwise_cosine`, the mean cosine of two modalities of a row.

    Reference: "Principled Multimodal Representation Learning", https://arxiv.org/abs/2507.17343

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> z = torch.eye(4)
        >>> aligned = Embeddings.from_dict({"text": z, "image": z, "audio": z})
        >>> {name: round(float(term), 4) for name, term in PMRL()(aligned).items()}
        {'alignment_loss': 0.0, 'regularisation_loss': 0.0001, 'leading_share': 1.0, 'pairwise_cosine': 1.0}
    """

    def __init__(
        self,
        tau1: float = 0.05,
        tau2: float = 0.1,
        lambda_reg: float = 1.0,
        direction: str = "exact",
        reference: bool = False,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        self.tau1 = check_number("tau1", tau1, positive=True)
        self.tau2 = check_number("tau2", tau2, positive=True)
        self.lambda_reg = check_number("lambda_reg", lambda_reg)
        self.direction = check_choice("direction", direction, ("exact", "detached"))
        self.reference = check_flag("reference", reference)
        self.gathers = not self.reference
        self.chunk_size = check_chunk_size(chunk_size)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute alignment and repulsion over the rows that have a modality."""
        used = batch.present.any(dim=1)
        vectors, present, groups = batch.vectors, batch.present, batch.groups
        tuples = batch.tuples()[used]
        if not bool(used.all()):
            vectors, present = vectors[used], present[used]
            groups = None if groups is None else groups[used]
        if self.reference:
            rows = self._released(vectors, present)
        else:
            order = sorted(range(len(batch.modalities)), key=lambda m: batch.modalities[m])
            rows = spectrum(vectors, present, self.direction == "exact", order)
        with torch.no_grad():
            count = present.sum(dim=1)[tuples]
            total = rows.cosines.sum(dim=(1, 2))[tuples]
            cosine = ((total - count) / (count * (count - 1))).mean()
            share = (rows.values[tuples, -1].square() / count).mean()
        return {
            "alignment_loss": self._alignment(rows, tuples),
            "regularisation_loss": self.lambda_reg * self._repulsion(rows.direction, groups),
            "leading_share": share,
            "pairwise_cosine": cosine,
        }

    def _released(self, vectors: Tensor, present: Tensor) -> Spectrum:
        """Decompose each row as the released code does."""
        if not bool(present.all()):
            raise InputError(
                "embeddings: a modality is missing, which the released code cannot mask; reference=False can"
            )
        left, values, _ = torch.linalg.svd(vectors.mT, full_matrices=True)
        lacking = present.shape[1] - values.shape[1]  # of fewer dimensions there are no further values, not even zeros
        absent = (torch.arange(present.shape[1], device=present.device) < lacking).expand_as(present)
        return Spectrum(
            F.pad(values.flip(-1), (lacking, 0)), absent, left[..., 0], vectors.detach() @ vectors.detach().mT
        )

    def _alignment(self, rows: Spectrum, tuples: Tensor) -> Tensor:
        logits = (rows.values / self.tau1).masked_fill(rows.absent, float("-inf"))[tuples]
        return (logits.logsumexp(dim=-1) - logits[:, -1]).mean()

    def _repulsion(self, directions: Tensor, groups: Tensor | None) -> Tensor:
        others = log_kernel_sums(directions, groups, "clip", self.tau2, self.chunk_size)
        own = others.new_tensor(1.0 / self.tau2)
        return (torch.logaddexp(others, own) - own).mean()
