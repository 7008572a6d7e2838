"""Renders all pictures of all concepts and decides their splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from train.pictograms.concepts import Concept, stable_fraction
from train.pictograms.picture import Picture
from train.pictograms.render import drawing_kind, has_pixels, render
from train.pictograms.stamp_labels import FAINT
from unclip_mm.data.manifest import Row

SIZES = {"noto": 64, "twemoji": 64}
SIZE = 128
"""Side of the pictures where nothing else is asked for."""
TESTED_SKETCHES = ("openmoji", "clipart")
"""Styles of which some drawings are held out, one in seven; those of the other styles are all trained on."""
FOLDERS = {"image": "images", "sketch": "sketches"}
REASONS = {
    "unreadable": "not a picture that can be read",
    "blank": "nothing to see",
    "kind": "a silhouette or of the other modality",
    "small": "fewer pixels than asked for",
    "faint": "too faint on white, looked at one by one",
}
"""Why a picture file gives no row."""


@dataclass(frozen=True)
class Job:
    """One picture to render, and the row that it becomes."""

    picture: Picture
    row: Row

    @property
    def file(self) -> str:
        """Where the rendered picture goes, relative to the output folder."""
        return self.row.media[self.picture.modality]


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


def rows(
    concepts: dict[str, Concept], output: Path, modality: str, workers: int = 2, size: int | None = None
) -> list[Row]:
    """Render all pictures of a modality below ``output`` and return their rows.

    A picture gives no row if there is nothing to see in it, if it is of the other modality (line art among the images,
    colour among the sketches), or if another concept or picture of its style looks exactly the same. How many of each
    there were is printed. With a ``size``, all pictures have it, and those whose source has fewer pixels are left out.
    """
    todo = jobs(concepts, modality)
    for folder in sorted({(output / job.file).parent for job in todo}):
        folder.mkdir(parents=True, exist_ok=True)
    title = FOLDERS[modality]
    with get_context("spawn").Pool(workers) as pool:
        done = pool.imap(partial(_render, output=output, size=size), todo, chunksize=16)
        results = list(tqdm(done, total=len(todo), desc=title, unit="file", mininterval=1))
    made, reasons = _without_twins(todo, results)
    kept = {row.id for row in made}
    for job, result in zip(todo, results, strict=True):
        if result not in REASONS and job.row.id not in kept:
            (output / job.file).unlink()
    for reason, names in reasons.items():
        print(f"{title}: {len(names)} left out, {reason}: {', '.join(names[:3])}{', ...' if names[3:] else ''}")
    return made


def _without_twins(todo: list[Job], results: list[str]) -> tuple[list[Row], dict[str, list[str]]]:
    """Return the rows of the pictures that were rendered, without exact twins, and what was left out by reason."""
    twins: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job, result in zip(todo, results, strict=True):
        if result in REASONS:
            continue
        twins[job.picture.style, result].append(job)
    kept = set()
    for group in twins.values():
        flags = group[0].picture.category == "flags" and group[0].picture.modality == "sketch"
        if len(group) == 1 or not flags:
            kept.add(min(group, key=lambda job: (len(job.picture.key), job.picture.key)).row.id)
    made, reasons = [], defaultdict(list)
    for job, result in zip(todo, results, strict=True):
        if job.row.id in kept:
            made.append(job.row)
        else:
            reasons[REASONS.get(result, "looks the same as another")].append(job.row.id)
    return made, dict(reasons)


def _render(job: Job, output: Path, size: int | None) -> str:
    """Render one picture to its file and return a hash of its pixels; or why there is no file."""
    picture, target = job.picture, output / job.file
    if picture.key in FAINT:
        return "faint"
    try:
        if size is not None and not has_pixels(picture.path, size):
            return "small"
        image = render(picture.path, size or SIZES.get(picture.style, SIZE))
    except (OSError, ValueError):
        return "unreadable"
    if image is None:
        return "blank"
    if picture.style == "clipart" and drawing_kind(image) != picture.modality:
        return "kind"
    if picture.modality == "sketch":
        image = image.convert("L")
    scratch = target.with_suffix(".part")
    image.save(scratch, format="PNG", optimize=True)
    scratch.replace(target)
    return blake2b(image.tobytes(), digest_size=16).hexdigest()


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
    path = f"{FOLDERS[picture.modality]}/{picture.style}/{name}.png"
    split = concept.split
    tested = sketch and picture.style in TESTED_SKETCHES
    if split == "train" and tested and stable_fraction(id, "sketch") < 0.15:
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
        image=None if sketch else path,
        sketch=path if sketch else None,
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
