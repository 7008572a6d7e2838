"""Symile: contrast by the multilinear inner product of all modalities at once (arXiv:2411.01053)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from unclip_mm.checks import check_flag
from unclip_mm.errors import InputError
from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import NOT_COUNTED, rows_at_once, take
from unclip_mm.objectives.common import Batch
from unclip_mm.objectives.contrast import Contrast
from unclip_mm.objectives.products import add_product, zeros_by_columns
from unclip_mm.objectives.search import Strip

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
        self.shuffle = check_flag("shuffle", shuffle)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Ask for each modality by all others."""
        there = [m for m in range(len(batch.modalities)) if bool(batch.present[:, m].any())]
        rows = torch.nonzero(batch.present[:, there].all(dim=1)).flatten()
        if len(there) < 2 or len(rows) < 2:
            raise InputError(
                "embeddings: no row has every modality, or only one; mix two such rows or more into every batch"
            )
        scale = self.scale(batch.vectors.dtype)
        groups = None if batch.groups is None else batch.groups[rows]
        size = rows_at_once(self.chunk_size, len(rows), len(rows), batch.vectors)
        loss, accuracy = _Search.apply(take(batch.vectors, rows), scale, there, groups, self.shuffle, size)
        return {"contrastive_loss": loss, "accuracy": accuracy, "scale": scale}


class _Search(torch.autograd.Function):
    """Loss and accuracy of complete rows, each of the modalities asked for by all others.

    A strip of scores has whole rows, so that its gradient is known as soon as its loss is. It is taken at once: backward
    makes no strip again, and is left nothing but the gradient; the products of modalities are dropped, too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        scale: Tensor,
        modalities: Sequence[int],
        groups: Tensor | None,
        shuffle: bool,
        size: int,
    ) -> tuple[Tensor, Tensor]:
        wanted, rows, sides = any(ctx.needs_input_grad), len(vectors), len(modalities)
        gradient = torch.zeros_like(vectors) if wanted else None
        columns = [_Column(vectors[:, m], None if gradient is None else gradient[:, m]) for m in modalities]
        shifts = [position if shuffle else 0 for position in range(sides - 1)]
        strip = Strip(vectors, min(size, rows), rows, groups is not None)
        found = [_ask(columns[k], columns[:k] + columns[k + 1 :], shifts, scale, groups, strip) for k in range(sides)]
        loss, accuracy = (torch.stack(values).mean() for values in zip(*found, strict=True))
        if gradient is not None:
            gradient /= rows * sides
            # A score is linear in the scale, and in each of the modalities, which therefore ask the same of it.
            of_scale = torch.linalg.vecdot(gradient, vectors).sum() / sides
            ctx.save_for_backward(gradient.mul_(scale), of_scale)
        ctx.mark_non_differentiable(accuracy)
        return loss, accuracy

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_vectors, of_scale = ctx.saved_tensors
        return gradients[0] * of_vectors, gradients[0] * of_scale, None, None, None, None


@dataclass(frozen=True, eq=False)
class _Column:
    """Vectors of one modality (N, D), and where their gradient is summed up."""

    values: Tensor
    gradient: Tensor | None

    def __getitem__(self, rows: slice) -> _Column:
        return _Column(self.values[rows], None if self.gradient is None else self.gradient[rows])


def _ask(
    asked: _Column,
    others: Sequence[_Column],
    shifts: Sequence[int],
    scale: Tensor,
    groups: Tensor | None,
    strip: Strip,
) -> tuple[Tensor, Tensor]:
    """Give loss and accuracy of the search for one modality, and sum up the gradient of N / scale times the loss."""
    mixed, still = _product(others, shifts), [0] * len(others)
    of_mixed = None if asked.gradient is None else zeros_by_columns(mixed)
    losses, found = (mixed.new_empty(len(mixed)) for _ in range(2))
    for start in range(0, len(mixed), len(strip.scores)):
        rows = slice(start, start + len(strip.scores))
        part, partners = asked[rows], [other[rows] for other in others]
        partner = _product(partners, still)
        own = (scale * part.values * partner).sum(dim=1)
        scores = strip.products(scale * part.values, mixed)
        _leave_out(scores, start, shifts, groups, strip)
        diagonal = scores.diagonal(start).fill_(NOT_COUNTED)
        found[rows] = own > scores.amax(dim=1)  # in a space that has collapsed nobody is found
        diagonal.copy_(own)
        losses[rows] = _softmax(scores) - own
        if part.gradient is not None and of_mixed is not None:
            of_own = (diagonal - 1.0).unsqueeze(1)
            diagonal.zero_()  # for that score is not with what is mixed
            add_product(part.gradient, scores, mixed)
            part.gradient.add_(of_own * partner)
            add_product(of_mixed, scores.mT, part.values)
            _pull(partners, still, of_own * part.values)
    if of_mixed is not None:
        _pull(others, shifts, of_mixed)
    return losses.mean(), found.mean()


def _leave_out(scores: Tensor, start: int, shifts: Sequence[int], groups: Tensor | None, strip: Strip) -> None:
    """Let candidates with a member of the same group as the rows from `start` on not count."""
    rows = torch.arange(start, start + len(scores), device=scores.device)
    for by in set(shifts):
        if groups is None:
            scores.scatter_(1, ((rows - by) % scores.shape[1]).unsqueeze(1), NOT_COUNTED)
        else:
            strip.leave_out(scores, groups[rows], groups.roll(-by))


def _softmax(scores: Tensor) -> Tensor:
    """Turn each row into its softmax, in place; give the logsumexp that it had."""
    top = scores.amax(dim=1, keepdim=True)
    total = scores.sub_(top).exp_().sum(dim=1, keepdim=True)
    scores /= total
    return total.log_().add_(top).squeeze(1)


def _roll(values: Tensor, by: int) -> Tensor:
    return values.roll(by, 0) if by else values


def _product(columns: Sequence[_Column], shifts: Sequence[int]) -> Tensor:
    """Multiply the vectors of all columns, of each those that are its shift further on."""
    return reduce(torch.mul, (_roll(column.values, -by) for column, by in zip(columns, shifts, strict=True)))


def _pull(columns: Sequence[_Column], shifts: Sequence[int], of_product: Tensor) -> None:
    """Add to the gradient of each column what is asked of their `_product`."""
    for column, by in zip(columns, shifts, strict=True):
        if column.gradient is not None:
            rest = (_roll(other.values, -n) for other, n in zip(columns, shifts, strict=True) if other is not column)
            column.gradient.add_(_roll(reduce(torch.mul, rest, of_product), by))  # one rolled copy at a time
