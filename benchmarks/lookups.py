"""How often the memory takes prompts to what they mean: ``python -m benchmarks.lookups --data data/pictograms``.

Held-out voices, sounds and drawings, and the drawings that were trained on, by the style or the source that they come
from: does the point that each lies nearest to (of those that it is looked up among, and of its examples) show or mean its
concept, or another that the recording stands for? Beside it the same without examples, and without the pictures of
the drawing's own style, on which its line art may lie. And of the captions that were taught: is what prior and completion
make of them nearest to a picture of their concept? At last everyday words as people ask for them, in words that are no
part of the thing and that no recipe names: is the nearest caption still one of theirs?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from tqdm import tqdm

from train.command import one_line_errors
from train.evaluate import load_pipeline
from train.evaluation.report import table
from train.pictograms.concepts import everyday_words
from unclip_mm.checkpoints import VOCABULARY, fetch_checkpoint
from unclip_mm.data.manifest import Manifest, Row, read_manifest
from unclip_mm.errors import InputError

BATCH = 64
ASKED = (
    ("voices, held out", "audio", "test_speaker", "speech"),
    ("sounds, held out", "audio", "test_sound", "sound"),
    ("sounds from elsewhere", "audio", "test_elsewhere", "sound"),
    ("drawings, held out", "sketch", "test_sketch", None),
    ("drawings, trained on", "sketch", "train", None),
)
"""What is asked, modality, split and kind."""


FRAMES = (
    "{}",
    "a {}",
    "my {}",
    "picture of {}",
    "a simple drawing of a {}",
    "an illustration of a {}",
    "can you draw a {}",
    "paint a {} for me",
    "create an image of a {}",
    "generate a {}",
    "a {} clipart",
    "{} pictogram",
    "a cartoon {}",
    "a cute {}",
)
"""How people ask for a thing."""


def embed(pipe: Any, manifest: Manifest, modality: str, rows: Sequence[Row]) -> Tensor:
    """Return unit vectors (N, D) of the rows' media, where images lie."""
    parts = []
    for start in tqdm(range(0, len(rows), BATCH), desc=modality, unit="batch"):
        files = [manifest.path(row, modality) for row in rows[start : start + BATCH]]
        parts.append(pipe.normalizer.moved(pipe.encode(inputs={modality: files}))[modality])
    return torch.cat(parts)


def share(found: Sequence[str], right: Sequence[set[str]]) -> str:
    """Say how many of what was found are right, in percent."""
    return f"{100 * sum(one in any_of for one, any_of in zip(found, right, strict=True)) / len(found):.0f}"


@dataclass(frozen=True)
class Asked:
    """What is asked together: rows of one modality, with what is right for each.

    Attributes:
        name: Of the row of the table.
        modality: Theirs.
        rows: At least one.
        right: The concepts that each may mean.
        style: Theirs, if they are drawings.
    """

    name: str
    modality: str
    rows: list[Row]
    right: list[set[str]]
    style: str | None = None


def asked(manifest: Manifest, known: set[str], most: int) -> list[Asked]:
    """Return what the table asks about, as far as the data has it: drawings by their style, each alone.

    Args:
        manifest: The data.
        known: Concepts that can be found.
        most: Rows at most, the first by name.
    """
    found = []
    for title, modality, split, kind in ASKED:
        groups: dict[str | None, list[Row]] = {}
        for row in sorted(manifest.select(modality=modality, split=split), key=lambda row: row.id):
            if row.concept in known and kind in (None, row.kind):
                groups.setdefault(row.style if modality == "sketch" else None, []).append(row)
        for style, members in groups.items():
            chosen = members[:: max(len(members) // most, 1)][:most]
            right = [{row.concept, *row.also} for row in chosen]
            found.append(Asked(title if style is None else f"{title}: {style}", modality, chosen, right, style))
    return found


def look_up(
    pipe: Any, given: Asked, vectors: Tensor, points: Tensor, concepts: Sequence[str], styles: Sequence[str | None]
) -> list[str]:
    """Return a row of the table.

    Args:
        pipe: Has the memory with the examples.
        given: What is asked.
        vectors: Its unit vectors (n, D), where images lie.
        points: What they are looked up among, unit vectors (N, D).
        concepts: Of the points.
        styles: Of the points, where they are pictures.
    """
    cosines = vectors @ points.mT
    cells = [
        given.name,
        str(len(vectors)),
        share([concepts[n] for n in cosines.argmax(dim=1).tolist()], given.right),
        "",
        "",
    ]
    if given.modality in (pipe.memory.config.examples or {}):
        seen, meant = pipe.memory.known(pipe.config.recall[given.modality][0], given.modality)
        found = (meant[(vectors @ seen.mT).argmax(dim=1)] @ points.mT).argmax(dim=1).tolist()
        cells[3] = share([concepts[place] for place in found], given.right)
    if given.style is not None:
        own = torch.tensor([style == given.style for style in styles])
        others = cosines.masked_fill(own, -torch.inf).argmax(dim=1).tolist()
        cells[4] = share([concepts[place] for place in others], given.right)
    return cells


def answered(
    pipe: Any, words: Sequence[str], right: Sequence[set[str]], whole: Tensor, concepts: Sequence[str]
) -> list[str]:
    """Say how often what prior and completion make of captions is nearest to a picture of their concept, in percent.

    Args:
        pipe: Has both.
        words: Captions, one seed each.
        right: What each means.
        whole: Image embeddings (N, E) of pictures, as :meth:`image_embeddings` gives them.
        concepts: Of the pictures.
    """
    known, shares = F.normalize(pipe.normalizer.normalize(whole), dim=-1), []
    for use_prior in (True, False):
        made = pipe.normalizer.normalize(
            pipe.imagine(text=list(words), seeds=list(range(len(words))), use_prior=use_prior)
        )
        nearest = (F.normalize(made, dim=-1) @ known.mT).argmax(dim=1).tolist()
        shares.append(share([concepts[place] for place in nearest], right))
    return shares


def framed(
    pipe: Any, words: Sequence[str], right: Sequence[set[str]], points: Tensor, concepts: Sequence[str]
) -> list[list[str]]:
    """Return a row for each of `FRAMES`: how often what is asked so lies nearest to a caption of the thing, in percent.

    Args:
        pipe: Embeds it.
        words: The things.
        right: What each means.
        points: Captions, unit vectors (N, D), where images lie.
        concepts: Of the captions.
    """
    rows = []
    for frame in FRAMES:
        vectors = pipe.normalizer.moved(pipe.encode(text=[frame.format(word) for word in words]))["text"]
        nearest = (vectors @ points.mT).argmax(dim=1).tolist()
        rows.append([frame, str(len(words)), share([concepts[place] for place in nearest], right)])
    return rows


def main(data: Path, checkpoint: str = "pictograms", most: int = 1000) -> None:
    """Print the table.

    Args:
        data: The prepared pictograms.
        checkpoint: The pipeline; it must have a memory and a vocabulary.
        most: Items of a row of the table at most, the first by name.
    """
    pipe, manifest = load_pipeline(checkpoint, "cpu"), read_manifest(data)
    words = fetch_checkpoint(checkpoint) / VOCABULARY
    if pipe.memory is None or not words.is_file():
        raise InputError(f"checkpoint: {checkpoint} has no memory, or no vocabulary that says what is in it")
    named = {caption: row.concept for row in reversed(manifest.rows) if row.split == "train" for caption in row.text}
    pictures = manifest.select(modality="image", split="train")
    points = {
        "text": (pipe.memory.vectors("text"), [named[word] for word in words.read_text(encoding="utf-8").splitlines()]),
        "image": (embed(pipe, manifest, "image", pictures), [row.concept for row in pictures]),
    }
    styles = [row.style for row in pictures]
    files = [manifest.path(row, "image") for row in pictures]
    whole = torch.cat([pipe.image_embeddings(files[start : start + BATCH]) for start in range(0, len(files), BATCH)])
    captions = words.read_text(encoding="utf-8").splitlines()
    prior, completion = answered(pipe, captions, [{named[word]} for word in captions], whole, points["image"][1])
    print(f"captions answered with a picture of their concept, in percent: prior {prior}, completion {completion}\n")
    rows = []
    for given in asked(manifest, set(points["image"][1]), most):
        if given.modality in pipe.config.recall:
            vectors = embed(pipe, manifest, given.modality, given.rows)
            rows.append(look_up(pipe, given, vectors, *points[pipe.config.recall[given.modality][0]], styles))
    print(table(["found, in percent", "N", "nearest point", "with examples", "without its own style"], rows))
    everyday = [word for word in captions if word in everyday_words()]
    if everyday:
        print(
            "\n"
            + table(
                ["asked as", "N", "nearest caption"],
                framed(pipe, everyday, [{named[word]} for word in everyday], *points["text"]),
            )
        )


if __name__ == "__main__":
    with one_line_errors("benchmarks.lookups"):
        tyro.cli(main)
