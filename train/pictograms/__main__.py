"""Prepare the pictogram data: ``python -m train.pictograms --output DIR``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from train.pictograms import images
from train.pictograms.archives import Archives
from train.pictograms.concepts import Concept, build_concepts
from train.pictograms.sheet import contact_sheet
from unclip_mm.data.manifest import METADATA, Row, read_manifest, write_manifest
from unclip_mm.errors import InputError

STEPS = ("images", "sketches", "audio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data and print a summary; returns the exit code."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        archives = Archives(options.archives or options.output / "archives")
        options.output.mkdir(parents=True, exist_ok=True)
        concepts = build_concepts(archives)
        print(f"{len(concepts)} concepts from {archives.folder}")
        all_rows = prepare(concepts, archives, options)
        manifest = write_manifest(options.output, all_rows)
        if styles := images.by_style(all_rows):
            contact_sheet(options.output, styles).save(options.output / "contact_sheet.png", optimize=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(all_rows))
    print(f"manifest {manifest.digest} in {options.output / METADATA}, {time.monotonic() - started:.0f} s")
    return 0


def prepare(concepts: dict[str, Concept], archives: Archives, options: argparse.Namespace) -> list[Row]:
    """Make the rows of the chosen steps; keep the rows of an earlier run for the other steps."""
    kept: list[Row] = []
    if set(options.only) != set(STEPS) and (options.output / METADATA).is_file():
        kept = read_manifest(options.output).rows
    made: list[Row] = []
    for step in STEPS:
        if step not in options.only:
            made += [row for row in kept if _step(row) == step]
        elif step == "audio":
            made += audio_rows(concepts, archives, options)
        else:
            modality = "image" if step == "images" else "sketch"
            made += images.rows(concepts, options.output, modality, options.workers, options.size)
    return made


def audio_rows(concepts: dict[str, Concept], archives: Archives, options: argparse.Namespace) -> Iterable[Row]:
    """Make the speech and the sounds."""
    from train.pictograms import sounds, speech

    yield from speech.rows(concepts, archives, options.output, espeak=options.espeak, workers=options.workers)
    yield from sounds.rows(concepts, archives, options.output)


def summary(all_rows: Sequence[Row]) -> str:
    """Return a table of the rows by modality, style or kind, and split."""
    splits = sorted({row.split for row in all_rows}, key=lambda split: (split != "train", split))
    counts = Counter((_group(row), row.split) for row in all_rows)
    groups = list(dict.fromkeys(_group(row) for row in all_rows))
    lines = [["rows", *splits, "all", "concepts"]]
    for group in groups:
        concepts = {row.concept for row in all_rows if _group(row) == group}
        numbers = [counts[group, split] for split in splits]
        lines.append([group, *map(str, numbers), str(sum(numbers)), str(len(concepts))])
    totals = [sum(row.split == split for row in all_rows) for split in splits]
    lines.append(["all", *map(str, totals), str(len(all_rows)), str(len({row.concept for row in all_rows}))])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *others])


def _step(row: Row) -> str:
    return "audio" if row.audio else "sketches" if row.sketch else "images"


def _group(row: Row) -> str:
    if row.audio:
        return f"audio {row.kind or ''} {row.source or ''}".strip()
    return f"sketch {row.style}" if row.sketch else f"image {row.style}"


def _steps(text: str) -> list[str]:
    steps = text.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(STEPS)}")
    return steps


def _size(text: str) -> int:
    if not text.isdigit() or not 16 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 16 to 1024")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.pictograms", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the manifest folder to write")
    parser.add_argument("--archives", type=Path, help="where the packages are or go (default: OUTPUT/archives)")
    parser.add_argument("--no-espeak", dest="espeak", action="store_false", help="human recordings only")
    parser.add_argument(
        "--only",
        type=_steps,
        default=list(STEPS),
        help="images,sketches,audio: make these, keep the others",
    )
    parser.add_argument("--size", type=_size, help="side of all pictures; those of fewer pixels are left out")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
