from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, embeddings, mask, total, vectors

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.objectives import UniAlign, kernels
from unclip_mm.objectives.kernels import log_kernel
from unclip_mm.objectives.unialign import uniformity

EVERYWHERE = torch.ones(6, 3, dtype=torch.bool)


def kernel(x, y, name, tau):
    if name == "clip":
        return math.exp(float(x @ y) / tau)
    distance = float((x - y).norm()) if name == "gaussian" else math.acos(max(-1.0, min(1.0, float(x @ y))))
    return math.exp(-(distance**2) / (2 * tau**2))


def spread(rows, name, tau):
    """U as the paper writes it: log inside the mean over i, the row itself left out."""
    if len(rows) < 2:
        return 0.0
    means = [sum(kernel(x, y, name, tau) for y in rows if y is not x) / (len(rows) - 1) for x in rows]
    return sum(math.log(mean) for mean in means) / len(rows)


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("name", ["clip", "gaussian", "geodesic"])
def test_terms_are_those_of_the_paper(name, missing):
    batch = embeddings(7, 3, missing=missing)
    z, there = batch.vectors, batch.present
    terms = UniAlign("text", name, 0.6, 1.0, 1.0, 1.0, tau_center=0.8)(batch)
    sets = [[z[i, m] for i in range(7) if there[i, m]] for m in range(3)]
    assert float(terms["uniformity_loss"]) == pytest.approx(sum(spread(rows, name, 0.6) for rows in sets), abs=1e-10)
    gaps = [float((z[i, 1] - z[i, m]).square().sum()) for i in range(7) for m in (0, 2) if there[i, 1] and there[i, m]]
    assert float(terms["alignment_loss"]) == pytest.approx(sum(gaps) / len(gaps))
    tuples = [z[i, there[i]] for i in range(7) if there[i].sum() >= 2]
    centers = [F.normalize(rows.mean(dim=0), dim=-1) for rows in tuples]
    volumes = [math.sqrt(max(float(torch.linalg.det(rows @ rows.T)), 0.0) + 1e-6) for rows in tuples]
    expected = spread(centers, name, 0.8) + sum(volumes) / len(volumes)
    assert float(terms["volume_loss"]) == pytest.approx(expected, abs=1e-10)


def test_weights_multiply_their_terms():
    batch = embeddings(6, 3)
    one = UniAlign(lambda_uni=1, lambda_align=1, lambda_vol=1)(batch)
    many = UniAlign(lambda_uni=2, lambda_align=3, lambda_vol=4)(batch)
    for name, factor in (("uniformity_loss", 2), ("alignment_loss", 3), ("volume_loss", 4)):
        torch.testing.assert_close(many[name], factor * one[name])
    assert "volume_loss" not in UniAlign()(batch)


def test_rows_without_the_anchor_have_no_part_in_the_alignment():
    batch = embeddings(6, 3, missing=0.0)
    present = batch.present.clone()
    present[3:, 0] = False
    lacking = UniAlign("image")(Embeddings(batch.vectors, present, NAMES[:3]))
    whole = UniAlign("image")(batch.rows([0, 1, 2]))
    torch.testing.assert_close(lacking["alignment_loss"], whole["alignment_loss"])
    present[:, 0] = False
    with pytest.raises(InputError, match="no row has the anchor 'image' and another modality"):
        UniAlign("image")(Embeddings(batch.vectors, present, NAMES[:3]))


def test_a_modality_in_one_row_has_no_uniformity():
    batch = embeddings(6, 3, missing=0.0)
    present = batch.present.clone()
    present[1:, 2] = False
    lacking = UniAlign()(Embeddings(batch.vectors, present, NAMES[:3]))
    torch.testing.assert_close(lacking["uniformity_loss"], UniAlign()(batch.select(NAMES[:2]))["uniformity_loss"])


def test_groups_leave_the_mean_of_uniformity():
    batch = embeddings(4, 2, missing=0.0)
    twice = Embeddings.cat([batch, batch])
    grouped = UniAlign()(twice, torch.arange(4).repeat(2))["uniformity_loss"]
    torch.testing.assert_close(grouped, UniAlign()(batch)["uniformity_loss"])


def test_gradient_of_the_uniformity_has_both_sums():
    # -(1 / (B tau^2)) sum_j (p_ij + p_ji)(z_i - z_j) on the sphere; the paper's text shows p_ij only
    x, tau = vectors(6, 1, 5)[:, 0].requires_grad_(), 0.5
    uniformity(x, torch.ones(6, dtype=torch.bool), torch.arange(6), "gaussian", tau).backward()
    logits = (x @ x.T / tau**2).detach().fill_diagonal_(-math.inf)
    p = logits.softmax(dim=1)
    z = x.detach()
    formula = -((p + p.T).unsqueeze(-1) * (z.unsqueeze(1) - z.unsqueeze(0))).sum(dim=1) / (6 * tau**2)

    def tangent(g):
        return g - (g * z).sum(dim=1, keepdim=True) * z

    torch.testing.assert_close(tangent(x.grad), tangent(formula))


def test_literal_constants_stay_finite_in_float32():
    batch = Embeddings(vectors(6, 3, 512).float().requires_grad_(), EVERYWHERE, NAMES[:3])
    objective = UniAlign.literal("text", lambda_vol=0.1)
    assert (objective.kernel, objective.tau, objective.lambda_align, objective.lambda_uni) == ("gaussian", 0.07, 1, 1)
    assert (objective.anchor, objective.anchor_mode, objective.lambda_vol) == ("text", "stop_gradient", 0.1)
    loss = total(objective(batch))
    assert torch.isfinite(loss) and loss < -50  # log kernels, where exp(-204) would be 0 and its log infinite
    assert UniAlign.literal(kernel="geodesic").kernel == "geodesic"


@pytest.mark.parametrize("mode", ["free", "stop_gradient", "frozen"])
def test_what_moves_the_anchor(mode):
    leaf = vectors(6, 3, 8).requires_grad_()
    terms = UniAlign("image", lambda_vol=1.0, anchor_mode=mode)(Embeddings(leaf, EVERYWHERE, NAMES[:3]))
    moves = {}
    for name in ("uniformity_loss", "alignment_loss", "volume_loss"):
        gradient = torch.autograd.grad(terms[name], leaf, retain_graph=True)[0]
        assert gradient[:, 1:].abs().max() > 0
        moves[name] = bool(gradient[:, 0].abs().max() > 0)
    assert moves == {
        "uniformity_loss": mode != "frozen",
        "alignment_loss": mode == "free",
        "volume_loss": mode == "free",
    }


def test_squared_angle_is_smooth_where_arccos_is_not():
    cosine = torch.cat([torch.linspace(-0.999, 1, 4001, dtype=torch.float64), 1 - torch.logspace(-16, -1, 60).double()])
    squared = -2.0 * log_kernel(cosine, "geodesic", 1.0)
    chord = (2 - 2 * cosine).sqrt() / 2
    torch.testing.assert_close(squared, (2 * chord.asin()).square(), rtol=1e-12, atol=1e-12)
    ends = torch.tensor([-1.0, -1.0000001, 0.99, 1.0, 1.0000001], requires_grad=True)
    log_kernel(ends, "geodesic", 0.07).sum().backward()
    assert torch.isfinite(ends.grad).all()
    assert ends.grad[3] == pytest.approx(1 / 0.07**2, rel=1e-5)


def train(objective, steps=100):
    """Linear encoders of three views of 64 things, from random initialisation. Gives R@1 of text to image."""
    torch.manual_seed(0)
    things = torch.randn(64, 8)
    views = [things @ torch.randn(8, 24) + 0.1 * torch.randn(64, 24) for _ in range(3)]
    encoders = torch.nn.ModuleList([torch.nn.Linear(24, 16) for _ in range(3)])
    optimizer = torch.optim.Adam(encoders.parameters(), lr=0.02)
    for _ in range(steps):
        batch = Embeddings.from_dict({name: e(v) for name, e, v in zip(NAMES, encoders, views, strict=False)})
        optimizer.zero_grad()
        total(objective(batch)).backward()
        optimizer.step()
    found = (batch["text"] @ batch["image"].T).argmax(dim=1)
    return float((found == torch.arange(64)).float().mean())


def test_the_default_trains_from_scratch_and_the_literal_constants_do_not():
    assert train(UniAlign()) > 0.9
    assert train(UniAlign.literal()) < 0.5


def test_masks_given_by_chance_do_not_move_the_anchor_out_of_its_place():
    batch, present = vectors(8, 4, 8), mask(8, 4, missing=0.5)
    a = UniAlign("sketch")(Embeddings(batch, present, NAMES[:4]))
    b = UniAlign("sketch")(Embeddings(batch.flip(1), present.flip(1), NAMES[:4][::-1]))
    torch.testing.assert_close(a["alignment_loss"], b["alignment_loss"])


@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("name", ["clip", "gaussian"])
def test_sums_of_exponentials_and_of_their_logarithms_agree_up_to_the_widest_range(name, chunk_size, monkeypatch):
    slope = kernels.LARGEST_LOGIT
    tau = 1.0 / slope if name == "clip" else slope**-0.5
    x = F.normalize(torch.randn(17, 6, generator=torch.Generator().manual_seed(2)), dim=-1)
    x[3], x[8] = x[4], -x[9]  # the ends of the range
    for points in (x, torch.cat([x[:1], -x[:1]]), x[:1].expand(17, -1)):
        found = []
        for largest in (slope, 0.0):
            monkeypatch.setattr(kernels, "LARGEST_LOGIT", largest * (1.0 + 1e-6))
            leaf = points.clone().requires_grad_()
            value = uniformity(leaf, torch.ones(len(leaf), dtype=torch.bool), None, name, tau, chunk_size)
            value.backward()
            found.append((value.detach(), leaf.grad))
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
        assert bool(found[0][1].isfinite().all())
