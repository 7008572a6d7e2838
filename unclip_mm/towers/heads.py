"""The trained heads: a residual MLP for vectors, a small transformer for sequences, a layout-keeping one for grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MLPHead(nn.Module):
    """Residual MLP: (B, F) -> (B, D).

    Example:
        >>> MLPHead(6, width=8, depth=2, dim=4)(torch.zeros(3, 6)).shape
        torch.Size([3, 4])
    """

    def __init__(self, features: int, width: int, depth: int, dim: int, dropout: float = 0.1):
        super().__init__()
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(2 * width, width),
            )
            for _ in range(depth)
        )
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to (B, D)."""
        x = self.inward(x)
        for block in self.blocks:
            x = x + block(x)
        return self.outward(x)


class SequenceHead(nn.Module):
    """Transformer over time and an attention pool: (B, T, F) and a mask (B, T) -> (B, D).

    Positions are sinusoidal, so any length is taken. Masked steps never influence the result.

    Example:
        >>> head = SequenceHead(6, width=16, depth=1, dim=4).eval()
        >>> x, mask = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        >>> changed = torch.where(mask[..., None], x, 9.0)
        >>> torch.allclose(head(x, mask), head(changed, mask), atol=1e-5)
        True
    """

    def __init__(self, features: int, width: int, depth: int, dim: int, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pool = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, F), with mask True where there is something, to (B, D)."""
        x = self.inward(x)
        x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
        x = self.norm(self.layers(x, src_key_padding_mask=~mask))
        pooled, _ = self.pool(self.query.expand(len(x), -1, -1), x, x, key_padding_mask=~mask, need_weights=False)
        return self.outward(pooled[:, 0])


class GridHead(nn.Module):
    """Keeps where things are: each of N tokens is squeezed to a few channels, and all of them are mapped together.

    Mean pooling forgets layout, which a decoder needs: (B, N, F) -> (B, D).

    Example:
        >>> GridHead(tokens=9, features=6, channels=2, dim=4)(torch.zeros(3, 9, 6)).shape
        torch.Size([3, 4])
    """

    def __init__(self, tokens: int, features: int, channels: int, dim: int):
        super().__init__()
        self.squeeze = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, channels))
        self.outward = nn.Linear(tokens * channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, F) to (B, D)."""
        return self.outward(self.squeeze(x).flatten(1))


def sinusoids(length: int, width: int) -> Tensor:
    """Return the position code (length, width) of "Attention is all you need"."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
