"""A world in which a colour is the whole concept, with an encoder, a generator and a judge, for tests of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from judge_cases import square
from PIL import Image
from torch import Tensor

from train.evaluation.items import Pool, build_pools
from unclip_mm.data.manifest import Manifest, Row, read_manifest, write_manifest

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 150, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (128, 0, 128),
    "orange": (255, 128, 0),
}
"""The concepts of the world of these tests: a colour is the whole concept."""
HELD_OUT = ("purple", "orange")
"""Concepts of the split test_concept."""


def colour_of(image: Image.Image) -> Tensor:
    """The mean of what is not white, with a constant: the features of these tests, (4,)."""
    pixels = torch.tensor(list(image.convert("RGB").tobytes())).view(-1, 3).float() / 255
    inked = pixels[(pixels < 0.99).any(dim=1)]
    return torch.cat([inked.mean(dim=0) if len(inked) else torch.ones(3), torch.tensor([0.1])])


def features(pictures: Sequence[Image.Image]) -> Tensor:
    return torch.stack([colour_of(picture) for picture in pictures])


def colour_named(value: str | Path) -> tuple[int, ...]:
    """What a caption or file of this world shows; files are named by their colour."""
    return COLOURS[next(name for name in COLOURS if name in str(value))]


def encode(modality: str, values: Sequence[str | Path]) -> Tensor:
    """A perfect encoder of this world for every modality but sketch, in which it confuses everything."""
    if modality == "sketch":
        return torch.ones(len(values), 4)
    return torch.stack([torch.tensor([*colour_named(value), 25.0]) for value in values])


def make(given: Mapping[str, Sequence[str | Path]], seeds: Sequence[int], prior: bool) -> list[Image.Image]:
    """A generator of this world: right with the prior or from an image, always red without the prior."""
    values = next(iter(given.values()))
    assert all(len(other) == len(seeds) for other in given.values())
    names = values if prior or "image" in given else ["red"] * len(seeds)
    return [square(colour_named(value), 1 + seed % 5) for value, seed in zip(names, seeds, strict=True)]


def make_world(folder: Path) -> Manifest:
    """Write pictures, sketches and voices of every colour, with what is held out of them."""
    rows: list[Row] = []
    for name in ("images", "sketches", "audio"):
        (folder / name).mkdir()
    for name, colour in COLOURS.items():
        split = "test_concept" if name in HELD_OUT else "train"
        for style, inset in (("small", 5), ("middle", 3), ("large", 1)):
            path = f"images/{name}-{style}.png"
            square(colour, inset).save(folder / path)
            held = "test_style" if split == "train" and style == "large" else split
            rows.append(Row(f"{name}-{style}", name, (f"a {name} square", "paint"), path, split=held, style=style))
        for number in (0, 1):
            path = f"sketches/{name}-{number}.png"
            square((0, 0, 0), 2 + number).save(folder / path)
            held = "test_sketch" if split == "train" and number else split
            rows.append(Row(f"{name}-sketch-{number}", name, (name,), sketch=path, split=held))
        for speaker, language in (("ann", "en-gb"), ("bob", "en"), ("zoe", "fr")):
            path = f"audio/{name}-{speaker}.wav"
            (folder / path).write_bytes(b"never opened here")
            held = "test_speaker" if split == "train" and speaker == "bob" else split
            said = Row(f"{name}-{speaker}", name, (f"say {name}",), audio=path, split=held)
            rows.append(Row(**(said.__dict__ | {"kind": "speech", "speaker": speaker, "language": language})))
    write_manifest(folder, rows)
    return read_manifest(folder)


def pool_named(world: Manifest, name: str) -> Pool:
    return next(pool for pool in build_pools(world) if pool.name == name)
