"""Sheets of unpicked pictures: a row a prompt, what was given on the left, what was made of it on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from train.evaluation.generation import DIRECT, OWN, PRIOR, Made
from unclip_mm.inputs import load_image, load_sketch

_CELL = 96
_LABEL = 200
_GAP = 6
_HEAD = 26
_BELOW = 42


def draw_sheet(made: Made, file: Path, rows: int = 12) -> None:
    """Write a PNG with the first prompts of a condition: label, sketch if one is given, real image, images made.

    Args:
        made: The images of one condition and seed; nothing is picked, the first ``rows`` are shown.
        file: Where to write it; its folder is made.
        rows: How many prompts.
    """
    prompts = made.prompts
    shown = range(min(rows, len(prompts.concepts)))
    columns: list[tuple[str, list[Image.Image]]] = []
    if "sketch" in prompts.given:
        drawn = [load_sketch(prompts.given["sketch"][n].value) for n in shown]
        columns.append(("sketch given", drawn))
    names = {PRIOR: "with the prior", DIRECT: "without the prior", OWN: "real, decoded"}
    made_of_prompts = [variant for variant in (PRIOR, DIRECT) if variant in made.images]
    columns += [(names[variant], [made.images[variant][n] for n in shown]) for variant in made_of_prompts]
    columns.append(("real image", [load_image(prompts.real[n].value) for n in shown]))
    columns.append((names[OWN], [made.images[OWN][n] for n in shown]))
    labels = [_label(made, n) for n in shown]
    draw_grid(labels, columns).save(_made(file))


def draw_seeds(made: Made, file: Path, rows: int = 12) -> None:
    """Write a PNG with the first prompts of a condition: what several seeds make of each with the prior.

    Args:
        made: The images of one condition, with further ones.
        file: Where to write it; its folder is made.
        rows: How many prompts.
    """
    shown = range(min(rows, len(made.prompts.concepts)))
    of_seeds = [made.images[PRIOR], *made.further]
    columns = [(f"seed {number}", [images[n] for n in shown]) for number, images in enumerate(of_seeds, start=1)]
    columns.append(("real image", [load_image(made.prompts.real[n].value) for n in shown]))
    draw_grid([_label(made, n) for n in shown], columns).save(_made(file))


def draw_grid(labels: Sequence[str], columns: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Draw labels and columns of pictures on white; a column is its title and one picture a label.

    Example:
        >>> picture = Image.new("RGB", (64, 64), "red")
        >>> draw_grid(["a red square"], [("made", [picture])]).size
        (308, 134)
    """
    width = _LABEL + len(columns) * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(labels) * (_CELL + _GAP) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(11), ImageFont.load_default(14)
    for place, (title, pictures) in enumerate(columns):
        left = _LABEL + place * (_CELL + _GAP) + _GAP
        draw.text((left, _GAP), title, fill="black", font=small)
        for row, picture in enumerate(pictures):
            cell = picture.convert("RGB").resize((_CELL, _CELL), Image.Resampling.BICUBIC)
            sheet.paste(cell, (left, _HEAD + row * (_CELL + _GAP)))
    for row, label in enumerate(labels):
        middle = _HEAD + row * (_CELL + _GAP) + _CELL // 2
        draw.multiline_text((_GAP, middle), wrap(label, 26), fill="black", font=large, anchor="lm")
    return sheet


def draw_captioned(
    captions: Sequence[str], pictures: Sequence[Image.Image], columns: int = 8, cell: int = _CELL
) -> Image.Image:
    """Draw pictures in rows, ``cell`` pixels a side, each with its caption below it.

    Example:
        >>> picture = Image.new("RGB", (64, 64), "red")
        >>> draw_captioned(["a red square"] * 9, [picture] * 9).size
        (846, 282)
    """
    rows = -(-len(pictures) // columns)
    width, height = cell + _GAP + 3, cell + _BELOW
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
        left, top = _GAP + place % columns * width, _GAP + place // columns * height
        sheet.paste(picture.convert("RGB").resize((cell, cell), Image.Resampling.BICUBIC), (left, top))
        lines = wrap(caption, cell // 6 + 1).split("\n")
        draw.multiline_text((left + cell // 2, top + cell), "\n".join(lines[:3]), "black", font, "ma", align="center")
    return sheet


def wrap(text: str, width: int) -> str:
    """Break a label into lines of at most ``width`` characters where words allow.

    Example:
        >>> wrap("a woman in a steamy room", 12)
        'a woman in a\\nsteamy room'
    """
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _label(made: Made, number: int) -> str:
    kinds = [kind for kind in made.prompts.given if kind != "text"]
    caption = next(iter(made.prompts.given.values()))[number].caption
    return f"{caption} ({', '.join(kinds)})" if kinds else caption


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
