"""Objectives strip by strip: the same values and gradients, in memory that does not grow with the square of the batch."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
import torch.nn.functional as F
from objective_cases import NAMES, close, mask, total, vectors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unclip_mm.embeddings import Embeddings
from unclip_mm.objectives import GRAM, OBJECTIVES, TRIANGLE, InfoNCE, build_objective, chunks, kernels, search


def in_chunks(name, **options):
    return lambda size: build_objective(name, chunk_size=size, **options)


CHUNKED = {
    **{name: in_chunks(name) for name in OBJECTIVES},
    "unialign": in_chunks("unialign", lambda_vol=0.5),
    "unialign gaussian": in_chunks("unialign", kernel="gaussian", tau=0.5),
    "unialign geodesic": in_chunks("unialign", kernel="geodesic", tau=0.5),
}


def with_gradients(objective, groups=None):
    raw = vectors(11, 3, 8).requires_grad_()
    terms = objective.double()(Embeddings(F.normalize(raw, dim=-1), mask(11, 3), NAMES[:3]), groups)
    total(terms).backward()
    learnt = [p.grad for p in objective.parameters()]
    return terms, {"vectors": raw.grad, **{f"parameter {k}": grad for k, grad in enumerate(learnt)}}


@pytest.mark.parametrize("make", CHUNKED.values(), ids=CHUNKED.keys())
def test_chunks_change_neither_the_terms_nor_the_gradients(make):
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


KEPT = [(name, None, kernels, "_QUARTERED", 11) for name in CHUNKED if name.split()[0] in ("pmrl", "unialign")]
SEARCHED = [
    (name, size, search, "LARGEST_LOGIT", 0.0)
    for name in ("infonce", "gram", "triangle", "cs-aligner")
    for size in (None, 4)
]


@pytest.mark.parametrize(("name", "size", "module", "limit", "value"), KEPT + SEARCHED)
def test_a_kept_matrix_in_quarters_and_exponentials_relative_to_the_largest_are_the_same(
    name, size, module, limit, value, monkeypatch
):
    assert getattr(module, limit) > value
    for groups in (None, torch.tensor([0, 1, 2, 3, 0, 1, 4, 5, 6, 6, 7])):
        expected, expected_gradients = with_gradients(CHUNKED[name](size), groups)
        with monkeypatch.context() as context:
            context.setattr(module, limit, value)
            terms, gradients = with_gradients(CHUNKED[name](size), groups)
        close(expected, terms)
        close(expected_gradients, gradients)


@pytest.mark.parametrize("apart", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("temperature", [0.01, 0.03, 1 / 30, 0.04, 1.0])
@pytest.mark.parametrize("kind", [InfoNCE, GRAM, TRIANGLE])
def test_logits_of_any_size_are_as_good_in_float32(kind, temperature, apart):
    found = []
    for dtype in (torch.float64, torch.float32):
        raw = vectors(64, 3, 32, noise=apart).to(dtype).requires_grad_()
        batch = Embeddings(F.normalize(raw, dim=-1), torch.ones(64, 3, dtype=torch.bool), NAMES[:3])
        loss = total(kind(temperature=temperature).to(dtype)(batch))
        found.append((loss.detach().double(), torch.autograd.grad(loss, raw)[0].double()))
    (double, of_double), (single, of_single) = found
    torch.testing.assert_close(single, double, rtol=1e-4, atol=3e-5 / temperature)  # rounding of areas that are zero
    assert bool(of_single.isfinite().all())
    if kind is InfoNCE or apart == 1.0:  # where a volume is nearly zero its slope is rounding
        torch.testing.assert_close(of_single, of_double, rtol=2e-3, atol=1e-4 * float(of_double.abs().max()) + 1e-6)
