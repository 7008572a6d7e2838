"""What did not pass, to be looked at: figures say how often the judge disagrees, and not whether a person would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from train.evaluation.generation import DIRECT, PRIOR, Features, Gallery, Made
from train.evaluation.items import Item
from train.evaluation.sheets import draw_grid
from unclip_mm.inputs import load_image


@dataclass(frozen=True)
class Failure:
    """A picture to which a real one of another concept lies as near as any of the concept that was asked for.

    Attributes:
        prompt: What was given.
        made: What came of it.
        own: The real picture of the concept that lies nearest to it.
        taken_for: The nearest real picture of another concept.
    """

    prompt: Item
    made: Image.Image
    own: Item
    taken_for: Item


def find_failures(made: Made, features: Features, gallery: Gallery) -> list[Failure]:
    """Find what did not pass, in the order that it was asked for: with the prior, or without if there is none.

    Args:
        made: The images of one condition and seed.
        features: The judge.
        gallery: All real images.
    """
    pictures = made.images[PRIOR if PRIOR in made.images else DIRECT]
    cosines = F.normalize(features(pictures).double(), dim=-1) @ F.normalize(gallery.features.double(), dim=-1).mT
    concepts = gallery.concepts
    prompts = next(iter(made.prompts.given.values()))
    found = []
    for prompt, concept, picture, near in zip(prompts, made.prompts.concepts, pictures, cosines, strict=True):
        right = torch.tensor([name == concept for name in concepts])
        own, other = (int(near.masked_fill(~which, -torch.inf).argmax()) for which in (right, ~right))
        if near[other] >= near[own]:
            found.append(Failure(prompt, picture, gallery.items[own], gallery.items[other]))
    return found


def draw_failures(failures: list[Failure], file: Path) -> None:
    """Write a PNG with a row a failure; nothing is written where there are none, and what an earlier call wrote is removed.

    Args:
        failures: See :func:`find_failures`.
        file: Where to write it; its folder is made.
    """
    file.unlink(missing_ok=True)
    if not failures:
        return
    columns = [
        ("made", [failure.made for failure in failures]),
        ("nearest of its own", [load_image(failure.own.value) for failure in failures]),
        ("taken for", [load_image(failure.taken_for.value) for failure in failures]),
    ]
    labels = [f"{failure.prompt.caption}, taken for {failure.taken_for.concept}" for failure in failures]
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_grid(labels, columns).save(file)
