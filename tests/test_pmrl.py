from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import NAMES, embeddings, mask, total, vectors

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.objectives import PMRL
from unclip_mm.objectives.spectrum import spectrum


def by_svd(z, present, tau1=0.05, tau2=0.1, lambda_reg=1.0):
    """Equations (7) and (8) of the paper, row by row, through the singular value decomposition."""
    align, directions = [], []
    for row, there in zip(z, present, strict=True):
        u, sigma, _ = torch.linalg.svd(row[there].T, full_matrices=False)
        if there.sum() >= 2:
            align.append(-F.log_softmax(sigma / tau1, dim=0)[0])
        with torch.no_grad():
            side = row @ u[:, 0]
            tie = side.sum().abs() < 1e-3  # two modalities of negative cosine: the first name decides
            first = next(m for m in sorted(range(len(row)), key=lambda m: NAMES[m]) if there[m])
            sign = torch.sign(side[first] if tie else side.sum())
        directions.append(u[:, 0] * sign)
    u = torch.stack(directions)
    reg = F.cross_entropy(u @ u.T / tau2, torch.arange(len(u)))
    return torch.stack(align).mean() + lambda_reg * reg


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_value_and_gradient_are_those_of_the_svd(modalities, missing):
    z, present = vectors(12, modalities, 16, seed=modalities, noise=3.0), mask(12, modalities, seed=2, missing=missing)
    present[:, 0] |= ~present.any(dim=1)
    z = z * present.unsqueeze(-1)
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    ours, reference = total(PMRL()(Embeddings(a, present, NAMES[:modalities]))), by_svd(b, present)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-10)
    ours.backward()
    reference.backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-8)


def test_the_reference_mode_differs_by_the_signs_alone():
    batch = embeddings(9, 3, dim=12, missing=0.0)
    ours, released = PMRL()(batch), PMRL(reference=True)(batch)
    torch.testing.assert_close(released["alignment_loss"], ours["alignment_loss"])
    torch.testing.assert_close(released["leading_share"], ours["leading_share"])
    u, _, _ = torch.linalg.svd(batch.vectors.mT, full_matrices=True)
    raw = F.cross_entropy(u[..., 0] @ u[..., 0].T / 0.1, torch.arange(9))
    torch.testing.assert_close(released["regularisation_loss"], raw)
    with pytest.raises(InputError, match="a modality is missing"):
        PMRL(reference=True)(embeddings(9, 3, missing=0.4))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_reference_mode_knows_of_as_many_values_as_there_are_dimensions(dim):
    batch = embeddings(9, 4, dim=dim, missing=0.0)
    values = torch.linalg.svdvals(batch.vectors.mT)
    assert values.shape[1] == dim
    terms = PMRL(reference=True)(batch)
    torch.testing.assert_close(terms["alignment_loss"], -F.log_softmax(values / 0.05, dim=1)[:, 0].mean())
    torch.testing.assert_close(terms["leading_share"], PMRL()(batch)["leading_share"])


def test_the_reference_mode_has_no_gradient_where_singular_values_are_equal():  # as its docstring says
    axes = torch.eye(8, dtype=torch.float64)
    for corner in (axes[:4, None].expand(4, 3, 8), axes[:3].expand(4, 3, 8)):
        leaf = corner.clone().requires_grad_()
        total(PMRL(reference=True)(Embeddings(leaf, torch.ones(4, 3, dtype=torch.bool), NAMES[:3]))).backward()
        assert leaf.grad.isnan().any()


def test_float32_is_close_to_float64():
    z, present = vectors(16, 4, 64), mask(16, 4, missing=0.1)
    batch = Embeddings(z.float(), present, NAMES[:4])
    assert abs(float(total(PMRL()(batch))) - float(by_svd(batch.vectors.double(), present))) < 1e-4


def test_weights_and_temperatures_enter_as_written():
    z, present = vectors(6, 3, 8), torch.ones(6, 3, dtype=torch.bool)
    ours = PMRL(tau1=0.2, tau2=0.5, lambda_reg=0.3)(Embeddings(z, present, NAMES[:3]))
    torch.testing.assert_close(total(ours), by_svd(z, present, 0.2, 0.5, 0.3), rtol=0, atol=1e-10)


def test_the_squares_of_the_singular_values_sum_to_the_modalities_present():
    batch = embeddings(8, 5, missing=0.5)
    rows = spectrum(batch.vectors, batch.present)
    torch.testing.assert_close(rows.values.square().sum(dim=1), batch.present.sum(dim=1).double())
    assert torch.equal(rows.absent.sum(dim=1), (~batch.present).sum(dim=1))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    modalities=st.integers(1, 5),
    dim=st.integers(1, 12),
    noise=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_the_leading_share_lies_between_one_of_the_modalities_and_all(modalities, dim, noise, seed):
    present = mask(6, modalities, seed)
    present[2, 0] = True
    batch = Embeddings(vectors(6, modalities, dim, seed, noise), present, NAMES[:modalities])
    count = present.sum(dim=1).double()
    rows = spectrum(batch.vectors, present)
    share = (rows.values[:, -1].square() / count)[count > 0]
    assert (share >= 1 / count[count > 0] - 1e-9).all() and (share <= 1 + 1e-9).all()
    assert (rows.values.diff(dim=1) >= -1e-9).all() and (rows.values >= 0).all()
    assert (rows.volume() <= 1 + 1e-6).all()


def test_a_row_without_modalities_has_no_values_no_direction_and_a_gradient_of_zero():
    z = torch.zeros(1, 3, 8, requires_grad=True)
    rows = spectrum(z, torch.zeros(1, 3, dtype=torch.bool))
    (rows.values.sum() + rows.direction.sum()).backward()
    assert not rows.values.any() and not rows.direction.any() and not z.grad.any()


def test_directions_point_with_the_mean_modality():
    batch = embeddings(64, 3, missing=0.3)
    u = spectrum(batch.vectors, batch.present).direction
    assert ((u * batch.vectors.sum(dim=1)).sum(dim=-1) >= 0).all()


def test_detached_directions_change_the_gradient_but_not_the_value():
    # nearly orthogonal modalities, as at random initialisation: the exact gradient is the larger by far
    z = vectors(8, 3, 256, noise=30.0)
    grads = []
    for direction in ("exact", "detached"):
        leaf = z.clone().requires_grad_()
        terms = PMRL(direction=direction)(Embeddings(leaf, torch.ones(8, 3, dtype=torch.bool), NAMES[:3]))
        grads.append((total(terms), torch.autograd.grad(terms["regularisation_loss"], leaf)[0].norm()))
    assert grads[0][0] == grads[1][0]
    assert grads[0][1] > 1.5 * grads[1][1]


def test_rank_one_is_blind_to_signs_but_the_cosine_is_not():
    x = vectors(4, 1, 8)[:, 0]
    terms = PMRL()(Embeddings.from_dict({"text": x, "image": -x}))
    assert terms["alignment_loss"] < 1e-10
    assert terms["leading_share"] == pytest.approx(1.0)
    assert terms["pairwise_cosine"] == pytest.approx(-1.0)


def test_rows_with_one_modality_take_part_in_the_repulsion_only():
    batch = embeddings(6, 3, missing=0.0)
    single = batch.present.clone()
    single[4:, 1:] = False
    terms = PMRL()(Embeddings(batch.vectors, single, batch.modalities))
    without = PMRL()(batch.rows(slice(0, 4)))
    torch.testing.assert_close(terms["alignment_loss"], without["alignment_loss"])
    assert terms["regularisation_loss"] != without["regularisation_loss"]


def test_descending_the_loss_aligns_the_rows():
    raw = torch.nn.Parameter(vectors(16, 3, 16, noise=1.0).float())
    objective, optimizer = PMRL(tau1=0.2), torch.optim.Adam([raw], lr=0.05)
    everywhere = torch.ones(16, 3, dtype=torch.bool)
    for _ in range(60):
        terms = objective(Embeddings(F.normalize(raw, dim=-1), everywhere, NAMES[:3]))
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
    assert terms["leading_share"] > 0.95
    assert terms["pairwise_cosine"] > 0.9
