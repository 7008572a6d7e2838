"""Frozen weights in 8 bits: what only has to be read takes half the bytes of half precision.

A row of a matrix is whole numbers from -127 to 127 and a scale, ``scale_i * table_i``; its largest error is a 254th of its
largest number. What is computed stays in floating point.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel


class QuantizedRows(nn.Module):
    """A matrix in 8 bits, with a scale for each row.

    Args:
        rows, width: Of the matrix.
    """

    table: Tensor
    scale: Tensor

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.register_buffer("table", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1))

    def round(self, matrix: Tensor) -> None:
        """Take over a matrix (rows, width), rounded."""
        vectors = matrix.detach().float()
        self.scale = (vectors.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float16).tiny)
        self.table = (vectors / self.scale).round().to(torch.int8)

    def matrix(self) -> Tensor:
        """Return the matrix (rows, width) as numbers."""
        return self.table.to(self.scale) * self.scale


class QuantizedWords(QuantizedRows):
    """Word vectors in 8 bits, in the place of an ``nn.Embedding``.

    Example:
        >>> words = nn.Embedding(5, 8)
        >>> close = QuantizedWords.of(words)(torch.tensor([[0, 4]])) - words(torch.tensor([[0, 4]]))
        >>> close.shape, bool(close.abs().max() < words.weight.abs().max() / 250)
        (torch.Size([1, 2, 8]), True)
    """

    @classmethod
    def of(cls, embedding: nn.Embedding) -> QuantizedWords:
        """Return the words of a table, rounded."""
        made = cls(*embedding.weight.shape)
        made.round(embedding.weight)
        return made

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors (..., width) of the words ``ids`` (...), int64."""
        return self.table[ids].to(self.scale) * self.scale[ids]


class QuantizedLinear(QuantizedRows):
    """A linear map in 8 bits, in the place of an ``nn.Linear``: ``y = x W^T + b``.

    Example:
        >>> linear, x = nn.Linear(16, 4), torch.randn(3, 16)
        >>> bool((QuantizedLinear.of(linear)(x) - linear(x)).abs().max() < 0.05)
        True
    """

    bias: Tensor | None

    def __init__(self, rows: int, width: int, bias: bool = True):
        super().__init__(rows, width)
        self.register_buffer("bias", torch.zeros(rows) if bias else None)

    @classmethod
    def of(cls, linear: nn.Linear) -> QuantizedLinear:
        """Return a linear map, rounded."""
        made = cls(linear.out_features, linear.in_features, linear.bias is not None)
        made.round(linear.weight)
        if linear.bias is not None:
            made.bias = linear.bias.detach().clone()
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., rows)."""
        return F.linear(x, self.matrix().to(x), None if self.bias is None else self.bias.to(x))


class QuantizedPointwise(QuantizedRows):
    """A convolution of one pixel without a bias in 8 bits, in the place of an ``nn.Conv2d``.

    Example:
        >>> conv, x = nn.Conv2d(16, 4, 1, bias=False), torch.randn(2, 16, 3, 3)
        >>> bool((QuantizedPointwise.of(conv)(x) - conv(x)).abs().max() < 0.05)
        True
    """

    kernel_size = stride = dilation = (1, 1)
    """As a convolution says it: networks pad by it."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> QuantizedPointwise:
        """Return a convolution, rounded."""
        made = cls(conv.out_channels, conv.in_channels)
        made.round(conv.weight.flatten(1))
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, rows, H, W)."""
        return F.conv2d(x, self.matrix().to(x)[..., None, None])


def quantize(backbone: PreTrainedModel) -> None:
    """Put the linear maps of a network of transformers, also those of single pixels, and its words in 8 bits, in place."""
    try:
        words = backbone.get_input_embeddings()
    except NotImplementedError:  # so transformers says of one without a table, such as ConvNeXt
        words = None
    if isinstance(words, nn.Embedding):
        backbone.set_input_embeddings(QuantizedWords.of(words))
    for module in list(backbone.modules()):
        if isinstance(module, nn.MultiheadAttention):
            continue  # it multiplies by the matrices of its linear maps itself
        for name, part in list(module.named_children()):
            if isinstance(part, nn.Linear):
                setattr(module, name, QuantizedLinear.of(part))
            elif isinstance(part, nn.Conv2d) and _is_pointwise(part):
                setattr(module, name, QuantizedPointwise.of(part))


def _is_pointwise(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.groups)
    return shape == ((1, 1), (1, 1), (0, 0), 1) and conv.bias is None
