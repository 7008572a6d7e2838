"""The contact sheet: some pictures of every style in one PNG, to look at before training on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from train.pictograms.concepts import stable_fraction
from unclip_mm.data.manifest import Row

CELL = 72
CAPTION = 11
HEADING = 18


def sample(rows: Sequence[Row], count: int, salt: str = "") -> list[Row]:
    """Return up to ``count`` rows, chosen by a stable hash of their ids, so that every run shows the same ones."""
    return sorted(rows, key=lambda row: stable_fraction(row.id, f"sheet{salt}"))[:count]


def contact_sheet(
    folder: Path, groups: dict[str, list[Row]], columns: int = 16, lines: int = 4, salt: str = ""
) -> Image.Image:
    """Draw ``columns * lines`` pictures of every group with their labels below them.

    Args:
        folder: The manifest folder that the rows' paths are relative to.
        groups: Rows by heading; every row has an image or a sketch.
        columns, lines: How many pictures of each group.
        salt: Another text gives another choice of pictures.
    """
    font = ImageFont.load_default(9)
    height = HEADING + lines * (CELL + CAPTION)
    sheet = Image.new("RGB", (columns * CELL, height * len(groups)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (heading, rows) in enumerate(groups.items()):
        top = number * height
        draw.text((4, top + 2), f"{heading} ({len(rows)})", fill="black", font=ImageFont.load_default(13))
        for place, row in enumerate(sample(rows, columns * lines, salt)):
            x, y = place % columns * CELL, top + HEADING + place // columns * (CELL + CAPTION)
            with Image.open(folder / (row.image or row.sketch or "")) as image:
                sheet.paste(image.convert("RGB").resize((CELL - 4, CELL - 4)), (x + 2, y + 2))
            draw.text((x + 2, y + CELL - 3), row.text[0][:15], fill="black", font=font)
    return sheet
