"""Sheets of what did not pass show what failed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from train.evaluation.failures import draw_failures, find_failures
from train.evaluation.generation import DIRECT, PRIOR, Gallery, Made, Prompts
from train.evaluation.items import Item

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def features(pictures: list[Image.Image]) -> torch.Tensor:
    return torch.tensor([picture.convert("RGB").getpixel((0, 0)) for picture in pictures]).float() + 1


def item(concept: str, modality: str, value: str | Path) -> Item:
    return Item(concept, modality, modality, f"{modality}:{concept}", value, "train", concept)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    files = {name: tmp_path / f"{name}.png" for name in COLOURS}
    for name, file in files.items():
        picture = Image.new("RGB", (8, 8), COLOURS[name])
        picture.putpixel((7, 7), (255, 255, 255))  # what has one colour alone is refused as blank
        picture.save(file)
    items = [item(name, "image", file) for name, file in files.items()]
    return Gallery(items, features([Image.open(file) for file in files.values()]))


def made_of(*colours: tuple[int, int, int], variant: str = PRIOR) -> Made:
    """What was made of the words red, green, and so on."""
    asked = [item(name, "text", f"something {name}") for name in COLOURS][: len(colours)]
    prompts = Prompts([one.concept for one in asked], {"text": asked}, [], 0)
    return Made(prompts, {variant: [Image.new("RGB", (8, 8), colour) for colour in colours]})


def test_what_lies_nearer_to_another_concept_failed(gallery: Gallery) -> None:
    made = made_of((250, 10, 0), (60, 50, 250), (0, 90, 100))
    [failure] = find_failures(made, features, gallery)
    assert failure.prompt.concept == failure.own.concept == "green" and failure.taken_for.concept == "blue"
    assert failure.made is made.images[PRIOR][1]


def test_a_tie_is_a_failure_and_without_a_prior_what_was_made_directly_counts(gallery: Gallery) -> None:
    [failure] = find_failures(made_of((100, 100, 0), variant=DIRECT), features, gallery)
    assert (failure.own.concept, failure.taken_for.concept) == ("red", "green")


def test_the_sheet_has_a_row_a_failure_and_goes_when_there_is_none(gallery: Gallery, tmp_path: Path) -> None:
    file = tmp_path / "sheets" / "failures.png"
    draw_failures(find_failures(made_of((0, 0, 255), (0, 0, 255), (0, 0, 255)), features, gallery), file)
    sheet = Image.open(file).convert("RGB")
    assert sheet.size == (200 + 3 * 102 + 6, 26 + 2 * 102 + 6)
    colours = [sheet.getpixel((200 + column * 102 + 54, 26 + 102 + 48)) for column in range(3)]
    assert colours == [COLOURS["blue"], COLOURS["green"], COLOURS["blue"]]
    draw_failures([], file)
    assert not file.exists()
