"""How often the memory takes prompts to what they mean: ``python -m benchmarks.lookups --data data/pictograms``.

Held-out voices, sounds and drawings, and the drawings that were trained on, by the style or the source that they come
from: does the point that each lies nearest to (of those that it is looked up among, and of its examples) show or mean its
concept, or another that the same recording stands for? Beside it the same without examples, and without the pictures of
the drawing's own style, on which its line art may lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from train.command import one_line_errors
from train.evaluate import load_pipeline
from train.evaluation.report import table
from unclip_mm.checkpoints import VOCABULARY, find_checkpoint
from unclip_mm.data.manifest import Manifest, Row, read_manifest
from unclip_mm.errors import InputError

BATCH = 64
ASKED = (
    ("voices, held out", "audio", "test_speaker", "speech"),
    ("sounds, held out", "audio", "test_sound", "sound"),
    ("drawings, held out", "sketch", "test_sketch", None),
    ("drawings, trained on", "sketch", "train", None),
)
"""What is asked, modality, split and kind."""


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


def main(data: Path, checkpoint: str = "pictograms", most: int = 1000) -> None:
    """Print the table.

    Args:
        data: The prepared pictograms.
        checkpoint: The pipeline; it must have a memory and a vocabulary.
        most: Items of a row of the table at most, the first by name.
    """
    pipe, manifest = load_pipeline(checkpoint, "cpu"), read_manifest(data)
    words = Path(find_checkpoint(checkpoint)) / VOCABULARY
    if pipe.memory is None or not words.is_file():
        raise InputError(f"checkpoint: {checkpoint} has no memory, or no vocabulary that says what is in it")
    named = {caption: row.concept for row in reversed(manifest.rows) if row.split == "train" for caption in row.text}
    pictures = manifest.select(modality="image", split="train")
    points = {
        "text": (pipe.memory.vectors("text"), [named[word] for word in words.read_text(encoding="utf-8").splitlines()]),
        "image": (embed(pipe, manifest, "image", pictures), [row.concept for row in pictures]),
    }
    heard: dict[str, set[str]] = {}
    for row in manifest.select(modality="audio"):
        heard.setdefault(str(row.audio), set()).add(row.concept)
    styles = [row.style for row in pictures]
    rows = []
    for title, modality, split, kind in ASKED:
        chosen = [row for row in manifest.select(modality=modality, split=split) if kind in (None, row.kind)]
        known, concepts = points[pipe.config.recall[modality][0]]
        chosen = sorted((row for row in chosen if row.concept in set(concepts)), key=lambda row: row.id)
        groups = {title: chosen} if modality == "audio" else {}
        for row in chosen if modality == "sketch" else ():
            groups.setdefault(f"{title}: {row.style}", []).append(row)
        for name, members in groups.items():
            members = members[:: max(len(members) // most, 1)][:most]
            vectors = embed(pipe, manifest, modality, members)
            right = [heard[str(row.audio)] if modality == "audio" else {row.concept} for row in members]
            cosines = vectors @ known.mT
            plain = share([concepts[place] for place in cosines.argmax(dim=1).tolist()], right)
            cells = [name, str(len(members)), plain, "", ""]
            if modality in (pipe.memory.config.examples or {}):
                seen, meant = pipe.memory.known(pipe.config.recall[modality][0], modality)
                nearest = (vectors @ seen.mT).argmax(dim=1)
                found = (meant[nearest] @ known.mT).argmax(dim=1).tolist()
                cells[3] = share([concepts[place] for place in found], right)
            if modality == "sketch":
                own = torch.tensor([style == members[0].style for style in styles])
                others = cosines.masked_fill(own, -torch.inf).argmax(dim=1).tolist()
                cells[4] = share([concepts[place] for place in others], right)
            rows.append(cells)
    print(table(["found, in percent", "N", "nearest point", "with examples", "without its own style"], rows))


if __name__ == "__main__":
    with one_line_errors("benchmarks.lookups"):
        tyro.cli(main)
