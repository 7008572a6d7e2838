"""Which picture of a concept is drawn: any, or rather those that the run's decoder makes well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PictureDraw:
    """Draws one picture of each of some concepts.

    Args:
        concepts: Of the N pictures.
        logits: (N,), finite: within a concept the chances are their softmax; None draws all its pictures alike.

    Attributes:
        count: How many concepts there are.
        numbers: int64 (N,): the number of each picture's concept, from 0 to ``count`` - 1.

    Example:
        >>> draw = PictureDraw(["cat", "dog", "cat"], torch.tensor([-90.0, 1.0, 5.0]))
        >>> draw(draw.numbers, torch.Generator().manual_seed(0)).tolist()
        [2, 1, 2]
    """

    def __init__(self, concepts: Sequence[str], logits: Tensor | None = None):
        number = {concept: place for place, concept in enumerate(dict.fromkeys(concepts))}
        self.count, self.numbers = len(number), torch.tensor([number[concept] for concept in concepts])
        logits = (torch.zeros(len(concepts)) if logits is None else logits).double()
        highest = torch.full((self.count,), -torch.inf, dtype=torch.float64)
        highest = highest.scatter_reduce(0, self.numbers, logits, "amax")
        weights = (logits - highest[self.numbers]).exp()
        totals = torch.zeros(self.count, dtype=torch.float64).index_add(0, self.numbers, weights)
        self.order = self.numbers.argsort(stable=True)
        # The shares of each concept add up to 1, so those of the concept with number c end at c + 1.
        self.ends = (weights / totals[self.numbers])[self.order].cumsum(dim=0)
        self.last = self.numbers.bincount().cumsum(dim=0) - 1

    def __call__(self, numbers: Tensor, generator: torch.Generator) -> Tensor:
        """Return a picture, int64 (B,), of each concept, by number (B,)."""
        places = torch.rand(len(numbers), dtype=torch.float64, generator=generator) + numbers
        return self.order[torch.searchsorted(self.ends, places, right=True).minimum(self.last[numbers])]


def well_made(errors: Tensor, strength: float, enough: float = 0.0) -> Tensor:
    """Return logits (N,) of pictures with errors (N,): ``-strength max(e - e0, 0) / std e``.

    Pictures that are made well enough, with an error up to e0, are drawn alike, so that answers differ. Of two others
    of a concept of which one is made worse by a standard deviation of all errors, that one is drawn ``exp(strength)``
    times more rarely.

    Args:
        errors: (N,), of all pictures.
        strength: 0 or more.
        enough: The share of all pictures, from 0 to 1, that have an error up to e0.

    Example:
        >>> well_made(torch.tensor([1.0, 2.0, 3.0]), 2.0).tolist()
        [-0.0, -2.0, -4.0]
        >>> well_made(torch.tensor([1.0, 2.0, 3.0]), 2.0, enough=0.5).tolist()
        [-0.0, -0.0, -2.0]
    """
    excess = (errors - errors.quantile(enough)).clamp(min=0.0)
    return -strength * excess / errors.std().clamp(min=1e-12)
