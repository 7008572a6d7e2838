"""What contrastive objectives share: a temperature that is learnt, and the search for a row's own partner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import check_chunk_size, in_chunks, take
from unclip_mm.objectives.common import Objective, check_number

__all__ = ["Contrast", "search"]

_MAX_SCALE = 100.0
_NOT_COUNTED = -1e30
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
    members: Tensor | None = None,
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
        members: (c, K) int64, where a candidate is put together of several rows: a row of the group of any of them does
            not count it. By default the candidates themselves.

    Returns:
        Mean cross entropy, and the share that find themselves before all others.
    """
    distinct = members is None and groups is None  # then there is nothing to leave out
    members = candidates.unsqueeze(0) if members is None else members
    own = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
    look = candidates[own] == rows

    def group(positions: Tensor) -> Tensor:
        return positions if groups is None else groups[positions]

    def compare(part: Tensor, own: Tensor, look: Tensor, *asked: Tensor) -> tuple[Tensor, ...]:
        logits, own = logits_of(*asked), own.unsqueeze(1)
        counted, allowed = logits, None
        if not distinct:
            allowed = (group(part).unsqueeze(1) != group(members).unsqueeze(1)).all(dim=0)
            allowed |= candidates == part.unsqueeze(1)
            logits = logits.masked_fill(~allowed, _NOT_COUNTED)
            counted = counted.masked_fill(~allowed, 0.0) if smoothing else counted
        positive = logits.gather(1, own)
        with torch.no_grad():  # where a row does not look, nothing is changed
            others = logits.scatter(1, own, positive.masked_fill(look.unsqueeze(1), _NOT_COUNTED))
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
    losses, hits = [], []
    for total, best, *mean in sides:
        loss = total - positive
        if mean:
            loss = (1.0 - smoothing) * loss + smoothing * (total - mean[0] / mean[1])
        losses.append(loss.mean())
        hits.append((positive.detach() > best).to(loss.dtype).mean())  # in a space that has collapsed nobody is found
    return torch.stack(losses).mean(), torch.stack(hits).mean()
