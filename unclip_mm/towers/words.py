"""A table of word vectors in 8 bits: half of a small sentence encoder is its table, of which a text reads a few rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class QuantizedWords(nn.Module):
    """Word vectors, each as whole numbers from -127 to 127 and a scale: ``scale_i * table_i``.

    It takes the place of an ``nn.Embedding`` that is not trained; a vector's largest error is a 254th of its largest
    number. In memory it is a quarter of what float32 would be.

    Args:
        words: How many there are.
        width: Numbers of a vector.

    Example:
        >>> words = nn.Embedding(5, 8)
        >>> close = QuantizedWords.of(words)(torch.tensor([[0, 4]])) - words(torch.tensor([[0, 4]]))
        >>> close.shape, bool(close.abs().max() < words.weight.abs().max() / 250)
        (torch.Size([1, 2, 8]), True)
    """

    table: Tensor
    scale: Tensor

    def __init__(self, words: int, width: int):
        super().__init__()
        self.register_buffer("table", torch.zeros(words, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(words, 1))

    @classmethod
    def of(cls, embedding: nn.Embedding) -> QuantizedWords:
        """Return the words of a table, rounded."""
        made, vectors = cls(*embedding.weight.shape), embedding.weight.detach().float()
        made.scale = (vectors.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float16).tiny)
        made.table = (vectors / made.scale).round().to(torch.int8)
        return made

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors (..., width) of the words ``ids`` (...), int64."""
        return self.table[ids].to(self.scale) * self.scale[ids]
