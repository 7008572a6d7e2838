"""What contrastive objectives share: a temperature that is learnt, and the search for a row's own partner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import check_chunk_size, in_chunks, rows_at_once, take
from unclip_mm.objectives.common import Objective, check_number

__all__ = ["NOT_COUNTED", "Contrast", "Strip", "search", "search_products"]

_MAX_SCALE = 100.0
NOT_COUNTED = -1e30
"""Logit of what does not count. Finite, so that a strip in which nothing counts has gradients."""


class Contrast(Objective):
    """Base of the objectives that find a partner by a softmax over the batch.

    Args:
        temperature: initial temperature. The scale 1 / tau is clamped at 100, as in CLIP.
        learnable: train the temperature. Give the objective's parameters to the optimiser then, without weight decay;
            after `backward` each process has the whole gradient.
        chunk_size: rows compared at a time; None: what suits the device.
    """

    def __init__(self, temperature: float, learnable: bool, chunk_size: int | None) -> None:
        super().__init__()
        scale = 1.0 / check_number("temperature", temperature, positive=True)
        if scale > _MAX_SCALE:
            raise InputError(f"temperature: {temperature} is too small; give {1 / _MAX_SCALE} or more")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learnable)
        self.chunk_size = check_chunk_size(chunk_size)

    def scale(self, dtype: torch.dtype) -> Tensor:
        """Give 1 / tau, at most 100."""
        with torch.no_grad():  # on the parameter, before it is used: a clamp of the value would end its gradient
            self.log_scale.clamp_(max=math.log(_MAX_SCALE))
        return self.log_scale.to(dtype).exp()


def search(
    logits_of: Callable[..., Tensor],
    asked: Sequence[Tensor],
    rows: Tensor,
    candidates: Tensor,
    groups: Tensor | None,
    chunk_size: int | None,
    *,
    both_ways: bool = False,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Let every row look for itself among the candidates; those of its own group, itself apart, do not count.

    Args:
        logits_of: Parts of `asked` (n, ...) -> their logits (n, K) with all candidates.
        asked: Tensors (N, ...) that describe the rows.
        rows: (N,) int64, ascending positions in the batch.
        candidates: (K,) int64, ascending positions in the batch. Rows that are not among them do not look.
        groups: (B,) of the whole batch; None: every row is a group of its own.
        chunk_size: Rows at a time, see `in_chunks`.
        both_ways: Let every candidate look for itself among the rows, too; the results are the means of both.
        smoothing: Share of the label that is spread evenly over the candidates that count.

    Returns:
        Mean cross entropy, and the share that find themselves before all others.
    """
    own, look = _own(rows, candidates)

    def compare(part: Tensor, own: Tensor, look: Tensor, *asked: Tensor) -> tuple[Tensor, ...]:
        logits, own = logits_of(*asked), own.unsqueeze(1)
        counted, allowed = logits, None
        if groups is not None:
            allowed = groups[part].unsqueeze(1) != groups[candidates]
            allowed |= candidates == part.unsqueeze(1)
            logits = logits.masked_fill(~allowed, NOT_COUNTED)
            counted = counted.masked_fill(~allowed, 0.0) if smoothing else counted
        positive = logits.gather(1, own)
        with torch.no_grad():  # where a row does not look, nothing is changed
            others = logits.scatter(1, own, positive.masked_fill(look.unsqueeze(1), NOT_COUNTED))
        results = [positive.squeeze(1)]
        for dim in (1, 0) if both_ways else (1,):
            results += [logits.logsumexp(dim), others.amax(dim)]
            if smoothing:
                total = counted.sum(dim)
                count = torch.full_like(total, logits.shape[dim]) if allowed is None else allowed.sum(dim)
                results += [total, count]
        return tuple(results)

    parts = list(zip(*in_chunks(compare, chunk_size, len(candidates), rows, own, look, *asked), strict=True))
    looking = torch.nonzero(look).flatten()
    positive = take(torch.cat(parts[0]), looking)
    width = 4 if smoothing else 2
    sides = [[take(torch.cat(values), looking) for values in parts[1 : 1 + width]]]
    if both_ways:
        join = (partial(torch.logsumexp, dim=0), partial(torch.amax, dim=0), partial(torch.sum, dim=0))
        whole = [join[min(k, 2)](torch.stack(values)) for k, values in enumerate(parts[1 + width :])]
        sides.append([take(values, own[looking]) for values in whole])
    return _mean(positive, sides, smoothing)


def _own(rows: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Give where each row stands among the candidates, and whether it does."""
    own = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
    return own, candidates[own] == rows


def _mean(positive: Tensor, sides: Sequence[Sequence[Tensor]], smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Average cross entropy and hits over the searches and the sides: logsumexp, best other, and sum and count."""
    losses, hits = [], []
    for total, best, *mean in sides:
        loss = total - positive
        if mean:
            loss = (1.0 - smoothing) * loss + smoothing * (total - mean[0] / mean[1])
        losses.append(loss.mean())
        hits.append((positive.detach() > best).to(loss.dtype).mean())  # in a space that has collapsed nobody is found
    return torch.stack(losses).mean(), torch.stack(hits).mean()


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
        return torch.mm(part, candidates.mT, out=self.scores[: len(part)])

    def leave_out(self, scores: Tensor, groups: Tensor, candidates: Tensor) -> None:
        """Let candidates of the same group (K,) as a row (n,) not count."""
        scores.masked_fill_(torch.eq(groups.unsqueeze(1), candidates, out=self.same[: len(scores)]), NOT_COUNTED)


def search_products(
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    rows: Tensor,
    candidates: Tensor,
    groups: Tensor | None,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor]:
    """Do what `search` does, both ways, where the logits are inner products.

    Args:
        x: (N, D) vectors of the rows.
        y: (K, D) vectors of the candidates.
        scale: of the inner products.
        rows, candidates, groups, chunk_size: as in `search`.
    """
    own, look = _own(rows, candidates)
    labels = None if groups is None else (groups[rows], groups[candidates])
    size = min(rows_at_once(chunk_size, len(x), len(y), x), len(x))
    positive, *ways = _Products.apply(x, y, scale, own, look, labels, size)
    looking = torch.nonzero(look).flatten()
    sides = [
        [take(values, looking) for values in ways[:2]],
        [take(values, own[looking]) for values in ways[2:]],
    ]
    return _mean(take(positive, looking), sides)


class _Products(torch.autograd.Function):
    """What `search_products` needs of the scores.

    The scores that rows have with themselves; logsumexp, and best of the others, of each row and of each candidate.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        scale: Tensor,
        own: Tensor,
        look: Tensor,
        groups: tuple[Tensor, Tensor] | None,
        size: int,
    ) -> tuple[Tensor, ...]:
        pairs, strip = _Pairs(x, y, scale, own, look, groups), Strip(x, size, len(y), groups is not None)
        work = torch.empty_like(strip.scores)
        positive, total, best = (x.new_empty(len(x)) for _ in range(3))
        column_top, column_best = (x.new_full((len(y),), -math.inf) for _ in range(2))
        column_sum = x.new_zeros(len(y))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            scores, positive[rows] = pairs.scores(rows, strip)
            top = scores.amax(dim=1, keepdim=True)
            total[rows] = _sum_of_exp(scores, top, work, dim=1).log_().add_(top.squeeze(1))
            top = torch.maximum(column_top, scores.amax(dim=0))
            column_sum.mul_(column_top.sub_(top).exp_()).add_(_sum_of_exp(scores, top, work, dim=0))
            column_top = top
            pairs.put(scores, rows, torch.full_like(positive[rows], NOT_COUNTED))
            best[rows] = scores.amax(dim=1)
            torch.maximum(column_best, scores.amax(dim=0), out=column_best)
        kept = None
        if size == len(x):  # a matrix that is a single strip is small enough to be kept
            pairs.put(scores, slice(None), positive)
            kept = scores
        column_total = column_sum.log_().add_(column_top)
        ctx.save_for_backward(x, y, scale, own, look, total, column_total, kept)
        ctx.groups, ctx.size = groups, size
        ctx.mark_non_differentiable(best, column_best)
        return positive, total, best, column_total, column_best

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, own, look, total, column_total, kept = ctx.saved_tensors
        of_positive, of_total, _, of_column_total, _ = gradients
        pairs, strip = _Pairs(x, y, scale, own, look, ctx.groups), Strip(x, ctx.size, len(y), ctx.groups is not None)
        of_x, of_y, work = torch.empty_like(x), torch.zeros_like(y), torch.empty_like(strip.scores)
        for start in range(0, len(x), ctx.size):
            rows = slice(start, start + ctx.size)
            scores = pairs.scores(rows, strip)[0] if kept is None else strip.scores.copy_(kept)
            asked = torch.sub(scores, total[rows, None], out=work[: len(scores)]).exp_().mul_(of_total[rows, None])
            asked.add_(scores.sub_(column_total).exp_().mul_(of_column_total))
            asked.scatter_add_(1, own[rows, None], of_positive[rows, None])
            torch.mm(asked, y, out=of_x[rows])
            of_y.addmm_(asked.mT, x[rows])
        of_scale = torch.linalg.vecdot(of_x, x).sum()
        return of_x.mul_(scale), of_y.mul_(scale), of_scale, None, None, None, None


@dataclass(frozen=True, eq=False)
class _Pairs:
    """All pairs of rows x and candidates y, of which row i is candidate own_i if look_i."""

    x: Tensor
    y: Tensor
    scale: Tensor
    own: Tensor
    look: Tensor
    groups: tuple[Tensor, Tensor] | None

    def scores(self, rows: slice, strip: Strip) -> tuple[Tensor, Tensor]:
        """Give scores of some rows with all candidates, and those with themselves; others of a group do not count."""
        scores = strip.products(self.scale * self.x[rows], self.y)
        positive = scores.gather(1, self.own[rows, None]).squeeze(1)
        if self.groups is not None:
            strip.leave_out(scores, self.groups[0][rows], self.groups[1])
            self.put(scores, rows, positive)
        return scores, positive

    def put(self, scores: Tensor, rows: slice, values: Tensor) -> None:
        """Set the scores that some rows have with themselves; where a row does not look, nothing is changed."""
        own, look = self.own[rows, None], self.look[rows, None]
        scores.scatter_(1, own, torch.where(look, values.unsqueeze(1), scores.gather(1, own)))


def _sum_of_exp(scores: Tensor, top: Tensor, work: Tensor, dim: int) -> Tensor:
    """Sum up exp(scores - top), in memory that is there."""
    return torch.sub(scores, top, out=work[: len(scores)]).exp_().sum(dim=dim)
