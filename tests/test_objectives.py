"""What holds for every objective: symmetries, masks, groups, precision, gradients, errors."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import NAMES, embeddings, mask, total, vectors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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
    chunks,
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


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


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


CHUNKED = {
    "pmrl": lambda size: PMRL(chunk_size=size),
    "unialign": lambda size: UniAlign(lambda_vol=0.5, chunk_size=size),
    "unialign gaussian": lambda size: UniAlign(kernel="gaussian", tau=0.5, chunk_size=size),
    "unialign geodesic": lambda size: UniAlign(kernel="geodesic", tau=0.5, chunk_size=size),
    "infonce": lambda size: InfoNCE(chunk_size=size),
    "gram": lambda size: GRAM(chunk_size=size),
    "triangle": lambda size: TRIANGLE(chunk_size=size),
    "symile": lambda size: Symile(chunk_size=size),
    "cs-aligner": lambda size: CSAligner(chunk_size=size),
}


def with_gradients(objective, groups=None):
    raw = vectors(11, 3, 8).requires_grad_()
    terms = objective.double()(Embeddings(F.normalize(raw, dim=-1), mask(11, 3), NAMES[:3]), groups)
    total(terms).backward()
    learnt = [p.grad for p in objective.parameters()]
    return terms, {"vectors": raw.grad, **{f"parameter {k}": grad for k, grad in enumerate(learnt)}}


@pytest.mark.parametrize("make", CHUNKED.values(), ids=CHUNKED.keys())
def test_chunks_change_neither_the_terms_nor_the_gradients(make):
    assert {name.split()[0] for name in CHUNKED} == set(OBJECTIVES)
    for groups in (None, torch.tensor([0, 1, 2, 3, 0, 1, 4, 5, 6, 6, 7])):
        terms, gradients = with_gradients(make(None), groups)
        for size in (1, 4, 11, 50):
            chunked, chunked_gradients = with_gradients(make(size), groups)
            close(terms, chunked)
            close(gradients, chunked_gradients)


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("make", CHUNKED.values(), ids=CHUNKED.keys())
def test_gradients_in_float32_are_those_of_float64_also_a_second_time(make, size):
    found = {}
    for dtype in (torch.float64, torch.float32):
        raw = vectors(100, 3, 48).to(dtype).requires_grad_()
        objective = make(size).to(dtype)
        terms = objective(Embeddings(F.normalize(raw, dim=-1), mask(100, 3), NAMES[:3]), torch.arange(100) // 2)
        leaves = [raw, *objective.parameters()]
        found[dtype] = torch.autograd.grad(total(terms), leaves, retain_graph=True)
        again = torch.autograd.grad(total(terms), leaves)  # what one pass used up is made again
        torch.testing.assert_close(again, found[dtype], rtol=1e-5, atol=1e-7)
    for single, double in zip(found[torch.float32], found[torch.float64], strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-5 * float(double.abs().max()) + 1e-7)


class Allocations(TorchDispatchMode):
    """Notes how many numbers each tensor has that an operation makes, and not only writes to or looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = [0]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in given:
                self.numbers.append(value.untyped_storage().nbytes() // value.element_size())
        return result


def allocations(objective, rows, dim=4, groups=None):
    raw = vectors(rows, 3, dim).float().requires_grad_()
    with Allocations() as made:
        total(objective(Embeddings(raw, torch.ones(rows, 3, dtype=torch.bool), NAMES[:3]), groups)).backward()
    return made.numbers


@pytest.mark.parametrize("make", CHUNKED.values(), ids=CHUNKED.keys())
def test_chunks_never_hold_a_square_of_the_batch(make, monkeypatch):
    rows = 256
    for size, cached, square in ((16, rows * rows, False), (None, rows * rows, True), (None, 16 * rows, False)):
        monkeypatch.setattr(chunks, "_CACHED", cached)
        largest = max(allocations(make(size), rows))
        assert (largest >= rows * rows) is square, largest


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["infonce", "gram", "triangle", "symile", "cs-aligner"])
def test_chunks_are_compared_in_the_same_memory(name, grouped, monkeypatch):
    # what is freed is not always given back or used again, so that strips made anew take the memory of a square
    rows, size = 1024, 16
    monkeypatch.setattr(chunks, "_CACHED", size * rows // 16)  # of a product, which gives back at once what it takes
    made = allocations(CHUNKED[name](size), rows, groups=torch.arange(rows) // 2 if grouped else None)
    assert 0 < sum(numbers for numbers in made if numbers >= size * rows) < rows * rows


def peak(run) -> int:
    """The most bytes that are held at a time of what ``run`` allocates."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


@pytest.mark.parametrize("name", [name for name in CHUNKED if name not in ("unialign", "unialign geodesic")])
def test_what_is_held_is_little_more_than_the_gradient_and_its_parts(name, monkeypatch):
    # Strips are as large, beside the vectors of a modality, as those of 65,536 rows of 512 in chunks of 256, where twelve
    # times a modality are 1.5 GB. The volume of UniAlign and the geodesic kernel take more, for they are autograd's.
    rows, dim, objective = 1024, 128, CHUNKED[name](64)
    monkeypatch.setattr(chunks, "_CACHED", rows * dim // 8)
    modalities = 3 if isinstance(objective, TRIANGLE) else 5
    raw = vectors(rows, modalities, dim).float().requires_grad_()
    batch = Embeddings(raw, torch.ones(rows, modalities, dtype=torch.bool), NAMES[:modalities])
    held = peak(lambda: total(objective(batch)).backward()) / (4 * rows * dim)
    assert modalities < held < 12


@pytest.mark.parametrize("make", CHUNKED.values(), ids=CHUNKED.keys())
def test_a_large_batch_is_compared_in_strips_without_being_asked(make, monkeypatch):
    expected, expected_gradients = with_gradients(make(None))
    monkeypatch.setattr(chunks, "_CACHED", 40)  # three rows of eleven
    terms, gradients = with_gradients(make(None))
    close(expected, terms)
    close(expected_gradients, gradients)


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
