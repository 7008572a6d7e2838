"""UniAlign: uniformity inside each modality, alignment to an anchor, nothing in between (arXiv:2602.09507)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unclip_mm.checks import check_choice, check_number
from unclip_mm.errors import InputError
from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import check_chunk_size, take
from unclip_mm.objectives.common import Batch, Objective
from unclip_mm.objectives.kernels import KERNELS, log_kernel_sums
from unclip_mm.objectives.spectrum import spectrum

__all__ = ["UniAlign"]

_ANCHOR_MODES = ("free", "stop_gradient", "frozen")


class UniAlign(Objective):
    """Uniformity and alignment, decoupled: spread each modality by itself, and pull the others onto an anchor.

        U(Z^(m)) = mean_i log[ mean_{j != i} kappa(z_i^(m), z_j^(m)) ]       one modality at a time
        L_align  = mean over (i, n != a) of ||z_i^(a) - z_i^(n)||^2           a: the anchor modality
        L_vol    = U(C; tau_center) + mean_i sqrt(det G_i)                    c_i = normalize(mean_m z_i^(m))
        L        = lambda_uni sum_m U(Z^(m)) + lambda_align L_align + lambda_vol L_vol

    No two modalities ever push each other apart, which in contrastive training leaves a gap between the modalities and
    grows worse with their number. Kernels, between unit vectors x and y:

        clip      exp(x.y / tau)
        gaussian  exp(-||x - y||^2 / (2 tau^2))
        geodesic  exp(-arccos(x.y)^2 / (2 tau^2))

    **When to use.** When embeddings of different modalities are to be exchanged for each other, as when a decoder that
    has seen image embeddings is given a text's or a sound's. Relatives: `InfoNCE` aligns and spreads across modalities
    in one softmax; `PMRL` needs no anchor.

    **The constants.** Taken literally (`UniAlign.literal`), a gaussian of tau 0.07 pushes a hundred times harder than
    the alignment pulls, and nothing aligns from random initialisation. The defaults do align: the clip kernel,
    lambda_align 30, and an anchor that is free to move. `anchor_mode="frozen"` is for fine-tuning around a tower that
    is already good; "stop_gradient" with an anchor that still trains costs much of the retrieval accuracy.

    **Missing modalities.** A row that lacks the anchor has no part in L_align, a modality that is present in fewer than
    two rows none in the uniformity, a row with one modality none in L_vol. The means run over what is there.

    Args:
        anchor: the modality the others are aligned to.
        kernel: "clip", "gaussian" or "geodesic".
        tau: width of the kernel.
        lambda_uni: weight of the uniformity, summed over the modalities.
        lambda_align: weight of the alignment.
        lambda_vol: weight of the tuple-level term; 0 leaves it out (the paper generates with 0.1).
        tau_center: width of the kernel between the centres c_i; None: tau.
        anchor_mode: "free"; "stop_gradient", the anchor is moved by its own uniformity only; "frozen", by nothing.
        chunk_size: rows compared at a time, so that no B x B matrix is held; None: what suits the device.

    Terms: `uniformity_loss`, `alignment_loss`, `volume_loss` (weighted, the last only if lambda_vol > 0); for the log
    `anchor_distance`, the unweighted alignment.

    Reference: "Towards Uniformity and Alignment for Multimodal Representation Learning",
    https://arxiv.org/abs/2602.09507

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> aligned = Embeddings.from_dict({"image": torch.eye(4), "text": torch.eye(4)})
        >>> {name: float(term) for name, term in UniAlign(anchor="image")(aligned).items()}
        {'uniformity_loss': 0.0, 'alignment_loss': 0.0, 'anchor_distance': 0.0}
    """

    def __init__(
        self,
        anchor: str = "image",
        kernel: str = "clip",
        tau: float = 0.07,
        lambda_uni: float = 1.0,
        lambda_align: float = 30.0,
        lambda_vol: float = 0.0,
        tau_center: float | None = None,
        anchor_mode: str = "free",
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor
        self.kernel = check_choice("kernel", kernel, KERNELS)
        self.tau = check_number("tau", tau, positive=True)
        self.lambda_uni = check_number("lambda_uni", lambda_uni)
        self.lambda_align = check_number("lambda_align", lambda_align)
        self.lambda_vol = check_number("lambda_vol", lambda_vol)
        self.tau_center = self.tau if tau_center is None else check_number("tau_center", tau_center, positive=True)
        self.anchor_mode = check_choice("anchor_mode", anchor_mode, _ANCHOR_MODES)
        self.chunk_size = check_chunk_size(chunk_size)

    @classmethod
    def literal(cls, anchor: str = "image", **options: Any) -> UniAlign:
        """Give the paper's constants: gaussian kernel, tau 0.07, weights 1, no gradient to the anchor from the others.

        For comparison, and for fine-tuning; it does not align modalities that start at random.

        Example:
            >>> UniAlign.literal("image", lambda_vol=0.1).kernel
            'gaussian'
        """
        paper: dict[str, Any] = {"kernel": "gaussian", "tau": 0.07, "lambda_align": 1.0, "anchor_mode": "stop_gradient"}
        return cls(anchor, **{**paper, **options})

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the three terms."""
        anchor = batch.index(self.anchor)
        held = batch.columns if self.anchor_mode == "free" else _held(batch.columns, anchor)
        spread = held if self.anchor_mode == "frozen" else batch.columns
        distance = _anchor_distance(held, batch.present, anchor, self.anchor)
        terms = {
            "uniformity_loss": self.lambda_uni * self._uniformity(spread, batch),
            "alignment_loss": self.lambda_align * distance,
            "anchor_distance": distance,
        }
        if self.lambda_vol > 0:
            terms["volume_loss"] = self.lambda_vol * self._volume(held, batch)
        return terms

    def _uniformity(self, columns: Sequence[Tensor], batch: Batch) -> Tensor:
        parts = [
            uniformity(column, present, batch.groups, self.kernel, self.tau, self.chunk_size)
            for column, present in zip(columns, batch.present.unbind(dim=1), strict=True)
        ]
        return torch.stack(parts).sum()

    def _volume(self, columns: Sequence[Tensor], batch: Batch) -> Tensor:
        tuples = batch.tuples()
        vectors = batch.vectors if self.anchor_mode == "free" else torch.stack(list(columns), dim=1)
        centers = F.normalize(vectors.sum(dim=1), dim=-1, eps=1e-6)
        spread = uniformity(centers, tuples, batch.groups, self.kernel, self.tau_center, self.chunk_size)
        rows = torch.nonzero(tuples).flatten()
        return spread + spectrum(take(vectors, rows), take(batch.present, rows)).volume().mean()


def _held(columns: Sequence[Tensor], anchor: int) -> list[Tensor]:
    """Give the vectors with no gradient to the anchor's."""
    return [column.detach() if m == anchor else column for m, column in enumerate(columns)]


def uniformity(
    x: Tensor, present: Tensor, groups: Tensor | None, kernel: str, tau: float, chunk_size: int | None = None
) -> Tensor:
    """Compute U of one modality: mean_i log mean_j kappa(x_i, x_j), j over the present rows of other groups than i's.

    Args:
        x: (B, D) unit vectors.
        present: (B,) bool.
        groups: (B,) int64; None: every row is a group of its own.
        kernel: name of the kernel.
        tau: its width.
        chunk_size: rows compared at a time; None: what suits the device.

    Returns:
        scalar; 0 if no row has a negative.
    """
    there = torch.nonzero(present).flatten()
    points = take(x, there)
    if groups is None and len(there) > 1:
        return log_kernel_sums(points, None, kernel, tau, chunk_size).mean() - math.log(len(there) - 1)
    groups = there if groups is None else take(groups, there)
    _, group, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    others = len(there) - sizes[group]
    rows = torch.nonzero(others > 0).flatten()
    if not len(rows):
        return x.sum() * 0.0
    sums = log_kernel_sums(points, groups, kernel, tau, chunk_size)
    return (take(sums, rows) - take(others, rows).to(x.dtype).log()).mean()


def _anchor_distance(columns: Sequence[Tensor], present: Tensor, anchor: int, name: str) -> Tensor:
    """Average ||z_i^(a) - z_i^(n)||^2 over all pairs that are there."""
    pairs = present & present[:, anchor : anchor + 1]
    pairs[:, anchor] = False
    if not bool(pairs.any()):
        wanted = f"the anchor {name!r} and another modality"
        raise InputError(f"embeddings: no row has {wanted}; mix such rows into every batch")
    distances = [
        (_SquaredDistance.apply(column, columns[anchor]) * pairs[:, m]).sum()
        for m, column in enumerate(columns)
        if m != anchor
    ]
    return torch.stack(distances).sum() / pairs.sum()


class _SquaredDistance(torch.autograd.Function):
    """||x_i - y_i||^2 (B,), whose differences, as large as the inputs, are made again in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return (x - y).square_().sum(dim=-1)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        x, y = ctx.saved_tensors
        of_x = (x - y).mul_(2.0 * gradients[0].unsqueeze(-1))
        return of_x, -of_x if ctx.needs_input_grad[1] else None
