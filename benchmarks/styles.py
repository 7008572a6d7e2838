"""How often a picture comes in the style that was asked for: ``python -m benchmarks.styles --data data/pictograms``.

For every style, things of which a picture in that style was trained on, and things of which none was. Their captions are
asked in that style and in any; the judge finds the nearest of all real pictures. Does that show the thing, and is it in
the style? And of things that were taught in several styles: how many different pictures are nearest to what is made in
each of them, beside what is made with as many seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch.nn.functional as F
import tyro
from tqdm import tqdm

from train.command import one_line_errors
from train.evaluate import load_pipeline
from train.evaluation.generation import Gallery
from train.evaluation.items import images
from train.evaluation.judging import open_judge
from train.evaluation.report import table
from train.judge import Judge
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.manifest import Manifest, read_manifest
from unclip_mm.errors import InputError


@dataclass(frozen=True)
class Thing:
    """A concept that was trained on.

    Attributes:
        concept: Its id.
        caption: Its first.
        styles: Those in which pictures of it were trained on.
    """

    concept: str
    caption: str
    styles: frozenset[str]


def things(manifest: Manifest) -> list[Thing]:
    """Return the concepts that were trained on with pictures, in an order that depends on nothing but their names."""
    captions: dict[str, str] = {}
    styles: dict[str, set[str]] = {}
    for row in manifest.select(modality="image", split="train"):
        captions.setdefault(row.concept, (row.text or (row.concept,))[0])
        styles.setdefault(row.concept, set()).update({row.style} if row.style else ())
    ordered = sorted(captions, key=lambda concept: blake2b(concept.encode(), digest_size=8).digest())
    return [Thing(concept, captions[concept], frozenset(styles[concept])) for concept in ordered]


@dataclass
class Looks:
    """Makes pictures and says what they look like: the concept and the style of the nearest real picture, and its place.

    Attributes:
        pipe: Makes them.
        judge: Compares.
        gallery: With these.
        styles: Of the gallery's pictures.
    """

    pipe: UnCLIPMultimodalPipeline
    judge: Judge
    gallery: Gallery
    styles: list[str | None]

    def __call__(
        self, captions: Sequence[str], styles: Sequence[str | None], seeds: Sequence[int]
    ) -> list[tuple[str, str | None, int]]:
        """Make one picture a caption."""
        made = self.pipe(text=list(captions), style=styles, seeds=list(seeds), output_type="pil")
        features = F.normalize(self.judge.features_of_images(made.images).float(), dim=-1)
        nearest = (features @ F.normalize(self.gallery.features.float(), dim=-1).mT).argmax(dim=1).tolist()
        return [(self.gallery.concepts[place], self.styles[place], place) for place in nearest]


def percent(right: Sequence[bool]) -> str:
    """Return the share of what is right.

    Example:
        >>> percent([True, False]), percent([])
        ('50', '')
    """
    return f"{100 * sum(right) / len(right):.0f}" if right else ""


def style_row(looks: Looks, style: str, known: Sequence[Thing], most: int) -> list[str]:
    """Return a row of the table.

    Args:
        looks: Makes pictures and looks at them.
        style: Asked for.
        known: Things to choose from.
        most: Things at most, of those that were taught in the style and of the others.
    """
    cells = [style]
    for taught in (True, False):
        chosen = [thing for thing in known if (style in thing.styles) == taught][:most]
        cells.append(str(len(chosen)))
        for asked in (style, None):
            seen = looks([t.caption for t in chosen], [asked] * len(chosen), range(len(chosen))) if chosen else []
            if asked is not None:
                cells.append(percent([concept == t.concept for t, (concept, _, _) in zip(chosen, seen, strict=True)]))
            cells.append(percent([found == style for _, found, _ in seen]))
    return cells


def variety(looks: Looks, known: Sequence[Thing], count: int, most: int) -> tuple[float, float]:
    """Return how many different real pictures are nearest to what is made of a thing in ``count`` styles, and by seeds.

    Args:
        looks: Makes pictures and looks at them.
        known: Things to choose from: those that were taught in ``count`` styles or more are asked, in the first of them.
        count: Pictures of each thing.
        most: Things at most.
    """
    several = [thing for thing in known if len(thing.styles) >= count][:most]
    captions = [thing.caption for thing in several for _ in range(count)]
    styled = [style for thing in several for style in sorted(thing.styles)[:count]]
    means = []
    for styles in (styled, [None] * len(captions)):
        places = [place for _, _, place in looks(captions, styles, range(len(captions)))]
        groups = [places[start : start + count] for start in range(0, len(places), count)]
        means.append(sum(len(set(group)) for group in groups) / len(groups))
    return means[0], means[1]


def main(data: Path, checkpoint: str = "pictograms", most: int = 100, archives: Path | None = None) -> None:
    """Print the table, and how much pictures of one thing differ.

    Args:
        data: The prepared pictograms.
        checkpoint: The pipeline; its prior must have styles.
        most: Things at most, of each kind.
        archives: Where the judge's package is; DATA/archives by default.
    """
    pipe, manifest = load_pipeline(checkpoint, "cpu"), read_manifest(data)
    if not pipe.styles:
        raise InputError(f"checkpoint: {checkpoint} has no styles to choose from")
    real = images(manifest)
    judge, gallery = open_judge(data, archives, real, pipe.config.image_size)
    looks = Looks(pipe, judge, gallery, [row.style for row in manifest.rows if row.image])
    known = things(manifest)
    rows = [style_row(looks, style, known, most) for style in tqdm(pipe.styles, "styles", unit="style")]
    head = ["style", "taught", "thing right", "style right", "style unasked"]
    print(table([*head, "not taught", *head[2:]], rows))
    styled, seeded = variety(looks, known, 4, most)
    print(f"\ndifferent pictures of four: {styled:.1f} in four styles, {seeded:.1f} of four seeds")


if __name__ == "__main__":
    with one_line_errors("benchmarks.styles"):
        tyro.cli(main)
