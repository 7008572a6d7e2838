"""The report: means and deviations over seeds, the tables people read and the JSON programs read."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

Record = Mapping[str, object]

RETRIEVAL_KEYS = ("pool", "query", "target")
GENERATION_KEYS = ("pool", "condition", "variant")
_NOT_MEASURES = {"seed", "concepts", "trained"}
_TARGET_CONDITIONS = ("text", "speech", "text+speech")


def over_seeds(records: Sequence[Record], keys: Sequence[str]) -> list[dict[str, object]]:
    """Join the records of different seeds: every measure becomes {"mean", "std"}, missing values stay None.

    Args:
        records: One a seed, with ``keys``, ``seed``, ``concepts`` and measures.
        keys: What makes records belong together.

    Returns:
        One record a combination of keys, in the order of first appearance, with ``seeds`` and the smallest
        ``concepts``.

    Example:
        >>> over_seeds([{"q": "a", "seed": 0, "concepts": 9, "r": 0.5}, {"q": "a", "seed": 1, "concepts": 8, "r": 1.0}],
        ...            ["q"])[0]["r"]
        {'mean': 0.75, 'std': 0.3535533905932738}
    """
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    joined: list[dict[str, object]] = []
    for names, members in groups.items():
        entry: dict[str, object] = dict(zip(keys, names, strict=True))
        entry["seeds"] = len(members)
        entry["concepts"] = min(int(str(member["concepts"])) for member in members)
        if "trained" in members[0]:
            entry["trained"] = members[0]["trained"]
        for measure in members[0]:
            if measure not in keys and measure not in _NOT_MEASURES:
                entry[measure] = _mean_and_std([member.get(measure) for member in members])
        joined.append(entry)
    return joined


def summarise(retrieval: Sequence[Record], generation: Sequence[Record]) -> dict[str, float | None]:
    """The few figures that a model is known by, from joined records; None where the data lacks what they need."""
    found: dict[str, float | None] = {}
    for condition in ("text", "speech", "sketch", "sound"):
        entry = _find(generation, pool="seen", condition=condition, variant="prior")
        found[f"seen {condition} top-1"] = mean_of(entry, "top1")
    entry = _find(generation, pool="seen", condition="sound", variant="prior")
    found["seen sound any-1"] = mean_of(entry, "any1")
    entry = _find(generation, pool="seen", condition="text", variant="prior")
    found["seen text variety"] = mean_of(entry, "variety")
    for query, target in (("text", "image"), ("image", "text")):
        entry = _find(retrieval, pool="held-out", query=query, target=target)
        found[f"held-out {query} to {target} recall@1"] = mean_of(entry, "recall@1")
    for variant in ("prior", "no prior"):
        for ratio in ("ratio", "paired_ratio"):
            entries = [_find(generation, pool="seen", condition=c, variant=variant) for c in _TARGET_CONDITIONS]
            values = [mean_of(entry, ratio) for entry in entries]
            present = [value for value in values if value is not None]
            name = f"seen frechet {ratio.replace('_', ' ')}, mean of text, speech, both, {variant}"
            found[name] = statistics.fmean(present) if len(present) == len(values) else None
    return found


def retrieval_table(joined: Sequence[Record]) -> str:
    """Lines of recall@1, @5 and @10 in per cent, one pair of kinds a line."""
    header = ["pool", "query", "target", "N", "R@1", "R@5", "R@10", ""]
    rows = [
        [
            *(str(entry[key]) for key in (*RETRIEVAL_KEYS, "concepts")),
            *(_percent(entry[f"recall@{k}"]) for k in (1, 5, 10)),
            "both trained" if entry.get("trained") else "",
        ]
        for entry in joined
    ]
    return table(header, rows)


def generation_table(joined: Sequence[Record]) -> str:
    """Lines of accuracy and distances, one condition and variant a line."""
    header = [
        "pool",
        "given",
        "made",
        "N",
        "top-1",
        "top-5",
        "any-1",
        "Frechet",
        "ratio",
        "paired",
        "kernel x1000",
        "copies",
        "variety",
        "different",
    ]
    rows = [
        [
            *(str(entry[key]) for key in (*GENERATION_KEYS, "concepts")),
            *(_percent(entry[measure]) for measure in ("top1", "top5", "any1")),
            _number(entry["frechet"], 1),
            *(_number(entry[ratio], 2) for ratio in ("ratio", "paired_ratio")),
            _number(entry["kernel"], 1, 1000),
            _percent(entry.get("copies")),
            _number(entry.get("variety"), 2),
            _number(entry.get("different"), 1),
        ]
        for entry in joined
    ]
    return table(header, rows)


def summary_table(summary: Mapping[str, float | None]) -> str:
    """The summary, one figure a line."""
    return table(["summary", ""], [[name, "-" if v is None else f"{v:.3f}"] for name, v in summary.items()])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text in aligned columns: the first left, numbers right.

    Example:
        >>> print(table(["query", "R@1"], [["text", "93.0"], ["sketch", "7.5"]]))
        query    R@1
        ------  ----
        text    93.0
        sketch   7.5
    """
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    numeric = [bool(rows) and all(_is_number(row[n]) for row in rows) for n in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True))
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def write_report(report: Mapping[str, object], file: Path) -> None:
    """Write the report as JSON, in one step so that a reader never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(file.name + ".part")
    scratch.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    scratch.replace(file)


def mean_of(entry: Record | None, measure: str) -> float | None:
    """The mean of a measure of a joined record, or None where there is none."""
    value = None if entry is None else entry.get(measure)
    return float(value["mean"]) if isinstance(value, Mapping) else None


def _find(joined: Sequence[Record], **wanted: str) -> Record | None:
    return next((entry for entry in joined if all(entry[key] == value for key, value in wanted.items())), None)


def _mean_and_std(values: Sequence[object]) -> dict[str, float] | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        return None
    return {"mean": statistics.fmean(numbers), "std": statistics.stdev(numbers) if len(numbers) > 1 else 0.0}


def _percent(value: object) -> str:
    return _number(value, 1, 100)


def _number(value: object, digits: int, scale: float = 1.0) -> str:
    if not isinstance(value, Mapping):
        return "-"
    return f"{scale * value['mean']:.{digits}f} ±{scale * value['std']:.{digits}f}"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit() or (cell[:1] == "-" and cell[1:2].isdigit())
