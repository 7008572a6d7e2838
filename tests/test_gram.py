from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, embeddings, mask, total, vectors

from unclip_mm.embeddings import Embeddings
from unclip_mm.objectives import GRAM, TRIANGLE


def volume(*vectors):
    z = torch.stack(vectors)
    return math.sqrt(max(float(torch.linalg.det(z @ z.T)), 0.0) + 1e-6)


def area(x, y, z):
    u, v = x - y, x - z
    return 0.5 * math.sqrt(max(float(u @ u * (v @ v) - (u @ v) ** 2), 0.0) + 1e-6)


def naive(batch, anchor, measure, complete, groups, temperature=0.07, smoothing=0.1):
    """Both searches, one pair at a time, with determinants."""
    a, rows = batch.modalities.index(anchor), range(len(batch))
    others = [[m for m in range(len(batch.modalities)) if m != a and batch.present[j, m]] for j in rows]
    has_tuple = [len(others[j]) >= (len(batch.modalities) - 1 if complete else 1) for j in rows]
    has_anchor = [bool(batch.present[i, a]) for i in rows]

    def score(i, j):
        return -measure(batch.vectors[i, a], *(batch.vectors[j, m] for m in others[j])) / temperature

    sides = []
    for there, pair in ((has_tuple, lambda q, c: score(q, c)), (has_anchor, lambda q, c: score(c, q))):
        losses = []
        for q in rows:
            if has_tuple[q] and has_anchor[q]:
                pool = [c for c in rows if there[c] and (c == q or groups[c] != groups[q])]
                logits = torch.tensor([pair(q, c) for c in pool], dtype=torch.float64)
                losses.append(F.cross_entropy(logits, torch.tensor(pool.index(q)), label_smoothing=smoothing))
        sides.append(torch.stack(losses).mean())
    return (sides[0] + sides[1]) / 2


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("groups", [list(range(7)), [0, 1, 2, 0, 1, 3, 4]])
@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_volumes_are_those_of_determinants(modalities, groups, missing):
    batch = embeddings(7, modalities, dim=9, missing=missing)
    ours = GRAM("image").double()(batch, torch.tensor(groups))["contrastive_loss"]
    expected = naive(batch, "image", volume, False, groups)
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("groups", [list(range(7)), [0, 1, 2, 0, 1, 3, 4]])
def test_areas_are_those_of_the_corners(groups, missing):
    batch = embeddings(7, 3, missing=missing)
    ours = TRIANGLE("text").double()(batch, torch.tensor(groups))["contrastive_loss"]
    torch.testing.assert_close(ours, naive(batch, "text", area, True, groups), rtol=1e-7, atol=1e-7)


def test_float32_volumes_are_close_to_float64_determinants():
    batch = embeddings(32, 4, dim=64, missing=0.0)
    single = float(GRAM("image")(batch.to(torch.float32))["volume"])
    expected = sum(volume(*row) for row in batch.vectors) / len(batch)
    assert single == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 0.0])
def test_float32_volumes_of_vectors_that_nearly_coincide_are_close_to_float64_determinants(apart):
    near = vectors(32, 3, 64, noise=apart)
    batch = Embeddings(torch.cat([vectors(32, 1, 64, seed=1), near], dim=1), mask(32, 4, missing=0.0), NAMES[:4]).to(
        torch.float32
    )
    expected = naive(batch.to(torch.float64), "image", volume, False, range(32))
    torch.testing.assert_close(GRAM()(batch)["contrastive_loss"].double(), expected, rtol=0, atol=3e-6)


def test_two_of_a_tuple_that_coincide_hide_the_third_from_the_volume_and_from_the_area():
    z = embeddings(6, 2, missing=0.0).vectors
    text, image = z[:, 0], z[:, 1]
    twins = Embeddings(torch.stack([image, text, text], dim=1), torch.ones(6, 3, dtype=torch.bool), NAMES[:3])
    for objective, name in ((GRAM(), "volume"), (TRIANGLE(), "area")):
        assert objective(twins)[name] < 2e-3


@pytest.mark.parametrize("kind", [GRAM, TRIANGLE])
def test_descending_the_loss_makes_partners_found(kind):
    raw = torch.nn.Parameter(embeddings(16, 3, 16, missing=0.0).vectors.float())
    objective = kind(anchor="image", learnable=False)
    optimizer = torch.optim.Adam([raw], lr=0.03)
    first = None
    for _ in range(60):
        terms = objective(Embeddings(F.normalize(raw, dim=-1), torch.ones(16, 3, dtype=torch.bool), NAMES[:3]))
        first = first or terms["contrastive_loss"].item()
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
    assert terms["accuracy"] == 1.0
    assert terms["contrastive_loss"] < 0.7 * first
