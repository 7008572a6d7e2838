"""Anything else: vectors (tabular data, somebody's embeddings) and sequences (sensors), without a backbone."""

from __future__ import annotations

from torch import Tensor

from unclip_mm.towers.base import Features, Tower
from unclip_mm.towers.heads import MLPHead, SequenceHead


class VectorTower(Tower):
    """``vector`` (B, F) -> (B, D).

    Example:
        >>> import torch
        >>> VectorTower(dim=4, features=3)({"vector": torch.zeros(2, 3)}).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, features: int, width: int = 512, depth: int = 2, dropout: float = 0.1):
        super().__init__()
        self.mlp = MLPHead(features, width, depth, dim, dropout)

    def head(self, features: Features) -> Tensor:
        """Map the vectors to (B, D)."""
        return self.mlp(features["vector"])


class SequenceTower(Tower):
    """``tokens`` (B, T, F) and ``mask`` (B, T) -> (B, D).

    Example:
        >>> import torch
        >>> tower = SequenceTower(dim=4, features=3, width=8, depth=1)
        >>> tower({"tokens": torch.zeros(2, 5, 3), "mask": torch.ones(2, 5, dtype=torch.bool)}).shape
        torch.Size([2, 4])
    """

    def __init__(self, dim: int, features: int, width: int = 256, depth: int = 3, dropout: float = 0.1):
        super().__init__()
        self.sequence = SequenceHead(features, width, depth, dim, dropout=dropout)

    def head(self, features: Features) -> Tensor:
        """Map the sequences to (B, D)."""
        return self.sequence(features["tokens"], features["mask"])
