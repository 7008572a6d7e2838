from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, embeddings, mask

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.objectives import InfoNCE, Symile


def naive(batch, shuffle, temperature=0.2, groups=None):
    """One score at a time, over the rows that have every modality."""
    rows = [i for i in range(len(batch)) if batch.present[i].all()]
    groups = list(range(len(batch))) if groups is None else groups
    sides = []
    for m in range(len(batch.modalities)):
        others = [n for n in range(len(batch.modalities)) if n != m]
        losses = []
        for p, i in enumerate(rows):
            logits = [batch.vectors[i].prod(dim=0).sum() / temperature]
            for q in range(len(rows)):
                members = [rows[(q + k) % len(rows)] if shuffle else rows[q] for k in range(len(others))]
                if q != p and all(groups[member] != groups[i] for member in members):
                    tuple_of = torch.stack(
                        [batch.vectors[member, n] for member, n in zip(members, others, strict=True)]
                    )
                    logits.append((batch.vectors[i, m] * tuple_of.prod(dim=0)).sum() / temperature)
            losses.append(-F.log_softmax(torch.stack(logits), dim=0)[0])
        sides.append(torch.stack(losses).mean())
    return torch.stack(sides).mean()


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("groups", [None, [0, 1, 2, 0, 1, 3, 4, 5, 6]])
def test_scores_are_multilinear_products(shuffle, missing, groups):
    batch = embeddings(9, 4, missing=missing)
    objective = Symile(temperature=0.2, shuffle=shuffle).double()
    ours = objective(batch, None if groups is None else torch.tensor(groups))["contrastive_loss"]
    torch.testing.assert_close(ours, naive(batch, shuffle, 0.2, groups), rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("modalities", [2, 3, 5])
@pytest.mark.parametrize("groups", [None, [0, 1, 2, 0, 1, 3, 4, 5, 6]])
def test_gradients_are_those_of_the_scores(modalities, groups, size):
    raw = embeddings(9, modalities, missing=0.0).vectors.requires_grad_()
    batch = Embeddings(raw, mask(9, modalities), NAMES[:modalities])
    objective = Symile(temperature=0.2, chunk_size=size).double()
    loss = objective(batch, None if groups is None else torch.tensor(groups))["contrastive_loss"]
    ours = torch.autograd.grad(2.0 * loss, [raw, objective.log_scale], retain_graph=True)
    log_scale = objective.log_scale.detach().requires_grad_()
    expected = torch.autograd.grad(2.0 * naive(batch, True, 1 / log_scale.exp(), groups), [raw, log_scale])
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_evaluation_takes_no_gradient():
    batch = embeddings(6, 3, missing=0.0)
    expected = Symile()(batch)
    with torch.no_grad():
        terms = Symile()(batch)
    assert not terms["contrastive_loss"].requires_grad
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)


def test_of_two_modalities_it_is_infonce():
    batch = embeddings(6, 2, missing=0.0)
    torch.testing.assert_close(Symile()(batch)["contrastive_loss"], InfoNCE()(batch)["contrastive_loss"])


def test_it_learns_what_only_two_modalities_together_tell():
    # c = a xor b: no pair of modalities is correlated, so no pairwise objective can find partners
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (64, 2, 4), generator=generator)
    things = torch.cat([bits, (bits[:, :1] + bits[:, 1:]) % 2], dim=1)
    signs = F.normalize(1.0 - 2.0 * things.double(), dim=-1)
    batch = Embeddings(signs, torch.ones(64, 3, dtype=torch.bool), NAMES[:3])
    objective = Symile(temperature=0.01)
    assert objective(batch)["contrastive_loss"] < 0.8 * InfoNCE(temperature=0.01)(batch)["contrastive_loss"]


def test_rows_that_lack_a_modality_have_no_part():
    batch = embeddings(6, 3, missing=0.0)
    present = batch.present.clone()
    present[4:, 2] = False
    lacking = Symile()(Embeddings(batch.vectors, present, NAMES[:3]))
    torch.testing.assert_close(lacking["contrastive_loss"], Symile()(batch.rows([0, 1, 2, 3]))["contrastive_loss"])
    present[1:, 2] = False
    with pytest.raises(InputError, match="every modality"):
        Symile()(Embeddings(batch.vectors, present, NAMES[:3]))
