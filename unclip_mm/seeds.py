"""Seeds of pictures: which there are, and how they count up. Standard library only, for the command line."""

from __future__ import annotations

MAX_SEED = 2**32 - 1
"""The largest seed: PyTorch's generator on a CPU looks at 32 bits."""


def count_up(first: int, count: int) -> list[int]:
    """Return as many seeds, one after the other; after the largest comes 0.

    Example:
        >>> count_up(7, 3), count_up(MAX_SEED, 2)
        ([7, 8, 9], [4294967295, 0])
    """
    return [(first + index) % (MAX_SEED + 1) for index in range(count)]
