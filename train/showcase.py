"""Draw the sheets of the README: ``python -m train.showcase --data data/pictograms --output docs/pictures``.

Everyday words, chosen before any picture was seen, and held-out voices, sounds, sketches and images, chosen by hash: what
was given on the left, and what was made of it, a column a seed; and what the upsampler makes. Nothing is picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import tyro
from PIL import Image

from train.command import one_line_errors
from train.evaluation.sheets import draw_captioned, draw_grid
from unclip_mm.data.manifest import Manifest, Row, read_manifest
from unclip_mm.inputs import load_image, load_sketch
from unclip_mm.pipeline import UnCLIPMultimodalPipeline

WORDS = ("a red apple", "cat", "car", "house", "tree", "banana", "fish", "flower", "guitar", "soccer ball", "umbrella")
"""The README's example and ten everyday words."""
HELD_OUT = {
    "voice": ("audio", "test_speaker", "speech"),
    "sound": ("audio", "test_sound", "sound"),
    "sketch": ("sketch", "test_sketch", None),
    "image": ("image", "test_style", None),
}
"""Sheet -> modality, split and kind of its rows."""
UPSAMPLED = 6
"""Words on the sheet of what the upsampler does."""
UNKNOWN = 48
"""Words on the sheet of concepts that the model was never taught."""


def choose_rows(manifest: Manifest, modality: str, split: str, kind: str | None, count: int) -> list[Row]:
    """Return rows of different concepts, in an order that depends on nothing but their names."""
    rows = manifest.select(modality=modality, split=split, **({"kind": kind} if kind else {}))
    rows = [row for row in rows if row.language in (None, "en")]
    ordered = sorted(rows, key=lambda row: blake2b(row.id.encode(), digest_size=8).digest())
    return list({row.concept: row for row in reversed(ordered)}.values())[-count:]


def draw(
    pipe: UnCLIPMultimodalPipeline,
    labels: Sequence[str],
    given: dict[str, Any],
    seeds: int,
    use_prior: bool = True,
) -> Image.Image:
    """Draw one sheet: labels, the picture or drawing that was given, and one column a seed."""
    columns: list[tuple[str, Sequence[Image.Image]]] = []
    if "sketch" in given:
        columns.append(("given", [load_sketch(source) for source in given["sketch"]]))
    if "image" in given:
        columns.append(("given", [load_image(source) for source in given["image"]]))
    count = len(labels)
    for seed in range(seeds):
        made = pipe(**given, seeds=[seed] * count, use_prior=use_prior).images
        columns.append((f"seed {seed}", cast(list[Image.Image], made)))
    return draw_grid(labels, columns)


def draw_styles(pipe: UnCLIPMultimodalPipeline, words: Sequence[str]) -> Image.Image:
    """Draw words with one column a style of the model, all with seed 0."""
    given: dict[str, Any] = {"text": list(words), "seeds": [0] * len(words)}
    columns = [(style, cast(list[Image.Image], pipe(**given, style=style).images)) for style in pipe.styles]
    return draw_grid(words, columns)


def draw_upsampled(pipe: UnCLIPMultimodalPipeline, words: Sequence[str], side: int = 256) -> Image.Image:
    """Draw pictures of words as they are, enlarged by bicubic interpolation, and below them as the upsampler makes them."""
    given: dict[str, Any] = {"text": list(words), "seeds": [0] * len(words)}
    made = [cast(list[Image.Image], pipe(**given, upsample=upsample).images) for upsample in (False, True)]
    captions = [f"{word}, {how}" for how in ("enlarged", "upsampled") for word in words]
    return draw_captioned(captions, made[0] + made[1], len(words), side)


def main(data: Path, output: Path, checkpoint: str = "pictograms", seeds: int = 6, rows: int = 8) -> None:
    """Write one sheet for words, one each for held-out voices, sounds, sketches and images, and one for held-out concepts.

    Two more show what the styles and what the upsampler do, if the model has them.

    A sheet of what the data does not hold out is not written.

    Args:
        data: The manifest folder.
        output: Folder for ``words.png``, ``voice.png``, ``sound.png``, ``sketch.png``, ``image.png``, ``unknown.png``,
            ``styles.png``, ``upsampled.png``.
        checkpoint: The pipeline.
        seeds: Pictures a prompt.
        rows: Prompts a sheet, but for the words.
    """
    manifest = read_manifest(data)
    pipe = UnCLIPMultimodalPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    output.mkdir(parents=True, exist_ok=True)
    draw(pipe, WORDS, {"text": list(WORDS)}, seeds).save(output / "words.png", optimize=True)
    if pipe.styles:
        draw_styles(pipe, WORDS).save(output / "styles.png", optimize=True)
    if pipe.upsampler is not None:
        draw_upsampled(pipe, WORDS[:UPSAMPLED]).save(output / "upsampled.png", optimize=True)
    for name, (modality, split, kind) in HELD_OUT.items():
        chosen = choose_rows(manifest, modality, split, kind, rows)
        if not chosen:
            continue
        labels = [(row.text or (row.concept,))[0] for row in chosen]
        given = {modality: [manifest.path(row, modality) for row in chosen]}
        draw(pipe, labels, given, seeds).save(output / f"{name}.png", optimize=True)
    unknown = [row.text[0] for row in choose_rows(manifest, "image", "test_concept", None, UNKNOWN) if row.text]
    if unknown:
        made = cast(list[Image.Image], pipe(text=unknown, seeds=[0] * len(unknown)).images)
        draw_captioned(unknown, made).save(output / "unknown.png", optimize=True)
    print(", ".join(str(path) for path in sorted(output.glob("*.png"))))


if __name__ == "__main__":
    with one_line_errors("train.showcase"):
        tyro.cli(main)
