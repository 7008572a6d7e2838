"""Renders all pictures of all concepts and decides their splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train.pictograms.concepts import Concept, Picture, stable_fraction
from train.pictograms.render import is_silhouette, render
from unclip_mm.data.manifest import Row

SIZES = {"noto": 64, "twemoji": 64}
SIZE = 128
STYLES = ("noto", "twemoji", "fluent", "openmoji", "stamp", "drawing", "clipart")


@dataclass(frozen=True)
class Job:
    """One picture to render, and the row that it becomes."""

    picture: Picture
    row: Row


def jobs(concepts: dict[str, Concept], modality: str) -> list[Job]:
    """Return what to render for one modality, ``image`` or ``sketch``, in the order of concepts and their pictures."""
    made = []
    for concept in concepts.values():
        held_style = held_out_style(concept)
        for picture in concept.pictures:
            if picture.modality == modality:
                made.append(Job(picture, _row(concept, picture, held_style)))
    return made


def held_out_style(concept: Concept) -> str | None:
    """Return the style that is held out: one for a stable quarter of the seen concepts with three styles or more."""
    styles = sorted({picture.style for picture in concept.pictures if picture.modality == "image"})
    if concept.split != "train" or len(styles) < 3 or stable_fraction(concept.id, "style") >= 0.25:
        return None
    return styles[int(stable_fraction(concept.id, "which style") * len(styles))]


def rows(concepts: dict[str, Concept], output: Path, modality: str, workers: int = 2) -> Iterator[Row]:
    """Render all pictures of a modality below ``output`` and yield their rows; blank pictures give no row."""
    todo = jobs(concepts, modality)
    for folder in sorted({(output / _file(job)).parent for job in todo}):
        folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, int] = defaultdict(int)
    with get_context("spawn").Pool(workers) as pool:
        done = pool.imap(partial(_render, output=output), todo, chunksize=32)
        for job, good in tqdm(zip(todo, done, strict=True), total=len(todo), desc=f"{modality}s", unit="file"):
            if good:
                kept[job.picture.style] += 1
                yield job.row


def _file(job: Job) -> str:
    path = job.row.media[job.picture.modality]
    return path


def _render(job: Job, output: Path) -> bool:
    """Render one picture to its file; False, and no file, if it is unreadable, blank or only a shadow."""
    picture, target = job.picture, output / _file(job)
    target.unlink(missing_ok=True)
    try:
        image = render(picture.path, SIZES.get(picture.style, SIZE), picture.modality)
    except (OSError, ValueError):
        return False
    if image is None or (picture.style == "clipart" and is_silhouette(image)):
        return False
    image.save(target, optimize=True)
    return bool(np.asarray(image).size)


def file_name(picture: Picture) -> str:
    """Return the file name of a rendered picture without folder and ending, unique within a style.

    Example:
        >>> file_name(Picture("emoji:1F34E", "red apple", (), "noto", "", "", "", Path("a.png")))
        '1f34e'
        >>> file_name(Picture("stamps:food/fruit/apple_red", "red apple", (), "stamp", "", "", "", Path("a.png")))
        'food-fruit-apple_red'
    """
    name = picture.key.split(":", 1)[1]
    if picture.key.startswith("emoji:"):
        return name.lower()
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")


def _row(concept: Concept, picture: Picture, held_style: str | None) -> Row:
    name = file_name(picture)
    sketch = picture.modality == "sketch"
    id = f"{picture.style}{'-sketch' if sketch else ''}-{name}"
    path = f"{picture.modality}s/{picture.style}/{name}.png"
    split = concept.split
    if split == "train" and sketch and stable_fraction(id, "sketch") < 0.15:
        split = "test_sketch"
    if split == "train" and not sketch and picture.style == held_style:
        split = "test_style"
    return Row(
        id=id,
        concept=concept.id,
        text=(picture.label, *picture.captions),
        split=split,
        style=picture.style,
        source=picture.source,
        licence=picture.licence,
        category=picture.category,
        **{picture.modality: path},
    )


def by_style(all_rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows with a picture by style; sketches under ``<style> sketch``."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in all_rows:
        if row.image:
            groups[row.style or ""].append(row)
        elif row.sketch:
            groups[f"{row.style} sketch"].append(row)
    return dict(groups)
