"""What contrastive objectives share: a temperature that is learnt, and the search for a row's own partner."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import check_chunk_size, over_rows, take
from unclip_mm.objectives.common import Objective, check_number

__all__ = ["Contrast", "search", "search_both"]

_MAX_SCALE = 100.0


class Contrast(Objective):
    """Base of the objectives that find a partner by a softmax over the batch.

    Args:
        temperature: initial temperature. The scale 1 / tau is clamped at 100, as in CLIP.
        learnable: train the temperature. Give the objective's parameters to the optimiser then, without weight decay;
            after `backward` each process has the whole gradient.
        chunk_size: rows compared at a time; None compares all at once and holds the B x B matrix.
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
    logits_of: Callable[[Tensor], Tensor],
    rows: Tensor,
    candidates: Tensor,
    groups: Tensor,
    chunk_size: int | None,
    smoothing: float = 0.0,
    members: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Let every row look for itself among the candidates; those of its own group, itself apart, do not count.

    Args:
        logits_of: (n,) rows -> their logits (n, K) with all candidates.
        rows: (N,) int64, positions in the batch.
        candidates: (K,) int64, ascending positions in the batch, all of the rows among them.
        groups: (B,) of the whole batch.
        chunk_size: Rows at a time.
        smoothing: Share of the label that is spread evenly over the candidates that count.
        members: (c, K) int64, where a candidate is put together of several rows: a row of the group of any of them does
            not count it. By default the candidates themselves.

    Returns:
        Mean cross entropy, and the share of rows that find themselves before all others.
    """

    distinct = members is None and len(groups.unique()) == len(groups)  # then there is nothing to leave out
    members = candidates.unsqueeze(0) if members is None else members

    def compare(part: Tensor) -> Tensor:
        own = torch.searchsorted(candidates, part).unsqueeze(1)
        logits = logits_of(part)
        if distinct:
            means = logits.sum(dim=1) / len(candidates) if smoothing else None
        else:
            allowed = torch.ones_like(logits, dtype=torch.bool)
            for member in members:
                allowed &= groups[part].unsqueeze(1) != groups[member]
            allowed.scatter_(1, own, True)
            means = logits.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1) if smoothing else None
            logits = logits.masked_fill(~allowed, float("-inf"))
        total, positive = logits.logsumexp(dim=1), logits.gather(1, own)
        loss = total - positive.squeeze(1)
        if means is not None:
            loss = (1.0 - smoothing) * loss + smoothing * (total - means)
        with torch.no_grad():
            first = (logits >= positive).sum(dim=1) == 1  # alone: in a space that has collapsed nobody is found
        return torch.stack([loss, first.to(loss.dtype)], dim=1)

    loss, accuracy = over_rows(compare, rows, chunk_size).mean(dim=0).unbind()
    return loss, accuracy


def search_both(
    logits_of: Callable[[Tensor, Tensor], Tensor],
    rows: Tensor,
    firsts: Tensor,
    seconds: Tensor,
    groups: Tensor,
    chunk_size: int | None,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Let every row look for its second part among the seconds, and for its first among the firsts.

    Args:
        logits_of: (n,) and (K,) rows -> the logits (n, K) of the first parts of the ones with the second of the others.
        rows: (N,) int64, positions of the rows that have both parts.
        firsts, seconds: Ascending positions of the rows that have each part.
        groups, chunk_size, smoothing: As for `search`.

    Returns:
        Mean cross entropy of the two searches, and the share that succeeds.
    """
    whole = logits_of(firsts, seconds) if chunk_size is None else None  # one matrix for both directions

    def find_second(part: Tensor) -> Tensor:
        if whole is None:
            return logits_of(part, seconds)
        return take(whole, torch.searchsorted(firsts, part))

    def find_first(part: Tensor) -> Tensor:
        if whole is None:
            return logits_of(firsts, part).mT
        return take(whole.mT, torch.searchsorted(seconds, part))

    sides = [
        search(find_second, rows, seconds, groups, chunk_size, smoothing),
        search(find_first, rows, firsts, groups, chunk_size, smoothing),
    ]
    loss, accuracy = torch.stack([torch.stack(side) for side in sides]).mean(dim=0).unbind()
    return loss, accuracy
