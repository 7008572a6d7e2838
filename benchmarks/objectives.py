"""Time and memory of the objectives against the published formulas: ``python -m benchmarks.objectives``.

Every figure is forward and backward of one batch in a process of its own, ours and the plain formula in turn, and the
ratios are taken within a pair. ``--large-batch`` instead runs a batch of 65,536 rows through every objective in chunks.
Nothing else should run beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

import psutil
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from unclip_mm.embeddings import Embeddings
from unclip_mm.objectives import OBJECTIVES, PMRL, build_objective
from unclip_mm.objectives.spectrum import spectrum

Loss = Callable[[Tensor], Tensor]
"""Unit vectors (B, M, D) -> the loss, a scalar."""

DECOMPOSITION = "decomposition"
"""PMRL without what it has in common with the others, the comparison of all rows with all."""
NAMES = ("image", "text", "audio", "sketch", "imu")
_WARM_UP = 0.5
"""Seconds of steps before those that count."""
_LEAST_KEPT = 31 * 2**18
"""Numbers of a tensor that is made and dropped, never written, before anything is timed. From then on glibc keeps what is
freed, as in any process that has loaded a model; before, it gives the end of the heap back after every step, and which of
the two ways pays for that is chance.
"""
SIZES = tuple((rows, modalities) for rows in (256, 1024, 4096) for modalities in (3, 4, 5))
"""Rows and modalities of the table."""
NEEDED = {"triangle": 3, "symile": 3}
"""Modalities of a large batch where it is not two; of two Symile is InfoNCE."""


def ours(name: str, chunk_size: int | None = None) -> Loss:
    """The objective of the package, or what PMRL does row by row."""
    if name == DECOMPOSITION:
        return decomposition
    objective = build_objective(name, chunk_size=chunk_size)

    def loss(z: Tensor) -> Tensor:
        there = torch.ones(z.shape[:2], dtype=torch.bool)
        terms = objective(Embeddings(z, there, NAMES[: z.shape[1]]))
        return torch.stack([value for key, value in terms.items() if key.endswith("_loss")]).sum()

    return loss


def decomposition(z: Tensor) -> Tensor:
    """What PMRL needs of every row: its singular values, and where it leads, whatever the sign."""
    rows = spectrum(z, torch.ones(z.shape[:2], dtype=torch.bool))
    return rows.values.sum() + rows.direction[:, 0].square().sum()


def plain_decomposition(z: Tensor) -> Tensor:
    """The same by a full singular value decomposition of D x M a row."""
    left, values, _ = torch.linalg.svd(z.mT, full_matrices=True)
    return values.sum() + left[:, 0, 0].square().sum()


def plain_pmrl(z: Tensor) -> Tensor:
    """A full singular value decomposition of D x M a row, as the released code takes it."""
    there = torch.ones(z.shape[:2], dtype=torch.bool)
    terms = PMRL(reference=True)(Embeddings(z, there, NAMES[: z.shape[1]]))
    return terms["alignment_loss"] + terms["regularisation_loss"]


def plain_gram(z: Tensor) -> Tensor:
    """A determinant of (k + 1) x (k + 1) for every one of the B x B pairs, as the released code takes them."""
    anchors, others = z[:, 0], z[:, 1:]
    rows, k = len(z), others.shape[1]
    inside = (others @ others.mT).expand(rows, rows, k, k)
    across = torch.einsum("id,jmd->ijm", anchors, others)
    top = torch.cat([torch.ones(rows, rows, 1), across], dim=2).unsqueeze(2)
    gram = torch.cat([top, torch.cat([across.unsqueeze(3), inside], dim=3)], dim=2)
    logits = -(torch.linalg.det(gram.float()).abs() + 1e-6).sqrt() / 0.07
    return _smoothed(logits)


def plain_infonce(z: Tensor) -> Tensor:
    """The B x B matrix of every pair of modalities."""
    labels = torch.arange(len(z))
    losses = []
    for m, n in combinations(range(z.shape[1]), 2):
        logits = z[:, m] @ z[:, n].T / 0.07
        losses.append((F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2)
    return torch.stack(losses).mean()


def plain_unialign(z: Tensor) -> Tensor:
    """The B x B matrix of every modality with itself, and the distances to the anchor."""
    rows = len(z)
    spread = [
        (z[:, m] @ z[:, m].T / 0.07).fill_diagonal_(float("-inf")).logsumexp(dim=1).mean() for m in range(z.shape[1])
    ]
    away = (z[:, :1] - z[:, 1:]).square().sum(dim=-1).mean()
    return torch.stack(spread).sum() - z.shape[1] * torch.tensor(rows - 1.0).log() + 30.0 * away


def plain_triangle(z: Tensor) -> Tensor:
    """The sides of the B x B triangles of an anchor and a pair of the others, and their areas."""
    x, y, w = z.unbind(dim=1)
    u, v = x.unsqueeze(1) - y, x.unsqueeze(1) - w  # of every anchor with every pair: B x B x D
    squares = u.square().sum(dim=-1) * v.square().sum(dim=-1) - (u * v).sum(dim=-1).square()
    return _smoothed(-(squares.clamp(min=0.0) + 1e-6).sqrt() / 2 / 0.07)


def plain_symile(z: Tensor) -> Tensor:
    """The B x B matrix of the multilinear products for every modality, whose negatives come from several rows."""
    labels = torch.arange(len(z))
    losses = []
    for m in range(z.shape[1]):
        others = torch.cat([z[:, :m], z[:, m + 1 :]], dim=1).unbind(dim=1)
        mixed = torch.stack([other.roll(-by, 0) for by, other in enumerate(others)]).prod(dim=0)
        logits = z[:, m] @ mixed.T / 0.07
        own = (z[:, m] * torch.stack(others).prod(dim=0)).sum(dim=1) / 0.07
        for by in range(1, len(others)):  # tuples with one vector of the row itself
            logits = logits.index_put((labels, (labels - by) % len(z)), torch.tensor(float("-inf")))
        losses.append(F.cross_entropy(logits.index_put((labels, labels), own), labels))
    return torch.stack(losses).mean()


def plain_cs_aligner(z: Tensor) -> Tensor:
    """The B x B matrix of every pair of modalities, and three of kernels for its divergence."""

    def log_mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        return ((x @ y.T - 1) / 0.5**2).exp().mean().log()

    divergences = []
    for m, n in combinations(range(z.shape[1]), 2):
        x, y = z[:, m], z[:, n]
        divergences.append(log_mean_kernel(x, x) + log_mean_kernel(y, y) - 2 * log_mean_kernel(x, y))
    return plain_infonce(z) + torch.stack(divergences).mean()


def _smoothed(logits: Tensor) -> Tensor:
    labels = torch.arange(len(logits))
    ways = [F.cross_entropy(way, labels, label_smoothing=0.1) for way in (logits, logits.T)]
    return torch.stack(ways).mean()


PLAIN: dict[str, Loss] = {
    DECOMPOSITION: plain_decomposition,
    "pmrl": plain_pmrl,
    "gram": plain_gram,
    "infonce": plain_infonce,
    "unialign": plain_unialign,
    "triangle": plain_triangle,
    "symile": plain_symile,
    "cs-aligner": plain_cs_aligner,
}


def plain_gigabytes(name: str, rows: int, modalities: int, dim: int) -> float:
    """About what the plain formula holds at its peak, to leave out what no machine of this size can run."""
    if name in (DECOMPOSITION, "pmrl"):
        return 6 * 4 * rows * dim * dim / 2**30
    if name == "gram":
        return 8 * 4 * rows * rows * modalities**2 / 2**30
    if name == "triangle":
        return 8 * 4 * rows * rows * dim / 2**30
    if name == "cs-aligner":  # all matrices of all pairs
        return 16 * 4 * rows * rows * modalities * (modalities - 1) / 2**30
    return 8 * 4 * rows * rows * modalities / 2**30


def measure(loss: Loss, rows: int, modalities: int, dim: int, repeats: int) -> dict[str, float]:
    """Run forward and backward; give the median seconds, and the peak memory in GB beyond the inputs."""
    torch.manual_seed(0)
    z = torch.randn(rows, modalities, dim).add_(torch.randn(rows, 1, dim))  # in place: the peak is to be the loss's
    z.div_(z.norm(dim=-1, keepdim=True)).requires_grad_()
    torch.empty(_LEAST_KEPT)
    loss(z[:8].detach().requires_grad_()).backward()  # what the libraries take once is nobody's
    before = psutil.Process().memory_info().rss
    times: list[float] = []
    # First steps grow the heap; one that is asked for alone, as of a large batch, is a first one.
    while len(times) < repeats or (repeats > 1 and sum(times[:-repeats]) < _WARM_UP):
        z.grad = None
        start = time.perf_counter()
        value = loss(z)
        value.backward()
        times.append(time.perf_counter() - start)
    return {"seconds": median(times[-repeats:]), "gigabytes": (peak() - before) / 2**30, "value": value.item()}


def peak() -> int:
    """The most bytes that this process has held (`ru_maxrss` begins with those of the process that started it)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def in_a_process(*arguments: object) -> dict[str, float]:
    """Run `measure` in a fresh process, whose peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.objectives", "--measure", json.dumps(arguments)]
    # Settings of the allocator that keep freed memory would be measured as ours.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def modalities_of(name: str, wanted: int | None) -> int:
    """Give how many modalities a large batch has for an objective; TRIANGLE takes three whatever is wanted."""
    return NEEDED[name] if name == "triangle" or (wanted is None and name in NEEDED) else wanted or 2


def table(names: Sequence[str], repeats: int, dim: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Print ours beside the plain formula."""
    available = psutil.virtual_memory().available / 2**30
    print("objective     rows  M    ours s   plain s    times   ours GB  plain GB    times   values differ by")
    for name in names:
        for rows, modalities in sizes:
            if name == "triangle" and modalities != NEEDED[name]:
                continue
            mine = in_a_process(name, True, rows, modalities, dim, repeats, None)
            row = f"{name:13} {rows:4} {modalities:2} {mine['seconds']:9.4f}"
            needed = plain_gigabytes(name, rows, modalities, dim)
            if needed > 0.8 * available:
                print(f"{row}   the plain formula would need about {needed:.0f} GB; ours {mine['gigabytes']:.3f}")
                continue
            other = in_a_process(name, False, rows, modalities, dim, repeats, None)
            faster, smaller = (other[key] / max(mine[key], 1e-4) for key in ("seconds", "gigabytes"))
            off = abs(mine["value"] - other["value"])
            print(
                f"{row} {other['seconds']:9.4f} {faster:8.1f} {mine['gigabytes']:9.3f} {other['gigabytes']:9.3f} "
                f"{smaller:8.1f}   {off:.1e}",
                flush=True,
            )


def large(names: Sequence[str], rows: int, modalities: int | None, dim: int, chunk_size: int) -> None:
    """Print time and memory of a batch whose B x B matrix would not fit."""
    print(f"{rows} rows, {dim} dimensions, {chunk_size} rows a chunk")
    for name in names:
        count = modalities_of(name, modalities)
        result = in_a_process(name, True, rows, count, dim, 1, chunk_size)
        used = f"{result['seconds']:8.1f} s  {result['gigabytes']:6.2f} GB beyond the inputs"
        print(f"{name:10} {count} modalities {used}", flush=True)


def main(
    names: tuple[str, ...] = (),
    repeats: int = 5,
    dim: int = 512,
    large_batch: bool = False,
    rows: int = 65_536,
    modalities: int | None = None,
    chunk_size: int = 256,
) -> None:
    """Print the table.

    Args:
        names: Objectives; by default all.
        repeats: Timed steps a figure, of which the median counts.
        dim: Dimensions D.
        large_batch: Run one large batch in chunks instead.
        rows: Of the large batch.
        modalities: From 2 to 5; by default of the large batch two, or the three that TRIANGLE and Symile need, and of the
            table all.
        chunk_size: Rows of it compared at a time.
    """
    known = tuple(OBJECTIVES) if large_batch else tuple(PLAIN)
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"names: {unknown[0]!r} is not among {', '.join(known)}")
    if modalities not in (None, *range(2, len(NAMES) + 1)):
        sys.exit(f"modalities: {modalities} is not from 2 to {len(NAMES)}")
    if large_batch:
        large(names or known, rows, modalities, dim, chunk_size)
    else:
        table(names or known, repeats, dim, [size for size in SIZES if modalities in (None, size[1])])


def measure_and_print(text: str) -> None:
    """Do what `in_a_process` asks for."""
    name, package, rows, modalities, dim, repeats, chunk_size = json.loads(text)
    loss = ours(name, chunk_size) if package else PLAIN[name]
    print(json.dumps(measure(loss, rows, modalities, dim, repeats)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure_and_print(sys.argv[2])
    else:
        tyro.cli(main)
