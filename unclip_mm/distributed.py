"""Several processes: a gather that carries gradients, and seeds that depend on (seed, rank, step) alone."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unclip_mm.errors import InputError
from unclip_mm.gradients import first_order

__all__ = ["check_same_everywhere", "gather_with_grad", "process_count", "step_seed"]


def process_count() -> int:
    """Give the number of processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_grad(x: Tensor) -> Tensor:
    """Concatenate the tensors of all processes along the first dimension, in rank order, with gradients.

    The gradient of a local row is the sum of what *all* processes ask of it. When every process computes the same loss
    on the gathered batch, that is `process_count()` times the gradient of one process with the whole batch; averaging
    over processes, as DistributedDataParallel does, gives exactly that gradient for the parameters. Parameters used
    after the gather (a temperature) have the whole gradient on each process already.

    Args:
        x: any tensor with a first dimension, of the same shape and dtype on every process.

    Returns:
        (processes * B, ...); `x` itself on one process.

    Example:
        >>> import torch
        >>> gather_with_grad(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    if process_count() == 1:
        return x
    if x.dtype == torch.bool:
        return _Gather.apply(x.to(torch.uint8)).bool()
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    """all_gather whose backward adds up the gradients of all processes and keeps the local rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(process_count())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(process_count())[dist.get_rank()]


def check_same_everywhere(what: str, values: tuple[int, ...], device: torch.device, fault: str = "") -> None:
    """Raise InputError on every process when `values` differ between processes, or one has a fault.

    Collectives on tensors of different shapes hang or mix up rows, so what they rely on is compared first; and where one
    process raises alone, the others wait for it.

    Args:
        what: Names the values.
        values: Of this process.
        device: Of the collective.
        fault: What this process cannot go on with, the message of its own error.
    """
    everywhere = []
    if process_count() > 1:
        local = torch.tensor([[*values, bool(fault)]], dtype=torch.int64, device=device)
        everywhere = gather_with_grad(local).tolist()
    if fault:
        raise InputError(fault)
    for rank, (*other, wrong) in enumerate(everywhere):
        if wrong:
            raise InputError(f"{what}: rank {rank} cannot use what it was given; its own error says why")
        if other != everywhere[0][:-1]:
            first = tuple(everywhere[0][:-1])
            raise InputError(f"{what}: {tuple(other)} on rank {rank}, {first} on rank 0; make it equal")


def step_seed(seed: int, rank: int, step: int) -> int:
    """Mix (seed, rank, step) into one seed: the same on every machine, unrelated between neighbours.

    Noise and order drawn from it do not depend on what was drawn before, so a resumed run repeats a killed one.

    Returns:
        an int in [0, 2**63).

    Raises:
        InputError: one of the three is negative or no int.

    Example:
        >>> step_seed(0, 0, 1) == step_seed(0, 0, 1), step_seed(0, 0, 1) == step_seed(0, 1, 0)
        (True, False)
    """
    for name, value in (("seed", seed), ("rank", rank), ("step", step)):
        if not isinstance(value, int) or value < 0:
            raise InputError(f"{name}: {value!r} is no int of 0 or more; give one")
    digest = hashlib.sha256(f"{seed}/{rank}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
