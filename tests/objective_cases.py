"""Embeddings for the tests of objectives and diagnostics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unclip_mm.embeddings import Embeddings

NAMES = ("image", "text", "audio", "sketch", "imu")


def vectors(rows: int, modalities: int, dim: int, seed: int = 0, noise: float = 1.0) -> Tensor:
    """Unit vectors (B, M, D) float64 whose modalities share a direction; the less noise, the closer they are."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(rows, 1, dim, generator=generator, dtype=torch.float64)
    own = torch.randn(rows, modalities, dim, generator=generator, dtype=torch.float64)
    return F.normalize(shared + noise * own, dim=-1)


def mask(rows: int, modalities: int, seed: int = 0, missing: float = 0.3) -> Tensor:
    """A random (B, M) mask; the first two rows are complete, the third is not unless nothing may be missing."""
    present = torch.rand(rows, modalities, generator=torch.Generator().manual_seed(seed + 1)) >= missing
    present[:2] = True
    present[2, -1] = missing == 0
    return present


def embeddings(rows: int = 6, modalities: int = 3, dim: int = 8, seed: int = 0, missing: float = 0.3) -> Embeddings:
    return Embeddings(vectors(rows, modalities, dim, seed), mask(rows, modalities, seed, missing), NAMES[:modalities])


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([value for name, value in terms.items() if name.endswith("_loss")]).sum()


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Assert that two records are the same up to rounding of float64."""
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
