"""What prior and decoder share: noise by seed, times, flow matching, condition dropout, guidance."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor


def noise_by_seed(
    shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu", stream: str = ""
) -> Tensor:
    """Return standard normal noise (len(seeds), *shape) in which each sample depends on its own seed alone.

    The noise is drawn on the CPU, so that a seed means the same on every device and in every batch.

    Args:
        shape: Of one sample.
        seeds: One a sample, from 0 to :data:`unclip_mm.seeds.MAX_SEED`.
        device: Where the noise goes.
        stream: What it is for, where one seed is used for several things: other names, other noise.

    Example:
        >>> a, b = noise_by_seed((2,), [1, 2]), noise_by_seed((2,), [2])
        >>> bool((a[1] == b[0]).all()), bool((noise_by_seed((2,), [2], stream="prior") == b).any())
        (True, False)
    """
    numbers = [_of_stream(stream, int(seed)) if stream else int(seed) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(n)) for n in numbers]).to(device)


def _of_stream(stream: str, seed: int) -> int:
    """Hash to 32 bits: to add a number to the seed would give another seed's noise."""
    return int.from_bytes(blake2b(f"{stream}/{seed}".encode(), digest_size=4).digest(), "little")


def logit_normal_times(count: int, generator: torch.Generator, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw noise levels (count,) in (0, 1), most of them in the middle, where the task is hardest.

    From "Scaling Rectified Flow Transformers" (arXiv:2403.03206), section 3.1.
    """
    return torch.sigmoid(mean + std * torch.randn(count, generator=generator))


def flow_pair(data: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the noisy sample and the velocity to predict: ``x_t = (1 - t) x + t n``, ``v = n - x``.

    Args:
        data: (B, ...).
        noise: Standard normal, like ``data``.
        times: (B,) in [0, 1], 0 is data and 1 is noise.

    Example:
        >>> x, v = flow_pair(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.25]))
        >>> x.tolist(), v.tolist()
        ([[0.25, 0.25]], [[1.0, 1.0]])
    """
    t = times.reshape(-1, *[1] * (data.ndim - 1)).to(data)
    return (1 - t) * data + t * noise, noise - data


def dropped(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return a bool mask (count,), True with the given probability: the rows that lose their condition."""
    return torch.rand(count, generator=generator) < probability


def guide(conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance (arXiv:2207.12598): ``u + scale (c - u)``; 1 gives the conditional prediction itself.

    Example:
        >>> guide(torch.tensor([2.0]), torch.tensor([1.0]), 3.0)
        tensor([4.])
    """
    return unconditional + scale * (conditional - unconditional)
