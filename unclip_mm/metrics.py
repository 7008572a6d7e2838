"""Measures of retrieval between modalities and of generated images, on any features.

Nothing here knows a model: the functions take arrays of features (torch tensors or numpy arrays, any float type) and
labels, and compute in float64. Which network the features come from is the caller's choice; figures from different
networks cannot be compared.

    recall_at_k         does a query find a target of its own label among its k nearest?
    frechet_distance    distance of two feature clouds as Gaussians (FID when the features are Inception's)
    kernel_distance     the same question without the Gaussian assumption and without bias (KID)
    concept_accuracy    is the nearest real image of the concept that was asked for?
    nearest_cosines     how near is the nearest of some other features, such as those of the training images?
    spread              how much do images of one thing, or of one prompt, differ?
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unclip_mm.errors import InputError

Features = Any  # (N, F) torch tensor or numpy array
Labels = Sequence[Hashable]
"""One a row. A query's may be a ``frozenset``: any of its members is right, and those without a target are passed over."""

_CHUNK = 512


def recall_at_k(
    queries: Features,
    targets: Features,
    query_labels: Labels,
    target_labels: Labels,
    ks: Sequence[int] = (1, 5, 10),
    skip: Sequence[int] | None = None,
) -> dict[int, float]:
    """Share of the queries with a target of their own label among the ``k`` nearest by cosine.

    Ties count against the query: a target of another label that is exactly as near as the best right one stands
    before it, so that a collapsed encoder, which maps everything to one point, scores 0 and not 1.

    Args:
        queries: (N, D) features; need not be of unit norm.
        targets: (M, D) features.
        query_labels: N labels; each must occur among ``target_labels``.
        target_labels: M labels; a label may occur several times.
        ks: the cut-offs, each 1 or more; a cut-off above M means "anywhere".
        skip: for each query the number of a target that is left out, such as the query itself.

    Returns:
        {k: share in [0, 1]} in the order of ``ks``.

    Raises:
        InputError: shapes that do not fit, features that are not finite or zero, a label without target, k < 1.

    Example:
        >>> recall_at_k(torch.eye(3), torch.eye(3)[[0, 2, 1]], "abc", "acb", ks=(1,))
        {1: 1.0}
        >>> recall_at_k(torch.eye(3), torch.eye(3), "abc", "bac", ks=(1, 2, 3))
        {1: 0.3333333333333333, 2: 0.3333333333333333, 3: 1.0}
        >>> recall_at_k(torch.eye(3), torch.eye(3), [frozenset("ab"), frozenset("b"), "c"], "bac", ks=(1,))
        {1: 0.6666666666666666}
    """
    bad = [k for k in ks if k < 1]
    if bad or not ks:
        raise InputError(f"ks: {list(ks)} must hold cut-offs of 1 or more")
    ranks = retrieval_ranks(queries, targets, query_labels, target_labels, skip)
    return {int(k): float((ranks <= min(k, len(targets))).double().mean()) for k in ks}


def retrieval_ranks(
    queries: Features,
    targets: Features,
    query_labels: Labels,
    target_labels: Labels,
    skip: Sequence[int] | None = None,
) -> Tensor:
    """Place (1 = first) of the nearest target of the query's label, ties counted against the query.

    Args:
        queries: (N, D) features.
        targets: (M, D) features.
        query_labels: N labels; each, or a member of each, must occur among ``target_labels``.
        target_labels: M labels.
        skip: for each query the number of a target that is left out, such as the query itself.

    Returns:
        (N,) int64 ranks in [1, M]; M + 1 where every target of the label is left out.

    Raises:
        InputError: as :func:`recall_at_k`.

    Example:
        >>> retrieval_ranks([[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], "a", "bab").tolist()
        [2]
    """
    query_vectors, target_vectors = _unit("queries", queries), _unit("targets", targets)
    if query_vectors.shape[1] != target_vectors.shape[1]:
        raise InputError(
            f"queries have {query_vectors.shape[1]} dimensions and targets {target_vectors.shape[1]}; give the same"
        )
    wanted, target_codes = _codes(query_labels, target_labels, len(query_vectors), len(target_vectors))
    left_out = None if skip is None else torch.as_tensor(list(skip), dtype=torch.int64)
    if left_out is not None and (
        len(left_out) != len(query_vectors) or bool(((left_out < 0) | (left_out >= len(target_vectors))).any())
    ):
        raise InputError(f"skip: give one target number from 0 to {len(target_vectors) - 1} for each query")
    ranks = []
    for start in range(0, len(query_vectors), _CHUNK):
        cosines = query_vectors[start : start + _CHUNK] @ target_vectors.T
        right = wanted[start : start + _CHUNK][:, target_codes]
        if left_out is not None:
            rows = torch.arange(len(cosines))
            cosines[rows, left_out[start : start + _CHUNK]] = -torch.inf
        best = cosines.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        before = (~right) & (cosines >= best - 1e-12)
        lost = len(target_vectors) + 1
        ranks.append(torch.where(best[:, 0].isinf(), lost, 1 + before.sum(dim=1)))
    return torch.cat(ranks)


def concept_accuracy(
    generated_features: Features,
    concepts: Labels,
    gallery_features: Features,
    gallery_concepts: Labels,
    k: int = 1,
    skip: Sequence[int] | None = None,
) -> float:
    """Share of generated images with a real image of the asked concept among their ``k`` nearest by cosine.

    Args:
        generated_features: (N, F) features of the generated images.
        concepts: N concepts that were asked for, or frozensets of those that are right; each, or one of each, must have
            a real image in the gallery.
        gallery_features: (M, F) features of real images, best of every concept, split and style.
        gallery_concepts: M concepts of the real images.
        k: how many nearest real images may hold the concept, 1 or more.
        skip: for each image the number of a real image that is left out, such as the one it was decoded from.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: as :func:`recall_at_k`.

    Example:
        >>> concept_accuracy([[1.0, 0.1], [0.9, 0.2]], ["cat", "dog"], [[1.0, 0.0], [0.0, 1.0]], ["cat", "dog"])
        0.5
    """
    return recall_at_k(generated_features, gallery_features, concepts, gallery_concepts, ks=(k,), skip=skip)[k]


def frechet_distance(a: Features, b: Features) -> float:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    ``|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. The trace of the root is computed from the singular
    values of ``A B^T``, where A and B are the centred features divided by ``sqrt(N - 1)``: they are the roots of the
    eigenvalues of ``C_a C_b``, without forming a covariance. This needs no matrix root, holds for fewer samples than
    dimensions (where the covariances are singular), and never gives complex numbers.

    The estimate is biased upwards, the more the fewer samples: two draws of the same distribution with N < F are far
    from 0. Compare only figures with the same N of generated and of real images, and give them as ratios of such
    figures; for a figure without this bias see :func:`kernel_distance`.

    Args:
        a: (N, F) features, N of 2 or more.
        b: (M, F) features, M of 2 or more.

    Returns:
        The distance, 0 or more.

    Raises:
        InputError: fewer than two rows, different widths, values that are not finite.

    Example:
        >>> x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x, x), 6), round(frechet_distance(x, x + 0.5), 6)
        (0.0, 2.0)
    """
    x, y = _pair(a, b)
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    root_x = (x - mean_x) / (len(x) - 1) ** 0.5
    root_y = (y - mean_y) / (len(y) - 1) ** 0.5
    cross = torch.linalg.svdvals(_small(root_x) @ _small(root_y).T).sum()
    distance = (mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * cross
    return max(float(distance), 0.0)


def kernel_distance(a: Features, b: Features) -> float:
    """Squared maximum mean discrepancy under the kernel ``(x . y / F + 1)^3``, unbiased (KID on the whole sets).

    Its expectation is 0 for two draws of the same distribution whatever the number of samples, so single values may
    be slightly negative.

    Args:
        a: (N, F) features, N of 2 or more.
        b: (M, F) features, M of 2 or more.

    Returns:
        The distance; may be slightly below 0.

    Raises:
        InputError: fewer than two rows, different widths, values that are not finite.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(300, 8, generator=g), torch.randn(300, 8, generator=g)
        >>> abs(kernel_distance(x, y)) < 0.05 < kernel_distance(x, y + 1)
        True
    """
    x, y = _pair(a, b)
    n, m, width = len(x), len(y), x.shape[1]

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / width + 1) ** 3

    within_x, within_y = kernel(x, x), kernel(y, y)
    mean_x = (within_x.sum() - within_x.trace()) / (n * (n - 1))
    mean_y = (within_y.sum() - within_y.trace()) / (m * (m - 1))
    return float(mean_x + mean_y - 2 * kernel(x, y).mean())


def nearest_cosines(queries: Features, targets: Features) -> Tensor:
    """Cosine of every query to its nearest target.

    Args:
        queries: (N, F) features.
        targets: (M, F) features.

    Returns:
        (N,) float64 cosines in [-1, 1].

    Raises:
        InputError: shapes that do not fit, features that are not finite or zero.

    Example:
        >>> nearest_cosines([[3.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]).tolist()
        [1.0]
    """
    x, y = _unit("queries", queries), _unit("targets", targets)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"queries have {x.shape[1]} dimensions and targets {y.shape[1]}; give the same")
    return torch.cat([(part @ y.T).amax(dim=1) for part in x.split(_CHUNK)])


def spread(features: Features, labels: Labels) -> float:
    """How much rows of one label differ: the mean of 1 - cosine over their pairs, and then over the labels.

    Args:
        features: (N, D); need not be of unit norm.
        labels: N labels; those with a single row do not count.

    Returns:
        From 0, where all rows of a label point the same way, to 2.

    Raises:
        InputError: shapes that do not fit, features that are not finite or zero, no label with two rows.

    Example:
        >>> spread(torch.eye(3), "aab"), spread(torch.eye(3)[[1, 1]], "aa")
        (1.0, 0.0)
    """
    unit = _unit("features", features)
    if len(labels) != len(unit):
        raise InputError(f"labels: {len(labels)} for {len(unit)} rows of features; give one a row")
    rows: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    means = []
    for of_label in rows.values():
        count = len(of_label)
        if count > 1:  # of unit vectors the sum of all cosines is the square of their sum
            together = unit[of_label].sum(dim=0).square().sum()
            means.append(1.0 - (together - count) / (count * (count - 1)))
    if not means:
        raise InputError("labels: no two rows have the same; there is nothing to compare")
    return float(torch.stack(means).mean().clamp(min=0.0))


def _small(rows: Tensor) -> Tensor:
    """A square (F, F) factor with the same rows^T rows when there are more rows than dimensions."""
    if len(rows) <= rows.shape[1]:
        return rows
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    return values.clamp(min=0).sqrt()[:, None] * vectors.T


def _matrix(name: str, features: Features) -> Tensor:
    tensor = torch.as_tensor(np.asarray(features) if not isinstance(features, Tensor) else features)
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise InputError(f"{name}: shape {tuple(tensor.shape)} is not (rows, dimensions) with one of each or more")
    tensor = tensor.detach().cpu().double()
    if not bool(tensor.isfinite().all()):
        raise InputError(f"{name}: holds values that are NaN or infinite; give finite features")
    return tensor


def _unit(name: str, features: Features) -> Tensor:
    tensor = _matrix(name, features)
    norms = tensor.norm(dim=1, keepdim=True)
    if bool((norms == 0).any()):
        raise InputError(f"{name}: row {int((norms[:, 0] == 0).nonzero()[0])} is all zero and has no direction")
    return tensor / norms


def _pair(a: Features, b: Features) -> tuple[Tensor, Tensor]:
    x, y = _matrix("a", a), _matrix("b", b)
    for name, tensor in (("a", x), ("b", y)):
        if len(tensor) < 2:
            raise InputError(f"{name}: {len(tensor)} row has no spread; give two or more")
    if x.shape[1] != y.shape[1]:
        raise InputError(f"a has {x.shape[1]} dimensions and b {y.shape[1]}; give features of the same network")
    return x, y


def _codes(query_labels: Labels, target_labels: Labels, queries: int, targets: int) -> tuple[Tensor, Tensor]:
    """Number the labels of the targets: which of the L numbers each query wants, bool (N, L), and each target's (M,)."""
    if len(query_labels) != queries or len(target_labels) != targets:
        raise InputError(
            f"labels: {len(query_labels)} for {queries} queries and {len(target_labels)} for {targets} targets; "
            "give one for each"
        )
    numbers = {label: number for number, label in enumerate(dict.fromkeys(target_labels))}
    wanted = torch.zeros(queries, len(numbers), dtype=torch.bool)
    for row, label in enumerate(query_labels):
        found = [numbers[one] for one in (label if isinstance(label, frozenset) else (label,)) if one in numbers]
        if not found:
            raise InputError(f"query_labels: {label!r} has no target; take the query out or add a target")
        wanted[row, found] = True
    return wanted, torch.tensor([numbers[label] for label in target_labels])
