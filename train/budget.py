"""How many steps fit into the time that a loop has, as the first ones show."""

from __future__ import annotations

from unclip_mm.errors import InputError

MEASURED = 60
"""Steps after which it is decided."""
SHARE = 0.2
"""Share of the time after which it is decided with fewer."""
KEPT = 0.1
"""Share of the time that is kept for what is no step: validation and checkpoints."""


class StepBudget:
    """Decides, early in a run, how many steps it takes, so that the learning rate can fall to its end in time.

    The time begins after the first step, in which models are compiled: that may take longer than all the others.

    Args:
        minutes: That the loop has, after its first step.
        most: Steps that it takes at most.

    Raises:
        InputError: It has no time.

    Example:
        >>> budget = StepBudget(minutes=2.0, most=1000)
        >>> [budget.steps(taken, seconds) for taken, seconds in ((1, 40.0), (2, 41.0), (25, 64.0))]
        [None, None, 109]
    """

    def __init__(self, minutes: float, most: int):
        if not minutes > 0:
            raise InputError(f"--loop.fit-minutes: {minutes} is not allowed; give a number above 0")
        self.seconds, self.most, self.first = 60 * minutes, most, 0.0

    def steps(self, taken: int, spent: float) -> int | None:
        """Return how many steps the loop takes in all, or None as long as that is open.

        Args:
            taken: Steps so far; called once after each.
            spent: Seconds since the loop began.
        """
        if taken == 1:
            self.first = spent
            return None
        since_first = spent - self.first
        if taken < MEASURED and since_first < SHARE * self.seconds:
            return None
        left = (1 - KEPT) * self.seconds - since_first
        return min(self.most, taken + max(0, int(left * (taken - 1) / since_first)))
