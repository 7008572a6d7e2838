from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import linalg

from unclip_mm.errors import InputError
from unclip_mm.metrics import (
    concept_accuracy,
    frechet_distance,
    kernel_distance,
    nearest_cosines,
    recall_at_k,
    retrieval_ranks,
    spread,
)


def gaussian(rows: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, width)) @ generator.normal(size=(width, width)) + shift


def textbook_frechet(a: np.ndarray, b: np.ndarray) -> float:
    root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False))
    spread = np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * np.real(root))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread)


@pytest.mark.parametrize(("rows_a", "rows_b"), [(200, 300), (40, 60), (9, 200)])
def test_frechet_equals_the_matrix_root(rows_a: int, rows_b: int) -> None:
    a, b = gaussian(rows_a, 6, 0), gaussian(rows_b, 6, 1, shift=0.7)
    assert math.isclose(frechet_distance(a, b), textbook_frechet(a, b), rel_tol=1e-6)


def test_frechet_of_known_gaussians() -> None:
    """Isotropic N(0, 1) and N(1, 4) in 3 dimensions: 3 * 1 + 3 * (2 - 1)^2 = 6."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40_000, 3, generator=generator)
    b = torch.randn(40_000, 3, generator=generator) * 2 + 1
    assert abs(frechet_distance(a, b) - 6) < 0.15


def test_frechet_with_fewer_samples_than_dimensions() -> None:
    a, b = torch.from_numpy(gaussian(20, 200, 0)).float(), torch.from_numpy(gaussian(30, 200, 1)).float()
    distance = frechet_distance(a, b)
    assert math.isfinite(distance) and distance > 0
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_frechet_bias_falls_with_samples_and_kernel_has_none() -> None:
    def mean(measure, rows: int) -> float:
        values = [measure(gaussian_iid(rows, 2 * seed), gaussian_iid(rows, 2 * seed + 1)) for seed in range(40)]
        return float(np.mean(values))

    def gaussian_iid(rows: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(rows, 10))

    assert mean(frechet_distance, 12) > 2 * mean(frechet_distance, 60) > 0
    values = [kernel_distance(gaussian_iid(12, 2 * s), gaussian_iid(12, 2 * s + 1)) for s in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_kernel_equals_the_sum_over_pairs() -> None:
    a, b = gaussian(5, 4, 0), gaussian(7, 4, 1)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within_a = np.mean([kernel(a[i], a[j]) for i in range(5) for j in range(5) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(7) for j in range(7) if i != j])
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * between, rel=1e-9)


def test_recall_counts_any_target_of_the_label() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]])
    queries = torch.tensor([[0.9, 0.2], [0.0, 2.0]])
    assert retrieval_ranks(queries, targets, ["b", "b"], ["a", "b", "b"]).tolist() == [2, 1]
    assert recall_at_k(queries, targets, ["b", "b"], ["a", "b", "b"], ks=(1, 2)) == {1: 0.5, 2: 1.0}


def test_ties_count_against_the_query() -> None:
    same = torch.ones(10, 4)
    assert recall_at_k(same, same, range(10), range(10), ks=(1, 5, 10)) == {1: 0.0, 5: 0.0, 10: 1.0}
    duplicates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert recall_at_k(duplicates[:1], duplicates, ["a"], ["a", "a", "b"]) == {1: 1.0, 5: 1.0, 10: 1.0}


def test_a_query_can_leave_itself_out() -> None:
    pictures, names = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "cat", "dog"]
    assert retrieval_ranks(pictures, pictures, names, names).tolist() == [1, 1, 1]
    assert retrieval_ranks(pictures, pictures, names, names, skip=range(3)).tolist() == [1, 1, 4]
    assert concept_accuracy(pictures, names, pictures, names, k=10, skip=range(3)) == pytest.approx(2 / 3)


def test_recall_is_the_same_in_chunks_and_for_numpy() -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(1100, 16, generator=generator)
    queries = targets + torch.randn(1100, 16, generator=generator)
    labels = list(range(1100))
    whole = recall_at_k(queries, targets, labels, labels)
    cosines = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(targets, dim=1).T
    expected = (cosines.topk(5).indices == torch.arange(1100)[:, None]).any(1).double().mean()
    assert whole[5] == pytest.approx(float(expected), abs=1e-9)
    assert recall_at_k(queries.numpy(), targets.numpy(), labels, labels) == whole
    assert whole[1] <= whole[5] <= whole[10]


def test_concept_accuracy_top_k() -> None:
    gallery, names = torch.eye(3), ["cat", "dog", "car"]
    made = torch.tensor([[1.0, 0.2, 0.0], [1.0, 0.5, 0.0]])
    assert concept_accuracy(made, ["cat", "dog"], gallery, names) == 0.5
    assert concept_accuracy(made, ["cat", "dog"], gallery, names, k=2) == 1.0


def test_any_of_some_labels_counts_by_the_nearest_of_them() -> None:
    gallery, names = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), "abc"
    made = torch.tensor([[1.0, 0.1], [0.1, 1.0]])

    def share(first: str, second: str, k: int) -> float:
        return concept_accuracy(made, [frozenset(first), frozenset(second)], gallery, names, k)

    assert share("b", "b", 1) == 0.0 == concept_accuracy(made, "bb", gallery, names, 1)
    assert share("bc", "ca", 1) == 0.5 and share("bc", "ca", 2) == 1.0
    assert share("az", "abc", 1) == 1.0  # there is no z
    with pytest.raises(InputError, match="has no target"):
        share("z", "a", 1)


def test_spread_is_the_mean_distance_of_pairs_and_then_of_labels() -> None:
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    labels = ["a", "b", "a", "c", "b", "a", "c", "c", "alone"]
    cosines = F.cosine_similarity(rows[:, None].double(), rows[None].double(), dim=-1)
    means = []
    for label in "abc":
        own = [n for n, other in enumerate(labels) if other == label]
        means.append(
            sum(1.0 - float(cosines[i, j]) for i in own for j in own if i < j) / (len(own) * (len(own) - 1) / 2)
        )
    assert spread(rows, labels) == pytest.approx(sum(means) / 3)
    assert spread(3.0 * rows.numpy(), labels) == pytest.approx(sum(means) / 3)


def test_nearest_cosines_of_the_same_set_are_one() -> None:
    rows = torch.randn(600, 8, generator=torch.Generator().manual_seed(2))
    assert nearest_cosines(rows, rows).allclose(torch.ones(600).double())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread(torch.eye(3), "ab"), "labels: 2 for 3 rows of features"),
        (lambda: spread(torch.eye(3), "abc"), "labels: no two rows have the same"),
        (lambda: recall_at_k(torch.eye(2), torch.eye(3), "ab", "abc"), "queries have 2 dimensions and targets 3"),
        (lambda: recall_at_k(torch.eye(2), torch.eye(2), "ac", "ab"), "'c' has no target"),
        (lambda: recall_at_k(torch.eye(2), torch.eye(2), "a", "ab"), "give one for each"),
        (lambda: recall_at_k(torch.eye(2), torch.eye(2), "ab", "ab", ks=(0,)), "cut-offs of 1 or more"),
        (lambda: recall_at_k(torch.eye(2), torch.eye(2), "ab", "ab", skip=[0, 2]), "target number from 0 to 1"),
        (lambda: recall_at_k(torch.zeros(1, 2), torch.eye(2), "a", "ab"), "row 0 is all zero"),
        (lambda: recall_at_k(torch.empty(0, 2), torch.eye(2), "", "ab"), "one of each or more"),
        (lambda: concept_accuracy(torch.full((1, 2), math.nan), "a", torch.eye(2), "ab"), "NaN or infinite"),
        (lambda: frechet_distance(torch.eye(3)[:1], torch.eye(3)), "a: 1 row has no spread"),
        (lambda: frechet_distance(torch.eye(3), torch.eye(2)), "features of the same network"),
        (lambda: kernel_distance(torch.eye(3), torch.eye(3)[0]), "is not (rows, dimensions)"),
        (lambda: nearest_cosines(torch.eye(3), torch.eye(2)), "give the same"),
    ],
)
def test_errors_name_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
