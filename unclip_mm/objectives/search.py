"""The search for a row's own partner among all others, both ways, strip by strip."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unclip_mm.gradients import first_order
from unclip_mm.objectives.chunks import LARGEST_LOGIT, NOT_COUNTED, rows_at_once, take
from unclip_mm.objectives.products import add_product, compact, multiply, zeros_by_columns

__all__ = ["Pairs", "Products", "Strip", "search"]


class Strip:
    """Scores of some rows with all candidates, always in the same memory.

    Strips that are made anew do not find the place of those that were freed, for smaller things that are kept, as nodes
    of the graph, have come to lie there: the process grows by a strip a chunk, in the end by the whole B x B matrix.

    Args:
        like: gives device and dtype.
        rows: most rows that are compared at a time.
        columns: candidates.
        groups: whether `leave_out` is needed.
    """

    def __init__(self, like: Tensor, rows: int, columns: int, groups: bool) -> None:
        self.scores = like.new_empty(rows, columns)
        self.same = like.new_empty(rows if groups else 0, columns, dtype=torch.bool)

    def products(self, part: Tensor, candidates: Tensor) -> Tensor:
        """Give the inner products (n, K) of a part of the rows (n, D) with the candidates (K, D)."""
        return multiply(part, candidates.mT, out=self.scores[: len(part)])

    def leave_out(self, scores: Tensor, groups: Tensor, candidates: Tensor, value: float = NOT_COUNTED) -> None:
        """Let candidates of the same group (K,) as a row (n,) not count."""
        scores.masked_fill_(torch.eq(groups.unsqueeze(1), candidates, out=self.same[: len(scores)]), value)


class Pairs:
    """Logits of pairs of rows and candidates, strip by strip, and the gradients of what they are made of.

    Args:
        scale: Factor of the logits, 1 / tau.
        tensors: What describes rows and candidates, the vectors (N, D) of the rows first.
        size: Most rows of a strip.

    Attributes:
        reach: How large a logit can be, in units of the scale.
        single: Whether one strip is all.
    """

    reach = 1.0

    def __init__(self, scale: Tensor, tensors: Sequence[Tensor], size: int) -> None:
        self.scale, self.tensors, self.size = scale, list(tensors), size
        self.single = size == len(tensors[0])
        self.of_scale = torch.zeros_like(scale)
        self.of_tensors: list[Tensor] = []

    @property
    def candidates(self) -> int:
        """How many there are."""
        return len(self.tensors[1])

    def logits(self, rows: slice, out: Tensor) -> None:
        """Write the logits (n, K) of some rows; what `pull` needs of them stays here until the next strip."""
        raise TypeError(f"{type(self).__name__} has no logits")

    def ask(self) -> None:
        """Make place for the gradients, before the first strip is pulled."""
        x, *others = self.tensors
        zeros = torch.zeros_like if self.single else zeros_by_columns  # which sums of many strips want
        self.of_tensors = [torch.zeros_like(x), *(zeros(other) for other in others)]

    def pull(self, rows: slice, asked: Tensor) -> None:
        """Take in the gradient (n, K) of the logits of the last strip: add to what the scale is asked for, and to what
        the tensors are, before the scale. The memory of the gradient is free to be used.
        """
        raise TypeError(f"{type(self).__name__} has no gradient")

    def gradients(self) -> list[Tensor]:
        """Give what has come together: the gradients of the scale and of the tensors."""
        return [self.of_scale, *(gradient.mul_(self.scale) for gradient in self.of_tensors)]


class Products(Pairs):
    """Scaled inner products of x (N, D) with y (K, D)."""

    def __init__(self, scale: Tensor, tensors: Sequence[Tensor], size: int) -> None:
        super().__init__(scale, [compact(tensor) for tensor in tensors], size)

    def logits(self, rows: slice, out: Tensor) -> None:
        """Write them."""
        x, y = self.tensors
        multiply(self.scale * x[rows], y.mT, out=out)

    def pull(self, rows: slice, asked: Tensor) -> None:
        """Hand on their gradient, without the scale."""
        x, y = self.tensors
        of_x, of_y = self.of_tensors
        multiply(asked, y, out=of_x[rows])
        add_product(of_y, asked.mT, x[rows])
        self.of_scale += torch.linalg.vecdot(of_x[rows], x[rows]).sum()


def search(
    kind: type[Pairs],
    scale: Tensor,
    tensors: Sequence[Tensor],
    rows: Tensor,
    candidates: Tensor,
    groups: Tensor | None,
    chunk_size: int | None,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Let every row look for itself among the candidates, and every candidate among the rows.

    Those of its own group, itself apart, do not count.

    Args:
        kind: What the logits are.
        scale, tensors: Of the pairs.
        rows: (N,) int64, ascending positions in the batch.
        candidates: (K,) int64, ascending positions in the batch. Only what is in both looks.
        groups: (B,) of the whole batch; None: every row is a group of its own.
        chunk_size: Rows at a time, see :mod:`unclip_mm.objectives.chunks`.
        smoothing: Share of the label that is spread evenly over what counts.

    Returns:
        Means of both ways: of the cross entropy, and the share that find themselves before all others; and the mean
        logit of what looks with itself.
    """
    own = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
    look = candidates[own] == rows
    labels = None if groups is None else (groups[rows], groups[candidates])
    size = min(rows_at_once(chunk_size, len(rows), len(candidates), scale), len(rows))
    found = _Search.apply(kind, size, smoothing > 0, own, look, labels, scale, *tensors)
    looking = torch.nonzero(look).flatten()
    positive = take(found[0], looking)
    half = len(found) // 2 + 1
    sides = [
        [take(values, looking) for values in found[1:half]],
        [take(values, own[looking]) for values in found[half:]],
    ]
    losses, hits = [], []
    for total, best, *mean in sides:
        loss = total - positive
        if mean:
            loss = (1.0 - smoothing) * loss + smoothing * (total - mean[0] / mean[1])
        losses.append(loss.mean())
        hits.append((positive.detach() > best).to(loss.dtype).mean())  # in a space that has collapsed nobody is found
    return torch.stack(losses).mean(), torch.stack(hits).mean(), positive.detach().mean()


class _Search(torch.autograd.Function):
    """What `search` needs of the logits.

    The logits that rows have with themselves; then of each row, and of each candidate: logsumexp, the best of the
    others, and, to smooth labels, sum and number of the logits that count.
    """

    @staticmethod
    def forward(
        ctx: Any,
        kind: type[Pairs],
        size: int,
        smooth: bool,
        own: Tensor,
        look: Tensor,
        groups: tuple[Tensor, Tensor] | None,
        scale: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        pairs, x = kind(scale, tensors, size), tensors[0]
        columns = pairs.candidates
        partners, strip = _Partners(own, look, groups), Strip(x, size, columns, groups is not None)
        sums = _sums(pairs, strip.scores, len(x))
        positive, best = (x.new_empty(len(x)) for _ in range(2))
        column_best = x.new_full((columns,), -math.inf)
        spread = _Spread(x, columns) if smooth else None
        for start in range(0, len(x), size):
            rows = slice(start, min(start + size, len(x)))
            scores = strip.scores[: rows.stop - start]
            pairs.logits(rows, scores)
            positive[rows] = partners.values(scores, rows)
            if spread is not None:
                partners.leave_out(scores, rows, strip, 0.0)
                spread.add(scores, rows, strip, partners)
            partners.leave_out(scores, rows, strip, NOT_COUNTED)
            partners.put(scores, rows, torch.full_like(positive[rows], NOT_COUNTED))
            best[rows] = scores.amax(dim=1)
            torch.maximum(column_best, scores.amax(dim=0), out=column_best)
            partners.put(scores, rows, positive[rows])
            sums.add(scores, rows)
        total, column_total = sums.logarithms()
        ctx.save_for_backward(own, look, total, column_total, scale, *tensors)
        ctx.kind, ctx.groups, ctx.size, ctx.smooth = kind, groups, size, smooth
        # A matrix that is a single strip is small enough to be kept.
        ctx.made = (pairs, strip, sums) if size == len(x) and any(ctx.needs_input_grad) else None
        if spread is None:
            ctx.mark_non_differentiable(best, column_best)
            return positive, total, best, column_total, column_best
        counts = spread.counts
        ctx.mark_non_differentiable(best, column_best, *counts)
        means = spread.sums
        return positive, total, best, means[0], counts[0], column_total, column_best, means[1], counts[1]

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        own, look, total, column_total, scale, *tensors = ctx.saved_tensors
        of_positive, of_total = gradients[:2]
        of_column_total = gradients[len(gradients) // 2 + 1]
        partners, x = _Partners(own, look, ctx.groups), tensors[0]
        # What was kept is used up; a second pass through the same graph makes it again.
        made, ctx.made = ctx.made, None
        if made is None:
            pairs = ctx.kind(scale, tensors, ctx.size)
            strip = Strip(x, ctx.size, pairs.candidates, ctx.groups is not None)
            sums = _sums(pairs, strip.scores, len(x))
        else:
            pairs, strip, sums = made
        pairs.ask()
        for start in range(0, len(x), ctx.size):
            rows = slice(start, min(start + ctx.size, len(x)))
            scores = strip.scores[: rows.stop - start]
            if made is None:
                pairs.logits(rows, scores)
                partners.leave_out(scores, rows, strip, NOT_COUNTED)
                sums.again(scores)
            asked = sums.pull(scores, (total[rows], column_total), (of_total[rows], of_column_total))
            if ctx.smooth:
                asked.add_(gradients[3][rows, None]).add_(gradients[7])
                partners.leave_out(asked, rows, strip, 0.0)
            asked.scatter_add_(1, own[rows, None], of_positive[rows, None])
            pairs.pull(rows, asked)
        return None, None, None, None, None, None, *pairs.gradients()


class _Sums(ABC):
    """Sums of the exponentials of all logits, of rows and of candidates, and what they ask of the logits.

    Args:
        scores: (n, K), the memory of a strip.
        count: Rows.
    """

    def __init__(self, scores: Tensor, count: int) -> None:
        self.work = torch.empty_like(scores)
        self.rows, self.columns = scores.new_empty(count), scores.new_zeros(scores.shape[1])

    @abstractmethod
    def add(self, scores: Tensor, rows: slice) -> None:
        """Add a strip."""

    @abstractmethod
    def logarithms(self) -> tuple[Tensor, Tensor]:
        """Give the logarithms of the sums, (N,) and (K,)."""

    @abstractmethod
    def again(self, scores: Tensor) -> None:
        """Make ready for `pull` a strip that `add` did not see last."""

    @abstractmethod
    def pull(self, scores: Tensor, totals: tuple[Tensor, Tensor], of_totals: tuple[Tensor, Tensor]) -> Tensor:
        """Give what is asked of the logits of a strip, which is used up, from the logarithms and what they are asked."""


class _Exponentials(_Sums):
    """One exponential a pair, for both ways and for the gradient, where float32 holds all of them."""

    def add(self, scores: Tensor, rows: slice) -> None:
        """Add both ways."""
        self.again(scores)
        exponentials = self.work[: len(scores)]
        torch.sum(exponentials, dim=1, out=self.rows[rows])
        self.columns += exponentials.sum(dim=0)

    def logarithms(self) -> tuple[Tensor, Tensor]:
        """Take them; where nothing counts, of the smallest number there is."""
        rows, columns = (sums.clamp_(min=torch.finfo(sums.dtype).tiny).log_() for sums in (self.rows, self.columns))
        return rows, columns

    def again(self, scores: Tensor) -> None:
        """Take the exponentials of a strip."""
        torch.exp(scores, out=self.work[: len(scores)])

    def pull(self, scores: Tensor, totals: tuple[Tensor, Tensor], of_totals: tuple[Tensor, Tensor]) -> Tensor:
        """Weigh the exponentials by row and by column."""
        exponentials = self.work[: len(scores)]
        of_row, of_column = (of * (-total).exp() for of, total in zip(of_totals, totals, strict=True))
        return exponentials.mul_(torch.add(of_row.unsqueeze(1), of_column, out=scores))


class _Relative(_Sums):
    """Exponentials relative to the largest of their row or column, for logits of any size."""

    def __init__(self, scores: Tensor, count: int) -> None:
        super().__init__(scores, count)
        self.top = torch.full_like(self.columns, -math.inf)

    def add(self, scores: Tensor, rows: slice) -> None:
        """Add both ways."""
        top = scores.amax(dim=1, keepdim=True)
        self.rows[rows] = self._sum(scores, top, dim=1).log_().add_(top.squeeze(1))
        top = torch.maximum(self.top, scores.amax(dim=0))
        self.columns.mul_(self.top.sub_(top).exp_()).add_(self._sum(scores, top, dim=0))
        self.top = top

    def _sum(self, scores: Tensor, top: Tensor, dim: int) -> Tensor:
        return torch.sub(scores, top, out=self.work[: len(scores)]).exp_().sum(dim=dim)

    def logarithms(self) -> tuple[Tensor, Tensor]:
        """Take those of the columns, which were left for the end."""
        return self.rows, self.columns.log_().add_(self.top)

    def again(self, scores: Tensor) -> None:
        """Need nothing but the logits."""

    def pull(self, scores: Tensor, totals: tuple[Tensor, Tensor], of_totals: tuple[Tensor, Tensor]) -> Tensor:
        """Take exponentials relative to the sums of both ways."""
        asked = torch.sub(scores, totals[0].unsqueeze(1), out=self.work[: len(scores)])
        asked.exp_().mul_(of_totals[0].unsqueeze(1))
        return asked.add_(scores.sub_(totals[1]).exp_().mul_(of_totals[1]))


def _sums(pairs: Pairs, scores: Tensor, count: int) -> _Sums:
    """Choose how exponentials are taken."""
    kind = _Exponentials if pairs.reach * float(pairs.scale) <= LARGEST_LOGIT else _Relative
    return kind(scores, count)


@dataclass(frozen=True, eq=False)
class _Partners:
    """Of all pairs of rows and candidates: row i is candidate own_i if look_i, and others of its group do not count."""

    own: Tensor
    look: Tensor
    groups: tuple[Tensor, Tensor] | None

    def values(self, scores: Tensor, rows: slice) -> Tensor:
        """Give what some rows have with themselves."""
        return scores.gather(1, self.own[rows, None]).squeeze(1)

    def put(self, scores: Tensor, rows: slice, values: Tensor) -> None:
        """Set what some rows have with themselves; where a row does not look, nothing is changed."""
        own, look = self.own[rows, None], self.look[rows, None]
        scores.scatter_(1, own, torch.where(look, values.unsqueeze(1), scores.gather(1, own)))

    def leave_out(self, scores: Tensor, rows: slice, strip: Strip, value: float) -> None:
        """Set what does not count to a value."""
        if self.groups is not None:
            positive = self.values(scores, rows)
            strip.leave_out(scores, self.groups[0][rows], self.groups[1], value)
            self.put(scores, rows, positive)


class _Spread:
    """Sums and numbers of the logits that count, of rows and of candidates."""

    def __init__(self, x: Tensor, columns: int) -> None:
        self.sums, self.counts = ((x.new_empty(len(x)), x.new_zeros(columns)) for _ in range(2))

    def add(self, scores: Tensor, rows: slice, strip: Strip, partners: _Partners) -> None:
        """Add a strip, in which what does not count is zero."""
        self.sums[0][rows] = scores.sum(dim=1)
        self.sums[1].add_(scores.sum(dim=0))
        self.counts[0][rows] = scores.shape[1]
        self.counts[1].add_(len(scores))
        if partners.groups is not None:
            own, look, same = partners.own[rows], partners.look[rows].to(scores), strip.same[: len(scores)]
            self.counts[0][rows] += look - same.sum(dim=1)
            self.counts[1].sub_(same.sum(dim=0)).index_add_(0, own, look)
