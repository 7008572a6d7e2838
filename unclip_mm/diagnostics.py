"""Figures that say how well a space is aligned and spread, and where its objectives fight (no gradients).

zeta, chi and the Hoelder divergence are those of "Towards Uniformity and Alignment for Multimodal Representation
Learning", https://arxiv.org/abs/2602.09507; alignment and uniformity as metrics are those of Wang and Isola,
https://arxiv.org/abs/2005.10242; the effective rank is RankMe's, https://arxiv.org/abs/2210.02885.

Memory grows with the square of the rows in `zeta`, `uniformity` and `hoelder_divergence`: give a few thousand. All raise
InputError for what is no `Embeddings`, and for values that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from itertools import combinations
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from unclip_mm.checks import check_number
from unclip_mm.embeddings import Embeddings, check_embeddings
from unclip_mm.errors import InputError
from unclip_mm.vectors import check_finite, widen

__all__ = [
    "alignment",
    "centroid_gap",
    "chi",
    "effective_rank",
    "hoelder_baseline",
    "hoelder_divergence",
    "pairwise_cosines",
    "summary",
    "uniformity",
    "zeta",
]


P = ParamSpec("P")
T = TypeVar("T")


def _measure(function: Callable[Concatenate[Embeddings, P], T]) -> Callable[Concatenate[Embeddings, P], T]:
    """Let a function have sound embeddings, no gradient, and float32 at least, whatever the autocast."""

    @wraps(function)
    def measured(embeddings: Embeddings, *args: P.args, **options: P.kwargs) -> T:
        check_finite(check_embeddings(embeddings).vectors)
        with torch.no_grad(), torch.autocast(embeddings.vectors.device.type, enabled=False):
            return function(embeddings, *args, **options)

    return measured


@_measure
def zeta(embeddings: Embeddings, anchor: str, tau: float = 0.07, weights: Mapping[str, float] | None = None) -> float:
    """Measure the conflict of alignment and uniformity in contrastive training.

        V_i   = sum_{n != a} (w_n / tau) z_i^(n)                                      pulls the anchor z_i^(a)
        Phi_i = sum_{n != a} (w_n / tau) sum_k softmax_k(z_i^(a) . z_k^(n) / tau) z_k^(n)      pushes it
        zeta  = mean_i cos(V_i, Phi_i)

    At 1 the push points straight against the pull; it nears 1 as the modalities grow in number.

    Args:
        embeddings: rows that lack the anchor, or have nothing else, are left out; absent modalities fall from the sums.
        anchor: the modality whose gradient is looked at.
        tau: temperature.
        weights: modality -> w, of 0 or more; 1 for those that are not named.

    Returns:
        in [-1, 1].

    Raises:
        InputError: no such modality, no row with the anchor and another, a wrong weight.

    Example:
        >>> import torch
        >>> lonely = Embeddings.from_dict({"image": torch.eye(2), "text": torch.eye(2)})
        >>> round(zeta(lonely, "image"), 4)  # sure of its partner: nothing else pushes
        1.0
    """
    tau = check_number("tau", tau, positive=True)
    vectors, rows, others, weight = _around_anchor(embeddings, anchor, weights)
    center = vectors[rows, embeddings.index(anchor)]
    push = torch.zeros_like(center)
    for n in others:
        there = embeddings.present[:, n]
        if not bool(there.any()):
            continue
        pool = vectors[there, n]
        push += weight[rows, n : n + 1] * ((center @ pool.mT / tau).softmax(dim=1) @ pool)
    pull = (weight[rows].unsqueeze(-1) * vectors[rows]).sum(dim=1)
    return float(torch.cosine_similarity(pull, push, dim=-1).mean())


@_measure
def chi(embeddings: Embeddings, anchor: str, weights: Mapping[str, float] | None = None) -> float:
    """Measure the conflict inside the alignment: how much the other modalities pull the anchor apart.

        chi = mean_i 1 - ||sum_{n != a} w_n z_i^(n)|| / sum_{n != a} w_n

    0 with two modalities, or if all others agree. With M modalities of mean cosine mu between the others, its
    expectation is at least 1 - sqrt((1 + (M - 2) mu) / (M - 1)).

    Args:
        embeddings: rows that lack the anchor, or have nothing else, are left out; absent modalities fall from the sums.
        anchor: the modality that is pulled.
        weights: modality -> w, of 0 or more; 1 for those that are not named.

    Returns:
        in [0, 1].

    Raises:
        InputError: no such modality, no row with the anchor and another, a wrong weight.

    Example:
        >>> import torch
        >>> x, y, z = torch.eye(3).unsqueeze(1)
        >>> round(chi(Embeddings.from_dict({"image": x, "text": y, "audio": z}), "image"), 4)  # 1 - sqrt(1/2)
        0.2929
    """
    vectors, rows, _, weight = _around_anchor(embeddings, anchor, weights)
    pull = (weight[rows].unsqueeze(-1) * vectors[rows]).sum(dim=1).norm(dim=-1)
    return float((1 - pull / weight[rows].sum(dim=1)).mean())


@_measure
def hoelder_divergence(embeddings: Embeddings, tau: float = 0.5, leave_one_out: bool = False) -> float:
    """Estimate how far the distributions of the modalities are from each other, whatever the pairing.

        D = (1/M) sum_m log int p_m^M - log int prod_m p_m       >= 0, and 0 only if all distributions are equal

    with kernel density estimates of width tau: s_i^(m) = mean_k K(z_i^(m), z_k^(m)), c_i = prod_{m >= 2} mean_k
    K(z_i^(1), z_k^(m)), K = exp(-||x - y||^2 / (2 tau^2)),

        D = (1/M) sum_m log mean_i (s_i^(m))^(M-1) - log mean_i c_i

    For M = 2 it is half the Cauchy-Schwarz divergence. Being an estimate, it may fall a little below 0; and where three
    modalities or more differ, c_i is taken at the rows of the first, so it depends on which one that is.

    Args:
        embeddings: each modality takes part with the rows it is present in.
        tau: width of the kernel. Narrow ones see little else than the rows themselves.
        leave_one_out: leave k = i out of s_i, which is otherwise too large by K(z, z) = 1; removes most of the bias,
            and the exact zero for identical sets. Compare either with `hoelder_baseline`.

    Raises:
        InputError: fewer than two modalities, or one that is absent in every row (or in all but one, to leave out).

    Example:
        >>> import torch
        >>> x = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
        >>> abs(hoelder_divergence(Embeddings.from_dict({"image": x, "text": x.flip(0)}))) < 1e-6
        True
    """
    tau = check_number("tau", tau, positive=True)
    sets = list(_columns(embeddings, at_least=2 if leave_one_out else 1).values())
    if len(sets) < 2:
        raise InputError(f"hoelder_divergence: {embeddings.modalities[0]!r} is the only modality; give two or more")
    power = len(sets) - 1
    cross = torch.stack([_log_density(sets[0], other, tau) for other in sets[1:]]).sum(dim=0)
    mixed = _log_mean(cross)
    own = [_log_mean(power * _log_density(points, points, tau, leave_one_out)) for points in sets]
    return float(torch.stack([term - mixed for term in own]).mean())


@_measure
def hoelder_baseline(embeddings: Embeddings, tau: float = 0.5, leave_one_out: bool = False, seed: int = 0) -> float:
    """Give the divergence that these rows would show if all modalities had one distribution: the estimate's own bias.

    All vectors are dealt out anew to the places of all modalities, at random, which keeps the numbers and makes the
    distributions equal; then `hoelder_divergence` is taken.

    Args:
        embeddings, tau, leave_one_out: as there.
        seed: of the dealing.

    Example:
        >>> import torch
        >>> points = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> shift = torch.tensor([2.0, 0.0, 0.0, 0.0])
        >>> apart = Embeddings.from_dict({"image": points + shift, "text": points - shift})
        >>> hoelder_baseline(apart) < 0.2 * hoelder_divergence(apart)
        True
    """
    points = embeddings.vectors[embeddings.present]
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed)).to(points.device)
    vectors = embeddings.vectors.masked_scatter(embeddings.present.unsqueeze(-1), points[order])
    return hoelder_divergence(Embeddings(vectors, embeddings.present, embeddings.modalities), tau, leave_one_out)


@_measure
def alignment(embeddings: Embeddings) -> float:
    """Give the mean squared distance of two modalities of a row, over all pairs that are there: 0 to 4, less is better.

    Raises:
        InputError: no row has two modalities.

    Example:
        >>> import torch
        >>> alignment(Embeddings.from_dict({"text": torch.eye(2), "image": torch.eye(2).flip(0)}))
        2.0
    """
    distances = torch.cat([(x - y).square().sum(dim=-1) for x, y in _pairs(embeddings).values()])
    return float(distances.mean())


@_measure
def uniformity(embeddings: Embeddings, t: float = 2.0) -> dict[str, float]:
    """Give log mean_{i != j} exp(-t ||z_i - z_j||^2) of each modality: 0 if collapsed, lower is more spread.

    Raises:
        InputError: a modality present in fewer than two rows.

    Example:
        >>> import torch
        >>> round(uniformity(Embeddings.from_dict({"text": torch.eye(3)}))["text"], 4)
        -4.0
    """
    t = check_number("t", t, positive=True)
    result = {}
    for name, points in _columns(embeddings, at_least=2).items():
        logits = -2 * t * (1 - points @ points.mT)
        logits.fill_diagonal_(float("-inf"))
        result[name] = float(logits.flatten().logsumexp(dim=0)) - math.log(len(points) * (len(points) - 1))
    return result


@_measure
def centroid_gap(embeddings: Embeddings) -> dict[tuple[str, str], float]:
    """Give the distance of the centroids of two modalities, over the rows that have both: 0 to 2, less is better.

    Raises:
        InputError: no row has two modalities.

    Example:
        >>> import torch
        >>> centroid_gap(Embeddings.from_dict({"text": torch.eye(2), "image": torch.eye(2).flip(0)}))
        {('text', 'image'): 0.0}
    """
    return {pair: float((x.mean(dim=0) - y.mean(dim=0)).norm()) for pair, (x, y) in _pairs(embeddings).items()}


@_measure
def pairwise_cosines(embeddings: Embeddings) -> dict[tuple[str, str], float]:
    """Give the mean cosine of partners in each two modalities, over the rows that have both: -1 to 1, more is better.

    Raises:
        InputError: no row has two modalities.

    Example:
        >>> import torch
        >>> pairwise_cosines(Embeddings.from_dict({"text": torch.eye(2), "image": torch.eye(2)}))
        {('text', 'image'): 1.0}
    """
    return {pair: float((x * y).sum(dim=-1).mean()) for pair, (x, y) in _pairs(embeddings).items()}


@_measure
def effective_rank(embeddings: Embeddings) -> dict[str, float]:
    """Give the number of dimensions that each modality really uses: exp(entropy of the normalised singular values).

    Returns:
        modality -> value from 1 (all vectors on one line) to min(rows, D).

    Raises:
        InputError: a modality that is absent in every row.

    Example:
        >>> import torch
        >>> round(effective_rank(Embeddings.from_dict({"text": torch.eye(4)}))["text"], 4)
        4.0
    """
    result = {}
    for name, points in _columns(embeddings, at_least=1).items():
        share = torch.linalg.svdvals(points)
        share = share / share.sum()
        result[name] = float(torch.special.entr(share).sum().exp())
    return result


def summary(embeddings: Embeddings, anchor: str) -> dict[str, float]:
    """Give all figures of this module as one flat record, for a training log.

    Args:
        embeddings: a batch of a few hundred to a few thousand rows.
        anchor: of the conflicts.

    Returns:
        `zeta`, `chi`, `hoelder` and `hoelder_baseline` (one left out), `alignment`, the mean over the pairs of
        modalities as `gap` and `cosine`, and for each modality `uniformity_NAME` and `rank_NAME`.

    Raises:
        InputError: a modality present in fewer than two rows; no row with the anchor and another.

    Example:
        >>> import torch
        >>> x = torch.nn.functional.normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
        >>> figures = summary(Embeddings.from_dict({"image": x, "text": x}), "image")
        >>> round(figures["gap"], 3), round(figures["cosine"], 3), figures["rank_text"] < 8
        (0.0, 1.0, True)
    """
    gaps, cosines = centroid_gap(embeddings), pairwise_cosines(embeddings)
    return {
        "zeta": zeta(embeddings, anchor),
        "chi": chi(embeddings, anchor),
        "hoelder": hoelder_divergence(embeddings, leave_one_out=True),
        "hoelder_baseline": hoelder_baseline(embeddings, leave_one_out=True),
        "alignment": alignment(embeddings),
        "gap": sum(gaps.values()) / len(gaps),
        "cosine": sum(cosines.values()) / len(cosines),
        **{f"uniformity_{name}": value for name, value in uniformity(embeddings).items()},
        **{f"rank_{name}": value for name, value in effective_rank(embeddings).items()},
    }


def _around_anchor(
    embeddings: Embeddings, anchor: str, weights: Mapping[str, float] | None
) -> tuple[Tensor, Tensor, list[int], Tensor]:
    """Give vectors (B, M, D), rows that count (B,) bool, positions of the others, weights (B, M), 0 at the anchor."""
    a = embeddings.index(anchor)
    vectors = widen(embeddings.vectors)
    column = torch.ones(len(embeddings.modalities), dtype=vectors.dtype, device=vectors.device)
    for name, value in (weights or {}).items():
        column[embeddings.index(name)] = check_number(f"weight of {name!r}", value)
    column[a] = 0.0
    weight = column * embeddings.present
    rows = embeddings.present[:, a] & (weight.sum(dim=1) > 0)
    if not bool(rows.any()):
        raise InputError(f"anchor {anchor!r}: no row has it and another modality of positive weight; give such rows")
    return vectors, rows, [n for n in range(len(column)) if n != a], weight


def _columns(embeddings: Embeddings, at_least: int) -> dict[str, Tensor]:
    """Give the present vectors (N_m, D) of each modality."""
    result = {}
    for m, name in enumerate(embeddings.modalities):
        points = widen(embeddings.vectors)[embeddings.present[:, m], m]
        if len(points) < at_least:
            raise InputError(
                f"modality {name!r}: present in {len(points)} rows; give {at_least} or more, or leave it out"
            )
        result[name] = points
    return result


def _pairs(embeddings: Embeddings) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Give both sides (N, D) of each pair of modalities that share rows."""
    vectors = widen(embeddings.vectors)
    result = {}
    for m, n in combinations(range(len(embeddings.modalities)), 2):
        both = embeddings.present[:, m] & embeddings.present[:, n]
        if bool(both.any()):
            result[embeddings.modalities[m], embeddings.modalities[n]] = (vectors[both, m], vectors[both, n])
    if not result:
        raise InputError("embeddings: no row has two modalities, so there is nothing to compare; give such rows")
    return result


def _log_density(at: Tensor, of: Tensor, tau: float, leave_one_out: bool = False) -> Tensor:
    logits = (at @ of.mT - 1) / tau**2
    if not leave_one_out:
        return _log_mean(logits)
    return logits.fill_diagonal_(float("-inf")).logsumexp(dim=-1) - math.log(len(of) - 1)


def _log_mean(logits: Tensor) -> Tensor:
    return logits.logsumexp(dim=-1) - math.log(logits.shape[-1])
