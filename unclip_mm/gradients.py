"""Gradients that are written down: of first order, and an error where more is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from unclip_mm.errors import GradientError

__all__ = ["first_order"]

T = TypeVar("T")


def first_order(backward: Callable[..., T]) -> Callable[..., T]:
    """Let the `backward` of a `torch.autograd.Function` raise where its result would be differentiated again.

    `torch.autograd.function.once_differentiable` raises only where the incoming gradient has one itself, which that of a
    loss has not: with `create_graph=True` the second derivatives would come out without what lies behind `backward`.

    Raises:
        GradientError: the gradient is taken with `create_graph=True`.

    Example:
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     @first_order
        ...     def backward(ctx, of_square):
        ...         return 2 * ctx.saved_tensors[0] * of_square
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> torch.autograd.grad(Square.apply(x), x)
        (tensor(6.),)
        >>> torch.autograd.grad(Square.apply(x), x, create_graph=True)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.GradientError: create_graph: this gradient has none of its own; leave create_graph out
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> T:
        if torch.is_grad_enabled():  # within a backward pass: create_graph is true
            raise GradientError("create_graph: this gradient has none of its own; leave create_graph out")
        return backward(ctx, *gradients)

    return checked
