"""Which picture of a concept is drawn: any, or rather those that the run's decoder makes well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PictureDraw:
    """Draws one picture of each of some concepts, in proportion to weights.

    Args:
        concepts: Of the N pictures.
        weights: (N,), 0 or more, of which every concept needs one above; None draws all pictures of a concept alike.

    Attributes:
        numbers: int64 (N,): the number of each picture's concept, from 0 to ``count`` - 1.

    Example:
        >>> draw = PictureDraw(["cat", "dog", "cat"], torch.tensor([0.0, 1.0, 5.0]))
        >>> draw(draw.numbers, torch.Generator().manual_seed(0)).tolist()
        [2, 1, 2]
    """

    def __init__(self, concepts: Sequence[str], weights: Tensor | None = None):
        number = {concept: place for place, concept in enumerate(dict.fromkeys(concepts))}
        self.count = len(number)
        self.numbers = torch.tensor([number[concept] for concept in concepts])
        weights = torch.ones(len(concepts)) if weights is None else weights
        totals = torch.zeros(self.count, dtype=torch.float64).index_add(0, self.numbers, weights.double())
        self.order = self.numbers.argsort(stable=True)
        # The shares of each concept add up to 1, so those of the concept with number c end at c + 1.
        self.ends = (weights.double() / totals[self.numbers])[self.order].cumsum(dim=0)
        self.last = self.numbers.bincount().cumsum(dim=0) - 1

    def __call__(self, numbers: Tensor, generator: torch.Generator) -> Tensor:
        """Return a picture, int64 (B,), of each concept, by number (B,)."""
        places = torch.rand(len(numbers), dtype=torch.float64, generator=generator) + numbers
        return self.order[torch.searchsorted(self.ends, places, right=True).minimum(self.last[numbers])]


def well_made(errors: Tensor, strength: float) -> Tensor:
    """Return weights (N,), in (0, 1], of pictures with errors (N,): ``exp(-strength (e - min e) / std e)``.

    Of two pictures of a concept of which one is made worse by a standard deviation of all errors, it is drawn
    ``exp(strength)`` times more rarely.

    Example:
        >>> [round(weight, 3) for weight in well_made(torch.tensor([1.0, 2.0, 3.0]), 2.0).tolist()]
        [1.0, 0.135, 0.018]
    """
    return (-strength * (errors - errors.min()) / errors.std().clamp(min=1e-12)).exp()
