from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, embeddings, total

from unclip_mm.embeddings import Embeddings
from unclip_mm.objectives import InfoNCE


def one_pair(batch, m, n, tau, groups=None):
    """Both directions of a pair, one search at a time."""
    groups = list(range(len(batch))) if groups is None else groups
    sides = []
    for query, target in ((m, n), (n, m)):
        terms = []
        for i in range(len(batch)):
            if not (batch.present[i, query] and batch.present[i, target]):
                continue
            pool = [j for j in range(len(batch)) if batch.present[j, target] and (j == i or groups[j] != groups[i])]
            logits = torch.stack([batch.vectors[i, query] @ batch.vectors[j, target] for j in pool]) / tau
            terms.append(-F.log_softmax(logits, dim=0)[pool.index(i)])
        sides.append(torch.stack(terms).mean())
    return sum(sides) / 2


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, [0, 1, 2, 0, 1, 3, 4]])
def test_value_is_the_average_over_pairs(missing, groups):
    batch = embeddings(7, 3, missing=missing)
    pairs = {"image": [(0, 1), (0, 2)], "audio": [(2, 0), (2, 1)], None: [(0, 1), (0, 2), (1, 2)]}
    for anchor, wanted in pairs.items():
        objective = InfoNCE(anchor, temperature=0.2).double()
        ours = objective(batch, None if groups is None else torch.tensor(groups))["contrastive_loss"]
        reference = torch.stack([one_pair(batch, m, n, 0.2, groups) for m, n in wanted]).mean()
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-7)


def test_with_two_modalities_it_is_the_loss_of_clip():
    batch = embeddings(5, 2, missing=0.0)
    logits = batch["image"] @ batch["text"].T / 0.07
    labels = torch.arange(5)
    clip = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(InfoNCE().double()(batch)["contrastive_loss"], clip, rtol=1e-6, atol=1e-6)


def test_pairs_without_common_rows_are_left_out():
    batch = embeddings(6, 3, missing=0.0)
    present = torch.tensor([[True, True, False]] * 3 + [[True, False, True]] * 3)
    ours = InfoNCE().double()(Embeddings(batch.vectors, present, NAMES[:3]))["contrastive_loss"]
    to_image = InfoNCE("image").double()(Embeddings(batch.vectors, present, NAMES[:3]))["contrastive_loss"]
    torch.testing.assert_close(ours, to_image)


def test_the_temperature_is_learnt_and_its_scale_clamped_at_100():
    objective = InfoNCE()
    assert objective.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    terms = objective(embeddings(6, 2))
    total(terms).backward()
    assert objective.log_scale.grad.abs() > 0
    with torch.no_grad():
        objective.log_scale.fill_(7.0)
    objective.zero_grad()
    terms = objective(embeddings(6, 2))
    total(terms).backward()
    assert float(terms["scale"]) == pytest.approx(100.0, rel=1e-4)
    assert objective.log_scale.grad.abs() > 0  # it can come down again
    assert not any(p.requires_grad for p in InfoNCE(learnable=False).parameters())


def test_accuracy_counts_partners_found_first():
    eye = torch.eye(4)
    assert float(InfoNCE()(Embeddings.from_dict({"text": eye, "image": eye}))["accuracy"]) == 1.0
    assert float(InfoNCE()(Embeddings.from_dict({"text": eye, "image": eye.roll(1, 0)}))["accuracy"]) == 0.0


def test_the_temperature_survives_saving():
    objective = InfoNCE(temperature=0.1)
    other = InfoNCE()
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.log_scale, objective.log_scale)
