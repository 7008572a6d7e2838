from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import NAMES, embeddings, mask, vectors

from unclip_mm import diagnostics
from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError


def many(modalities: int, noise: float, rows: int = 512, dim: int = 128) -> Embeddings:
    """Modalities that share a direction, with mean positive cosine 1 / (1 + noise^2)."""
    z = vectors(rows, modalities, dim, noise=noise)
    return Embeddings(z, torch.ones(rows, modalities, dtype=torch.bool), tuple(f"m{k}" for k in range(modalities)))


def test_chi_is_zero_for_two_modalities():
    assert diagnostics.chi(many(2, 1.0), "m0") == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("modalities", "published"), [(3, 0.144), (4, 0.192), (8, 0.249)])
def test_chi_meets_its_bound(modalities, published):
    mu = 0.475
    batch = many(modalities, math.sqrt(1 / mu - 1))
    others = batch.select(batch.modalities[1:])
    measured = sum(diagnostics.pairwise_cosines(others).values()) / math.comb(modalities - 1, 2)
    assert measured == pytest.approx(mu, abs=0.01)
    value = diagnostics.chi(batch, "m0")
    bound = 1 - math.sqrt((1 + (modalities - 2) * measured) / (modalities - 1))
    assert bound <= value + 1e-12
    assert value == pytest.approx(bound, abs=0.003)
    assert value == pytest.approx(published, abs=0.015)


def test_zeta_grows_with_the_number_of_modalities():
    values = [diagnostics.zeta(many(m, 1.1, rows=128, dim=32), "m0") for m in (2, 4, 16)]
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.05


def test_zeta_and_chi_are_those_of_the_paper():
    batch, tau, w = embeddings(6, 3, missing=0.0), 0.3, {"text": 2.0, "audio": 0.5}
    z = batch.vectors
    cosines, conflicts = [], []
    for i in range(6):
        pull, push = torch.zeros(8).double(), torch.zeros(8).double()
        for n, name in ((1, "text"), (2, "audio")):
            p = (z[i, 0] @ z[:, n].T / tau).softmax(dim=0)
            pull += w[name] / tau * z[i, n]
            push += w[name] / tau * (p @ z[:, n])
        cosines.append(float(F.cosine_similarity(pull, push, dim=0)))
        conflicts.append(1 - float(pull.norm()) / (2.5 / tau))
    assert diagnostics.zeta(batch, "image", tau, w) == pytest.approx(sum(cosines) / 6)
    assert diagnostics.chi(batch, "image", w) == pytest.approx(sum(conflicts) / 6)


@pytest.mark.parametrize("measure", [diagnostics.zeta, diagnostics.chi])
def test_missing_modalities_fall_from_the_conflicts(measure):
    batch = embeddings(6, 3, missing=0.0)
    wider = Embeddings(
        torch.cat([batch.vectors, batch.vectors[:, :1]], dim=1),
        torch.cat([batch.present, torch.zeros(6, 1, dtype=torch.bool)], dim=1),
        (*batch.modalities, "nothing"),
    )
    assert measure(wider, "image") == pytest.approx(measure(batch, "image"))
    with pytest.raises(InputError, match="no row has it"):
        measure(wider, "nothing")
    with pytest.raises(InputError, match="not in these embeddings"):
        measure(batch, "video")
    with pytest.raises(InputError, match="weight of 'text'"):
        measure(batch, "image", weights={"text": -1.0})


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_hoelder_is_exactly_zero_for_identical_sets(modalities):
    x = vectors(32, 1, 16)
    names = tuple(f"m{k}" for k in range(modalities))
    same = Embeddings(x.expand(-1, modalities, -1), torch.ones(32, modalities, dtype=torch.bool), names)
    assert abs(diagnostics.hoelder_divergence(same)) < 1e-14
    permuted = Embeddings.from_dict({name: x[torch.randperm(32), 0] for name in names})
    assert diagnostics.hoelder_divergence(permuted) == pytest.approx(0.0, abs=1e-12)


def test_hoelder_of_two_is_half_the_cauchy_schwarz_divergence():
    x, y, tau = vectors(32, 1, 4, seed=1)[:, 0], F.normalize(vectors(48, 1, 4, seed=2)[:, 0] + 0.5, dim=-1), 0.5
    batch = Embeddings.cat([Embeddings.from_dict({"a": x}), Embeddings.from_dict({"b": y})])

    def potential(p, q):
        return torch.exp((p @ q.T - 1) / tau**2).mean().log()

    half = (potential(x, x) + potential(y, y) - 2 * potential(x, y)) / 2
    value = diagnostics.hoelder_divergence(batch, tau)
    assert value == pytest.approx(float(half))
    assert value > 0.01


def test_hoelder_grows_with_the_distance_of_the_sets():
    x = vectors(64, 1, 8)[:, 0]
    shift = torch.eye(8, dtype=torch.float64)[0]
    values = [
        diagnostics.hoelder_divergence(Embeddings.from_dict({"a": x, "b": F.normalize(x + s * shift, dim=-1), "c": x}))
        for s in (0.0, 0.5, 1.0, 2.0)
    ]
    assert values == sorted(values) and values[0] == 0.0 and values[-1] > 0.5


def test_alignment_uniformity_gap_and_cosines_against_loops():
    batch = embeddings(7, 3, missing=0.4)
    z, there = batch.vectors, batch.present
    distances, cosines, centers = [], {}, {}
    for m, n in ((0, 1), (0, 2), (1, 2)):
        rows = [i for i in range(7) if there[i, m] and there[i, n]]
        pair = (batch.modalities[m], batch.modalities[n])
        distances += [float((z[i, m] - z[i, n]).square().sum()) for i in rows]
        cosines[pair] = sum(float(z[i, m] @ z[i, n]) for i in rows) / len(rows)
        centers[pair] = float((z[rows, m].mean(dim=0) - z[rows, n].mean(dim=0)).norm())
    assert diagnostics.alignment(batch) == pytest.approx(sum(distances) / len(distances))
    assert diagnostics.pairwise_cosines(batch) == pytest.approx(cosines)
    assert diagnostics.centroid_gap(batch) == pytest.approx(centers)
    for m, name in enumerate(batch.modalities):
        x = z[there[:, m], m]
        squares = torch.pdist(x).square()
        assert diagnostics.uniformity(batch)[name] == pytest.approx(float(torch.exp(-2 * squares).mean().log()))


def test_effective_rank_counts_the_dimensions_in_use():
    flat = F.normalize(torch.cat([torch.randn(400, 3), torch.zeros(400, 13)], dim=1), dim=-1)
    line = torch.eye(16)[:1].expand(400, -1)
    ranks = diagnostics.effective_rank(Embeddings.from_dict({"flat": flat, "line": line}))
    assert 2.9 < ranks["flat"] < 3.01
    assert ranks["line"] == pytest.approx(1.0, abs=1e-3)


def test_no_gradient_and_clear_errors():
    batch = Embeddings(vectors(4, 2, 8).requires_grad_(), torch.eye(4, 2, dtype=torch.bool), ("text", "image"))
    assert isinstance(diagnostics.hoelder_divergence(batch), float)
    for measure in (diagnostics.alignment, diagnostics.centroid_gap, diagnostics.pairwise_cosines):
        with pytest.raises(InputError, match="no row has two modalities"):
            measure(batch)
    with pytest.raises(InputError, match="'text': present in 1 rows; give 2 or more"):
        diagnostics.uniformity(batch)
    with pytest.raises(InputError, match="only modality"):
        diagnostics.hoelder_divergence(batch.select(["text"]))
    for call in (lambda: diagnostics.hoelder_divergence(batch, 0.0), lambda: diagnostics.uniformity(batch, t=-1.0)):
        with pytest.raises(InputError, match="too small; give a number of 1e-06 or more"):
            call()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(3, 12),
    modalities=st.integers(2, 5),
    dim=st.integers(1, 12),
    noise=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_figures_stay_within_their_bounds(rows, modalities, dim, noise, seed):
    batch = Embeddings(vectors(rows, modalities, dim, seed, noise), mask(rows, modalities, seed), NAMES[:modalities])
    there = dict(zip(batch.modalities, batch.present.sum(dim=0).tolist(), strict=True))

    def within(value, least, most):
        assert least - 1e-9 <= value <= most + 1e-9

    within(diagnostics.zeta(batch, "image"), -1, 1)
    within(diagnostics.chi(batch, "image"), 0, 1)
    within(diagnostics.alignment(batch), 0, 4)
    for value in diagnostics.pairwise_cosines(batch).values():
        within(value, -1, 1)
    for value in diagnostics.centroid_gap(batch).values():
        within(value, 0, 2)
    for value in diagnostics.uniformity(batch).values():  # t times the square of a diameter
        within(value, -8, 0)
    for name, value in diagnostics.effective_rank(batch).items():
        within(value, 1, min(there[name], dim))
    if modalities == 2:  # then it is the inequality of Cauchy and Schwarz
        within(diagnostics.hoelder_divergence(batch), 0, math.inf)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.integers(1, 12), modalities=st.integers(2, 6), dim=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_chi_is_the_bound_of_the_rows_own_cosines(rows, modalities, dim, seed):
    # of one row exactly 1 - sqrt((1 + (M - 2) mu) / (M - 1)), and of the mean of rows no less, for the root is concave
    batch = Embeddings(
        vectors(rows, modalities, dim, seed),
        torch.ones(rows, modalities, dtype=torch.bool),
        tuple("abcdef"[:modalities]),
    )
    mu = 0.0
    if modalities > 2:
        others = diagnostics.pairwise_cosines(batch.select(batch.modalities[1:])).values()
        mu = sum(others) / len(others)
    bound = 1 - math.sqrt(max(1 + (modalities - 2) * mu, 0.0) / (modalities - 1))
    assert diagnostics.chi(batch, "a") >= bound - 1e-9
    if rows == 1:
        assert diagnostics.chi(batch, "a") == pytest.approx(bound, abs=1e-7)


MEASURES = {
    "zeta": lambda batch: diagnostics.zeta(batch, "image"),
    "chi": lambda batch: diagnostics.chi(batch, "image"),
    "hoelder_divergence": diagnostics.hoelder_divergence,
    "hoelder_baseline": diagnostics.hoelder_baseline,
    "alignment": diagnostics.alignment,
    "uniformity": diagnostics.uniformity,
    "centroid_gap": diagnostics.centroid_gap,
    "pairwise_cosines": diagnostics.pairwise_cosines,
    "effective_rank": diagnostics.effective_rank,
    "summary": lambda batch: diagnostics.summary(batch, "image"),
}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())


@every_measure
def test_float32_inside_autocast(measure):
    assert set(MEASURES) == set(diagnostics.__all__)
    batch = embeddings(16, 3, 32, missing=0.0).to(torch.float32)
    expected = measure(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measure(batch) == expected


@every_measure
def test_what_is_no_embeddings_or_not_finite_is_refused(measure):
    with pytest.raises(InputError, match="embeddings: Tensor; give Embeddings"):
        measure(torch.eye(3))
    for value in (math.nan, math.inf):
        broken = embeddings(6, 3, missing=0.0)
        broken.vectors[1, 1, 0] = value
        with pytest.raises(InputError, match="not all values are finite"):
            measure(broken)


@pytest.mark.parametrize("wrong", ["x", None, math.nan, 1e-30, True])
def test_wrong_constants_are_refused(wrong):
    batch = embeddings(6, 3, missing=0.0)
    for call in (
        lambda: diagnostics.zeta(batch, "image", tau=wrong),
        lambda: diagnostics.hoelder_divergence(batch, tau=wrong),
        lambda: diagnostics.hoelder_baseline(batch, tau=wrong),
        lambda: diagnostics.uniformity(batch, t=wrong),
    ):
        with pytest.raises(InputError, match=r"^(tau|t): "):
            call()


def test_hoelder_of_three_depends_on_which_is_the_first_and_of_two_does_not():
    batch = embeddings(32, 3, missing=0.0)
    turned = batch.select(batch.modalities[::-1])
    assert diagnostics.hoelder_divergence(batch) != pytest.approx(diagnostics.hoelder_divergence(turned), rel=1e-3)
    two, other = batch.select(["image", "text"]), batch.select(["text", "image"])
    assert diagnostics.hoelder_divergence(two) == pytest.approx(diagnostics.hoelder_divergence(other))


def test_leaving_one_out_is_the_estimate_without_the_point_itself():
    batch, tau = embeddings(7, 2, missing=0.0), 0.5
    x, y = batch["image"], batch["text"]

    def density(a, b, skip):
        k = torch.exp(-torch.cdist(a, b).square() / (2 * tau**2))
        return (k.sum(dim=1) - 1) / (len(b) - 1) if skip else k.mean(dim=1)

    mixed = density(x, y, False).mean().log()
    expected = ((density(x, x, True).mean().log() + density(y, y, True).mean().log()) / 2) - mixed
    assert diagnostics.hoelder_divergence(batch, tau, leave_one_out=True) == pytest.approx(float(expected))
    assert diagnostics.hoelder_divergence(batch, tau) > diagnostics.hoelder_divergence(batch, tau, leave_one_out=True)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_the_baseline_is_what_equal_distributions_show(missing):
    z = vectors(400, 3, 6, noise=2.0)
    shift = torch.tensor([2.0, 0, 0, 0, 0, 0]).double()
    z[:, 1] = F.normalize(z[:, 1] + shift, dim=-1)
    present = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) >= missing
    present[:, 0] = True
    apart = Embeddings(z, present, ("image", "text", "audio"))
    baseline = diagnostics.hoelder_baseline(apart)
    assert abs(baseline) < 0.1 * diagnostics.hoelder_divergence(apart)
    assert diagnostics.hoelder_baseline(apart, seed=1) == pytest.approx(baseline, abs=0.05)
    same = Embeddings(vectors(400, 3, 6, noise=2.0), torch.ones(400, 3, dtype=torch.bool), apart.modalities)
    assert diagnostics.hoelder_baseline(same) == pytest.approx(diagnostics.hoelder_divergence(same), abs=0.02)


def test_the_summary_has_every_figure() -> None:
    batch = embeddings(seed=3)
    figures = diagnostics.summary(batch, NAMES[0])
    gaps, cosines = diagnostics.centroid_gap(batch), diagnostics.pairwise_cosines(batch)
    expected = {
        "zeta": diagnostics.zeta(batch, NAMES[0]),
        "chi": diagnostics.chi(batch, NAMES[0]),
        "hoelder": diagnostics.hoelder_divergence(batch, leave_one_out=True),
        "hoelder_baseline": diagnostics.hoelder_baseline(batch, leave_one_out=True),
        "alignment": diagnostics.alignment(batch),
        "gap": sum(gaps.values()) / len(gaps),
        "cosine": sum(cosines.values()) / len(cosines),
    }
    for name in batch.modalities:
        expected[f"uniformity_{name}"] = diagnostics.uniformity(batch)[name]
        expected[f"rank_{name}"] = diagnostics.effective_rank(batch)[name]
    assert figures == pytest.approx(expected)
