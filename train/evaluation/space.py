"""The shared space, measured and drawn: gaps, spectra and conflicts of the modalities, before and after training."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import cycle
from operator import getitem
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.evaluation.items import Pool, choose
from train.evaluation.retrieval import Encode, encode_items
from unclip_mm import diagnostics
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Of the modalities: told apart also by people who do not see all colours."""


def embed_concepts(encode: Encode, pool: Pool, count: int, seed: int = 0) -> Embeddings:
    """Embed one item of every kind for up to ``count`` concepts: a held-out one where there is one.

    Concepts without an image are left out, if the pool has images; a concept may lack other kinds.

    Raises:
        InputError: The pool has no two concepts with two kinds each.
    """
    tables = {concept: {**pool.known.get(concept, {}), **pool.asked[concept]} for concept in sorted(pool.asked)}
    pictured = any("image" in kinds for kinds in tables.values())
    concepts = [c for c, kinds in tables.items() if len(kinds) >= 2 and ("image" in kinds or not pictured)]
    if len(concepts) < 2:
        raise InputError(f"pool {pool.name!r}: has no two concepts with two modalities each; nothing to measure")
    order = torch.randperm(len(concepts), generator=torch.Generator().manual_seed(seed)).tolist()[:count]
    names = [concepts[i] for i in order]
    chosen = {
        kind: {row: choose(tables, name, kind, seed) for row, name in enumerate(names) if kind in tables[name]}
        for kind in pool.kinds
    }
    vectors = encode_items(encode, (item for rows in chosen.values() for item in rows.values()))
    dim = len(next(iter(vectors.values())))
    stacked, present = {}, {}
    for kind, rows in chosen.items():
        if len(rows) < 2:
            continue
        stacked[kind], present[kind] = torch.zeros(len(order), dim), torch.zeros(len(order), dtype=torch.bool)
        for row, item in rows.items():
            stacked[kind][row], present[kind][row] = vectors[item.key], True
    return Embeddings.from_dict(stacked, present)


def untrained(encoder: MultimodalEncoder) -> MultimodalEncoder:
    """Give the encoder as it was before training: frozen backbones as they are, all else from random weights.

    A head that is a regression now (:mod:`train.smooth`) was a network before.
    """
    towers = {
        name: {**options, "bumps": 0} if options.get("bumps") else options
        for name, options in encoder.config.towers.items()
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = MultimodalEncoder(encoder.dim, towers).to(next(encoder.parameters()).device).eval()
    for modality in encoder.modalities:
        tower = encoder.tower(modality)
        for network, own in ((getattr(tower, part), getattr(fresh.tower(modality), part)) for part in tower.parts):
            if network is not None and not any(weight.requires_grad for weight in network.parameters()):
                own.load_state_dict(network.state_dict())
    return fresh


def measure_space(embeddings: Embeddings, anchor: str) -> dict[str, Any]:
    """Give every diagnostic of :mod:`unclip_mm.diagnostics`, as plain numbers."""
    return {
        "rows": len(embeddings),
        "centroid_gap": _by_names(diagnostics.centroid_gap(embeddings)),
        "cosine": _by_names(diagnostics.pairwise_cosines(embeddings)),
        "alignment": diagnostics.alignment(embeddings),
        "uniformity": diagnostics.uniformity(embeddings),
        "effective_rank": diagnostics.effective_rank(embeddings),
        "hoelder": diagnostics.hoelder_divergence(embeddings, leave_one_out=True),
        "hoelder_baseline": diagnostics.hoelder_baseline(embeddings, leave_one_out=True),
        "anchor": anchor,
        "zeta": diagnostics.zeta(embeddings, anchor),
        "chi": diagnostics.chi(embeddings, anchor),
    }


def space_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Lines of what changed, for people."""
    named = {
        **{f"centroid gap, {pair}": ("centroid_gap", pair) for pair in after["centroid_gap"]},
        **{f"cosine of partners, {pair}": ("cosine", pair) for pair in after["cosine"]},
        **{f"effective rank, {kind}": ("effective_rank", kind) for kind in after["effective_rank"]},
        "Hoelder divergence": ("hoelder",),
        "  of one distribution (its bias)": ("hoelder_baseline",),
        f"zeta, anchor {after['anchor']}": ("zeta",),
        f"chi, anchor {after['anchor']}": ("chi",),
    }
    lines = [f"{'the shared space':38} {'before':>9} {'after':>9}"]
    for name, keys in named.items():
        values = [reduce(getitem, keys, figures) for figures in (before, after)]
        lines.append(f"{name:38} {values[0]:9.3f} {values[1]:9.3f}")
    return "\n".join(lines)


def draw_space(before: Embeddings, after: Embeddings, file: Path, lines: int = 40) -> None:
    """Draw both spaces along the two directions in which each is widest; grey lines join what is one thing."""
    figure, axes = _figure(1, 2, 10.5, 5.2)
    for axis, embeddings, title in ((axes[0], before, "before training"), (axes[1], after, "after")):
        points = embeddings.vectors[embeddings.present]
        mean = points.mean(dim=0)
        _, _, directions = torch.linalg.svd(points - mean, full_matrices=False)
        flat = (embeddings.vectors - mean) @ directions[:2].T
        for row in range(min(lines, len(embeddings))):
            there = flat[row][embeddings.present[row]]
            axis.plot(there[:, 0], there[:, 1], color="#dddddd", linewidth=0.6, zorder=1)
        for column, kind in enumerate(embeddings.modalities):
            there = flat[embeddings.present[:, column], column]
            axis.scatter(there[:, 0], there[:, 1], s=9, color=COLOURS[column % len(COLOURS)], label=kind, zorder=2)
        gap = diagnostics.centroid_gap(embeddings)
        axis.set_title(f"{title}: mean gap of the modalities {sum(gap.values()) / len(gap):.2f}")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_aspect("equal", adjustable="datalim")
    axes[1].legend(loc="upper right", fontsize=8, frameon=False)
    _save(figure, file)


def draw_spectrum(before: Embeddings, after: Embeddings, file: Path) -> None:
    """Draw the singular values of every modality: how many dimensions it uses."""
    figure, axes = _figure(1, 2, 10.5, 4.2)
    for axis, embeddings, title in ((axes[0], before, "before training"), (axes[1], after, "after")):
        rank = diagnostics.effective_rank(embeddings)
        for column, kind in enumerate(embeddings.modalities):
            values = torch.linalg.svdvals(embeddings.vectors[embeddings.present[:, column], column])
            label = f"{kind}: effective rank {rank[kind]:.0f}"
            axis.semilogy(values / values[0], color=COLOURS[column % len(COLOURS)], label=label)
        axis.set_title(f"singular values, {title}")
        axis.set_xlabel("dimension")
        axis.set_ylim(1e-3, 1.3)
        axis.legend(fontsize=8, frameon=False)
    _save(figure, file)


def read_training(log: Path) -> list[dict[str, float]]:
    """Read the diagnostics that a training of the encoder logged on its validation concepts, a dict a step.

    Raises:
        InputError: The log is not there, or holds no diagnostics.
    """
    if not log.is_file():
        raise InputError(f"{log}: there is no such log; give runs/NAME/encoder/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    entries = [entry for entry in entries if "held_out_zeta" in entry]
    if not entries:
        raise InputError(f"{log}: holds no diagnostics; give the log of an encoder's training")
    by_step = {entry["step"]: entry for entry in entries}  # a run that was resumed logs some steps twice
    return [by_step[step] for step in sorted(by_step)]


PANELS = {
    "conflict": ("zeta", "chi"),
    "distance of the distributions": ("hoelder", "hoelder_baseline"),
    "distance of partners, of centroids": ("alignment", "gap", "cosine"),
    "uniformity (lower is more spread)": ("uniformity_*",),
    "effective rank": ("rank_*",),
    "recall@1": ("*_recall@1",),
}
"""Title -> the figures that it shows, by their names in the log less ``held_out_``; ``*`` is any modality."""


def draw_training(entries: Sequence[Mapping[str, float]], file: Path) -> None:
    """Draw what :func:`read_training` gives, over the steps: a panel for each of :data:`PANELS`."""
    steps = [entry["step"] for entry in entries]
    logged = [key.removeprefix("held_out_") for key in entries[-1]]
    figure, axes = _figure(2, 3, 13.0, 7.0)
    for axis, (title, patterns) in zip(axes.flat, PANELS.items(), strict=True):
        shown = [(name, pattern) for pattern in patterns for name in fnmatch.filter(logged, pattern)]
        for colour, (name, pattern) in zip(cycle(COLOURS), shown, strict=False):
            before, _, after = pattern.partition("*") if "*" in pattern else ("", "", "")
            label = name.removeprefix(before).removesuffix(after).replace("_", " ")
            values = [entry.get(f"held_out_{name}", float("nan")) for entry in entries]
            axis.plot(steps, values, "o-", color=colour, markersize=3, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        if shown:
            axis.legend(fontsize=8, frameon=False)
    figure.suptitle("validation concepts, over the training", fontsize=11)
    _save(figure, file)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot, which asks for a display

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _by_names(pairs: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return {" - ".join(pair): value for pair, value in pairs.items()}


def encode_with(encoder: MultimodalEncoder, processor: Any) -> Encode:
    """Give a function that encodes raw inputs of one modality."""

    @torch.no_grad()
    def encode(modality: str, values: Sequence[str | Path]) -> Tensor:
        device = next(encoder.parameters()).device
        tensors = {name: part.to(device) for name, part in processor({modality: list(values)})[modality].items()}
        return encoder.embed(modality, encoder.features(modality, tensors))

    return encode
