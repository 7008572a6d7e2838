"""A small paired world made by code, for tests and first steps: 8 colours x 8 shapes as text, image, sketch and sound.

Every modality tells both the colour and the shape (``unclip_mm/data/shapes.py`` says how), so that each can be found
from each other.

    python -m unclip_mm.data.synthetic --output shapes
"""

from __future__ import annotations

import argparse
import sys
import wave
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from unclip_mm.data.manifest import METADATA, Manifest, Row, read_manifest, write_manifest
from unclip_mm.data.shapes import COLOURS, SAMPLING_RATE, SHAPES, STYLES, draw_image, draw_sketch, make_sound
from unclip_mm.errors import InputError

TEST_CONCEPTS = 6
"""Concepts that are held out from everything: about 10%, no two of the same colour or shape."""
TEST_STYLE_SHARE = 0.25
"""Share of the other concepts of which one style is held out."""


def make_synthetic_world(folder: str | Path, *, image_size: int = 64, variations: int = 2, seed: int = 0) -> Manifest:
    """Write the world as a manifest folder; the same arguments give the same files.

    Args:
        folder: Made if missing. An older synthetic world in it is replaced; anybody else's manifest is not.
        image_size: Width and height of images and sketches, from 16 to 512.
        variations: How many images of each style, sketches and sounds each concept has, at least 1; they differ in
            place, size, angle, pitch and hand. The first ones do not depend on this number.
        seed: Of the variations and of what is held out.

    Returns:
        The manifest: splits ``train``, ``test_concept`` and ``test_style``.

    Raises:
        InputError: An argument is out of range, or the folder cannot be written or holds another manifest.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = make_synthetic_world(folder, image_size=16, variations=1)
        >>> len(world), world.modalities, world.rows[0].text
        (320, ('text', 'image', 'sketch', 'audio'), ('red circle', 'a red circle', 'a circle filled with red'))
    """
    if not 16 <= image_size <= 512:
        raise InputError(f"image_size: {image_size} is out of range; give 16 to 512")
    if variations < 1:
        raise InputError(f"variations: {variations} is too small; give 1 or more")
    folder = Path(folder)
    _check_replaceable(folder)
    try:
        for name in ("images", "sketches", "audio"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another folder") from error
    test_concepts, test_styles = held_out(seed)
    rows = []
    for (place, (colour, shape)), variation in product(enumerate(product(COLOURS, SHAPES)), range(variations)):
        split = "test_concept" if (colour, shape) in test_concepts else "train"
        label = f"{colour} {shape}"
        base = Row(id="", concept=label, split=split, source="synthetic", licence="CC0-1.0")
        for kind, style in enumerate((*STYLES, "sketch", "sound")):
            generator = np.random.default_rng([seed, place, variation, kind])
            name = f"{colour}-{shape}-{style}-{variation + 1}"
            row = replace(base, id=name, text=_captions(colour, shape, style))
            if style == "sketch":
                row = replace(row, sketch=f"sketches/{name}.png")
                draw_sketch(colour, shape, image_size, generator).save(folder / f"sketches/{name}.png")
            elif style == "sound":
                row = replace(row, audio=f"audio/{name}.wav", kind="sound")
                _write_wav(folder / f"audio/{name}.wav", make_sound(colour, shape, generator))
            else:
                unseen = test_styles.get((colour, shape)) == style
                row = replace(row, image=f"images/{name}.png", style=style, split="test_style" if unseen else split)
                draw_image(colour, shape, style, image_size, generator).save(folder / f"images/{name}.png")
            rows.append(row)
    return write_manifest(folder, rows)


def held_out(seed: int) -> tuple[set[tuple[str, str]], dict[tuple[str, str], str]]:
    """Return what is held out: a set of (colour, shape), and one style of each of some others.

    Example:
        >>> concepts, styles = held_out(0)
        >>> len(concepts), len(styles), concepts & styles.keys()
        (6, 14, set())
    """
    generator = np.random.default_rng(seed)
    colours, shapes = list(COLOURS), list(SHAPES)
    pairs = [(colours[i], shapes[j]) for i, j in enumerate(generator.permutation(len(shapes)))]
    concepts = {pairs[index] for index in generator.permutation(len(pairs))[:TEST_CONCEPTS]}
    seen = [concept for concept in product(colours, shapes) if concept not in concepts]
    chosen = generator.permutation(len(seen))[: int(TEST_STYLE_SHARE * len(seen))]
    return concepts, {seen[index]: STYLES[generator.integers(len(STYLES))] for index in chosen}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m unclip_mm.data.synthetic", description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--image-size", type=int, default=64, help="width and height in pixels (default: 64)")
    parser.add_argument("--variations", type=int, default=2, help="of each image, sketch and sound (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the variations and of what is held out (default: 0)")
    options = vars(parser.parse_args(arguments))
    folder = options.pop("output")
    try:
        world = make_synthetic_world(folder, **options)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = ", ".join(f"{len(world.select(split=split))} {split}" for split in ("train", "test_concept", "test_style"))
    print(f"{folder}: {len(world)} rows of {len(COLOURS) * len(SHAPES)} concepts ({counts})")
    return 0


def _captions(colour: str, shape: str, style: str) -> tuple[str, ...]:
    label = f"{colour} {shape}"
    named = f"{'an' if colour[0] in 'aeiou' else 'a'} {label}"
    special = {
        "filled": f"{'an' if shape[0] in 'aeiou' else 'a'} {shape} filled with {colour}",
        "outlined": f"the outline of {named}",
        "shaded": f"{named} with a shadow",
        "sketch": f"a sketch of {named}",
        "sound": f"the sound of {named}",
    }
    return label, named, special[style]


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((samples * 32767).round().astype("<i2").tobytes())


def _check_replaceable(folder: Path) -> None:
    if (folder / METADATA).exists():
        rows = read_manifest(folder, check_files=False).rows
        if any(row.source != "synthetic" for row in rows):
            raise InputError(f"{folder}: holds another manifest; give a new folder")


if __name__ == "__main__":
    sys.exit(main())
