"""What holds for every objective: symmetries, masks, groups, precision, gradients, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import NAMES, close, embeddings, mask, total, vectors

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import GradientError, InputError
from unclip_mm.objectives import (
    GRAM,
    OBJECTIVES,
    PMRL,
    TRIANGLE,
    CSAligner,
    InfoNCE,
    Objective,
    Symile,
    UniAlign,
    build_objective,
)

CASES = {
    "pmrl": PMRL,
    "pmrl detached": lambda: PMRL(direction="detached"),
    "unialign": UniAlign,
    "unialign literal": lambda: UniAlign.literal(lambda_vol=0.1),
    "unialign geodesic": lambda: UniAlign(kernel="geodesic", tau=0.5, lambda_vol=1.0),
    "infonce": InfoNCE,
    "infonce anchor": lambda: InfoNCE(anchor="image"),
    "gram": GRAM,
    "symile": lambda: Symile(shuffle=False),
    "cs-aligner": lambda: CSAligner(anchor="image"),
    "triangle": TRIANGLE,
}
every_objective = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())


def every_objective_but(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", [pytest.param(m, id=n) for n, m in CASES.items() if n not in names])


few = settings(max_examples=12, deadline=None, derandomize=True)
sizes = {"rows": st.integers(3, 7), "modalities": st.integers(2, 5), "seed": st.integers(0, 10**6)}


def drawn(make, rows, modalities, seed):
    """An objective, and a batch with as many modalities as it takes."""
    objective = make()
    return objective, embeddings(rows, 3 if isinstance(objective, TRIANGLE) else modalities, seed=seed)


@every_objective
@few
@given(**sizes)
def test_order_of_rows_and_modalities_does_not_matter(make, rows, modalities, seed):
    objective, batch = drawn(make, rows, modalities, seed)
    generator = torch.Generator().manual_seed(seed)
    shuffled = batch.rows(torch.randperm(rows, generator=generator))
    renamed = [batch.modalities[k] for k in torch.randperm(len(batch.modalities), generator=generator)]
    close(objective(batch), objective(shuffled.select(renamed)))


@every_objective
@few
@given(**sizes)
def test_masking_is_removing(make, rows, modalities, seed):
    objective, full = drawn(make, rows, modalities, seed)
    # a row without any modality, and a modality without any row, whatever their vectors hold
    wider = Embeddings(
        torch.cat([full.vectors, vectors(rows, 1, full.dim, seed + 1)], dim=1),
        torch.cat([full.present, torch.zeros(rows, 1, dtype=torch.bool)], dim=1),
        (*full.modalities, "nothing"),
    )
    if isinstance(objective, TRIANGLE):  # which takes three modalities, and a fourth not even masked
        wider = full
    longer = Embeddings.cat([wider, Embeddings(wider.vectors, wider.present & False, wider.modalities)])
    close(objective(full), objective(longer))


@every_objective_but("symile")  # the one that knows the axes of the space
@few
@given(**sizes)
def test_a_rotation_of_the_space_changes_nothing(make, rows, modalities, seed):
    objective, batch = drawn(make, rows, modalities, seed)
    noise = torch.randn(batch.dim, batch.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rotation = torch.linalg.qr(noise).Q
    close(objective(batch), objective(Embeddings(batch.vectors @ rotation, batch.present, batch.modalities)))


def test_a_triangle_has_three_corners():
    with pytest.raises(InputError, match="4 modalities"):
        TRIANGLE()(embeddings(7, 4))


@every_objective
@few
@given(noise=st.sampled_from([0.0, 1e-3, 1.0, 30.0]), dim=st.integers(2, 64), seed=st.integers(0, 10**6))
def test_two_rows_have_a_finite_loss_and_gradient(make, noise, dim, seed):
    leaf = vectors(2, 3, dim, seed, noise).float().requires_grad_()
    terms = make()(Embeddings(leaf, torch.ones(2, 3, dtype=torch.bool), NAMES[:3]))
    total(terms).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert torch.isfinite(leaf.grad).all()


BOUNDS = {  # of the terms whatever the embeddings are; root(0) = sqrt(1e-6) is the least volume
    "pmrl": {
        "alignment_loss": (0.0, math.inf),
        "regularisation_loss": (0.0, math.inf),
        "leading_share": (0.2, 1.0),
        "pairwise_cosine": (-1.0, 1.0),
    },
    "unialign": {
        "uniformity_loss": (-5 / 0.07, 5 / 0.07),
        "alignment_loss": (0.0, 120.0),
        "anchor_distance": (0.0, 4.0),
    },
    "infonce": {"contrastive_loss": (0.0, math.inf), "accuracy": (0.0, 1.0), "scale": (0.0, 100.0)},
    "gram": {"contrastive_loss": (0.0, math.inf), "accuracy": (0.0, 1.0), "volume": (1e-3, (1 + 1e-6) ** 0.5)},
    "triangle": {"contrastive_loss": (0.0, math.inf), "accuracy": (0.0, 1.0), "area": (5e-4, 27**0.5 / 4 + 1e-6)},
    "symile": {"contrastive_loss": (0.0, math.inf), "accuracy": (0.0, 1.0)},
    "cs-aligner": {"contrastive_loss": (0.0, math.inf), "divergence_loss": (0.0, math.inf), "accuracy": (0.0, 1.0)},
}


@pytest.mark.parametrize("name", OBJECTIVES)
@few
@given(noise=st.sampled_from([0.0, 0.1, 1.0, 30.0]), dim=st.integers(1, 16), opposite=st.booleans(), **sizes)
def test_terms_stay_within_their_bounds(name, noise, dim, opposite, rows, modalities, seed):
    modalities = 3 if name == "triangle" else modalities
    z = vectors(rows, modalities, dim, seed, noise)
    if opposite:
        z[:, 0] = -z[:, 1]
    batch = Embeddings(z, mask(rows, modalities, seed), NAMES[:modalities])
    terms = build_objective(name)(batch)
    for term, (least, most) in BOUNDS[name].items():
        assert least - 1e-9 <= float(terms[term].detach()) <= most + 1e-9, term


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("pmrl detached", "unialign literal")])
def test_gradients_are_those_of_finite_differences(name):  # the two leave out a part of it on purpose
    objective, present = CASES[name]().double(), mask(4, 3, seed=3)

    def loss(raw):
        return total(objective(Embeddings(F.normalize(raw, dim=-1), present, NAMES[:3])))

    assert torch.autograd.gradcheck(loss, vectors(4, 3, 6, seed=5).requires_grad_(), atol=1e-5, rtol=1e-4)


@every_objective
def test_second_derivatives_are_refused(make):
    raw = vectors(4, 3, 8).requires_grad_()
    loss = total(make()(Embeddings(raw, torch.ones(4, 3, dtype=torch.bool), NAMES[:3])))
    with pytest.raises(GradientError, match="leave create_graph out"):
        torch.autograd.grad(loss, raw, create_graph=True)


@every_objective
def test_no_gradient_reaches_what_is_absent(make):
    raw = vectors(6, 3, 8).requires_grad_()
    present = mask(6, 3)
    total(make()(Embeddings(raw, present, NAMES[:3]))).backward()
    assert raw.grad[~present].abs().max() == 0
    assert raw.grad[present].abs().max() > 0


@every_objective
def test_gradients_stay_finite_in_the_corners(make):
    same = F.normalize(torch.ones(4, 3, 8), dim=-1)
    onehot = torch.eye(8)[:3].expand(4, 3, 8)
    opposite = torch.stack([same[:, 0], -same[:, 0], same[:, 0]], dim=1)
    for corner in (same, onehot, opposite, vectors(4, 1, 8).float().expand(4, 3, 8)):
        leaf = corner.clone().requires_grad_()
        loss = total(make()(Embeddings(leaf, torch.ones(4, 3, dtype=torch.bool), NAMES[:3])))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(leaf.grad).all()


@every_objective
def test_rows_of_a_group_do_not_push_each_other(make):
    objective = make()
    twins = embeddings(4, 3, missing=0.0)
    batch = Embeddings.cat([twins, twins])
    apart = total(objective(batch))
    grouped = total(objective(batch, torch.arange(4).repeat(2)))
    assert grouped < apart
    alone = torch.arange(8) * 10 - 5
    torch.testing.assert_close(total(objective(batch, alone)), apart)


@every_objective
def test_float32_inside_autocast_and_for_half_precision(make):
    objective = make()
    batch = embeddings(8, 3, 32).to(torch.float32)
    expected = objective(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(batch)
    for name in expected:
        assert inside[name].dtype == torch.float32
        assert torch.equal(inside[name], expected[name])
    half = objective(batch.to(torch.bfloat16))
    for name in expected:
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name], expected[name], rtol=0.05, atol=0.05)


@every_objective
def test_only_losses_carry_gradients(make):
    terms = make()(Embeddings(vectors(4, 3, 8).requires_grad_(), torch.ones(4, 3, dtype=torch.bool), NAMES[:3]))
    for name, value in terms.items():
        assert value.ndim == 0
        assert value.requires_grad == name.endswith("_loss"), name


@every_objective
def test_errors_name_what_is_wrong(make):
    objective, batch = make(), embeddings(4, 3, missing=0.0)
    for wrong, message in [
        (batch.rows(0), "1 rows with a modality"),
        (batch.select(["image"]), "only modality"),
        (Embeddings(batch.vectors, torch.eye(4, 3, dtype=torch.bool), NAMES[:3]), "no row has"),
    ]:
        with pytest.raises(InputError, match=message):
            objective(wrong)
    with pytest.raises(InputError, match="embeddings: Tensor; give Embeddings"):
        objective(batch.vectors)
    broken = embeddings(4, 3, missing=0.0)
    broken.vectors[1, 1, 0] = float("nan")
    with pytest.raises(InputError, match="not all values are finite"):
        objective(broken)
    for groups, message in [
        (torch.zeros(4, dtype=torch.long), "one group"),
        (torch.zeros(3, dtype=torch.long), r"shape \(4,\)"),
        (torch.zeros(4), "integer"),
        ([0, 1, 2, 3], "integer"),
    ]:
        with pytest.raises(InputError, match=message):
            objective(batch, groups)


def test_objectives_are_built_by_name():
    for name, kind in OBJECTIVES.items():
        built = build_objective(name)
        assert isinstance(built, kind) and isinstance(built, Objective)
    with pytest.raises(InputError, match="give one of pmrl, unialign, infonce, gram, triangle, symile, cs-aligner"):
        build_objective("nonesuch")
    with pytest.raises(InputError, match="tau9"):
        build_objective("pmrl", tau9=1.0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pmrl", {"tau1": 0.0}, "tau1"),
        ("pmrl", {"tau2": float("nan")}, "tau2"),
        ("pmrl", {"lambda_reg": -1.0}, "lambda_reg"),
        ("pmrl", {"direction": "both"}, "exact, detached"),
        ("unialign", {"kernel": "laplace"}, "clip, gaussian, geodesic"),
        ("unialign", {"anchor_mode": "fixed"}, "free, stop_gradient, frozen"),
        ("unialign", {"tau": "warm"}, "tau"),
        ("infonce", {"temperature": 0.001}, "0.01 or more"),
        ("infonce", {"temperature": -1.0}, "temperature"),
        ("gram", {"smoothing": 1.0}, "smoothing"),
        ("triangle", {"temperature": 0.0}, "temperature"),
        ("cs-aligner", {"bandwidth": 0.0}, "bandwidth"),
        ("symile", {"chunk_size": 0}, "chunk_size: 0"),
        ("pmrl", {"chunk_size": 1.5}, "chunk_size: 1.5"),
        ("pmrl", {"tau1": 1e-40}, "tau1: 1e-40 is too small; give a number of 1e-06 or more"),
        ("pmrl", {"tau2": 10**400}, "tau2"),
        ("pmrl", {"lambda_reg": 1e39}, "lambda_reg: 1e[+]39 is no finite number of float32"),
        ("cs-aligner", {"bandwidth": 1e-30}, "bandwidth"),
        ("unialign", {"kernel": "gaussian", "tau": 1e-25}, "tau"),
        ("unialign", {"lambda_vol": 1.0, "tau_center": 1e-25}, "tau_center"),
        ("infonce", {"temperature": 1e-40}, "temperature"),
        ("infonce", {"learnable": "x"}, "learnable: 'x' is neither True nor False"),
        ("symile", {"shuffle": 1}, "shuffle"),
        ("pmrl", {"reference": "yes"}, "reference"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        build_objective(name, **options)


@pytest.mark.parametrize(
    ("name", "option", "others"),
    [
        ("pmrl", "tau1", {}),
        ("pmrl", "tau2", {}),
        *(("unialign", "tau", {"kernel": kernel}) for kernel in ("clip", "gaussian", "geodesic")),
        ("unialign", "tau_center", {"lambda_vol": 1.0}),
        ("cs-aligner", "bandwidth", {}),
    ],
)
@pytest.mark.parametrize("value", [1e-6, 1e30])
def test_the_least_and_great_constants_keep_loss_and_gradient_finite(name, option, others, value):
    raw = vectors(6, 3, 16).float().requires_grad_()
    objective = build_objective(name, **{option: value}, **others)
    loss = total(objective(Embeddings(raw, torch.ones(6, 3, dtype=torch.bool), NAMES[:3])))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("number", [np.float16(0.5), np.float32(0.5), np.float64(0.5), np.int64(1), 1])
def test_numbers_of_numpy_are_numbers(number):
    assert build_objective("pmrl", tau1=number).tau1 == float(number)
    assert type(build_objective("unialign", tau=number).tau) is float
    assert GRAM(temperature=number).log_scale.item() == pytest.approx(-math.log(float(number)))


@pytest.mark.parametrize("name", ["unialign", "infonce", "gram", "triangle", "cs-aligner"])
def test_a_wrong_anchor_is_named(name):
    with pytest.raises(InputError, match=r"anchor 'video': not among the modalities; give one of image, text, audio"):
        build_objective(name, anchor="video")(embeddings())
