from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, embeddings, vectors

from unclip_mm.embeddings import Embeddings
from unclip_mm.objectives import CSAligner, InfoNCE
from unclip_mm.objectives.cs_aligner import cauchy_schwarz_divergence


def naive(x, y, bandwidth):
    def mean_kernel(a, b):
        return torch.exp(-torch.cdist(a, b).square() / (2 * bandwidth**2)).mean()

    return (mean_kernel(x, x) * mean_kernel(y, y) / mean_kernel(x, y) ** 2).log()


def test_the_divergence_is_the_one_of_kernel_densities():
    x, y = vectors(9, 1, 6)[:, 0], vectors(5, 1, 6, seed=3)[:, 0]
    torch.testing.assert_close(cauchy_schwarz_divergence(x, y, 0.7), naive(x, y, 0.7), rtol=1e-9, atol=1e-9)
    assert cauchy_schwarz_divergence(x, y, 0.7) > 0
    assert abs(float(cauchy_schwarz_divergence(x, x.flip(0), 0.7))) < 1e-12


@pytest.mark.parametrize("anchor", [None, "text"])
def test_terms_are_infonce_and_the_mean_divergence_of_the_same_pairs(anchor):
    batch = embeddings(8, 3, missing=0.3)
    terms = CSAligner(anchor, lambda_cs=0.5, bandwidth=0.6)(batch)
    pairs = [(0, 1), (0, 2), (1, 2)] if anchor is None else [(0, 1), (1, 2)]
    sets = [batch.vectors[batch.present[:, m], m] for m in range(3)]
    expected = torch.stack([naive(sets[m], sets[n], 0.6) for m, n in pairs]).mean()
    torch.testing.assert_close(terms["divergence_loss"], 0.5 * expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(terms["contrastive_loss"], InfoNCE(anchor)(batch)["contrastive_loss"])


@pytest.mark.parametrize("size", [None, 2])
def test_gradients_of_the_divergence_are_those_of_kernel_densities(size):
    x, y = vectors(9, 1, 6)[:, 0].requires_grad_(), vectors(5, 1, 6, seed=3)[:, 0].requires_grad_()

    def of(divergence):
        return torch.autograd.grad(divergence(F.normalize(x, dim=-1), F.normalize(y, dim=-1)), [x, y])

    ours = of(lambda x, y: cauchy_schwarz_divergence(x, y, 0.7, size))
    torch.testing.assert_close(ours, of(lambda x, y: naive(x, y, 0.7)), rtol=1e-6, atol=1e-9)


def test_rows_without_a_partner_move_the_divergence():
    batch = embeddings(8, 2, missing=0.0)
    present = batch.present.clone()
    present[4:, 1] = False
    lonely = CSAligner()(Embeddings(batch.vectors, present, NAMES[:2]))
    paired = CSAligner()(batch.rows([0, 1, 2, 3]))
    assert lonely["divergence_loss"] != paired["divergence_loss"]


def test_groups_matter_to_the_contrast_and_not_to_the_divergence():
    batch = embeddings(8, 2, missing=0.0)
    apart, grouped = CSAligner()(batch), CSAligner()(batch, torch.arange(8) // 2)
    assert torch.equal(apart["divergence_loss"], grouped["divergence_loss"])
    assert grouped["contrastive_loss"] < apart["contrastive_loss"]


def test_descending_the_divergence_closes_the_gap():
    gap = torch.zeros(8)
    gap[0] = 1.0
    x = F.normalize(vectors(32, 1, 8)[:, 0].float() + 2 * gap, dim=-1)
    raw = torch.nn.Parameter(F.normalize(vectors(32, 1, 8, seed=1)[:, 0].float() - 2 * gap, dim=-1))
    optimizer = torch.optim.Adam([raw], lr=0.05)
    before = float((x.mean(dim=0) - raw.detach().mean(dim=0)).norm())
    for _ in range(80):
        optimizer.zero_grad()
        cauchy_schwarz_divergence(x, F.normalize(raw, dim=-1), 0.5).backward()
        optimizer.step()
    after = float((x.mean(dim=0) - F.normalize(raw.detach(), dim=-1).mean(dim=0)).norm())
    assert after < 0.2 * before
