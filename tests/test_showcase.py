"""The sheets of the README, of an untrained pipeline and the synthetic world."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from train.showcase import choose_rows, main
from unclip_mm.data.synthetic import make_synthetic_world


def test_a_sheet_is_drawn_of_everything_that_is_held_out(pipeline_folder: Path, tmp_path: Path) -> None:
    world = make_synthetic_world(tmp_path / "world", image_size=32, variations=1)
    main(tmp_path / "world", tmp_path / "sheets", str(pipeline_folder), seeds=2, rows=3)
    sheets = {file.stem: Image.open(file) for file in (tmp_path / "sheets").iterdir()}
    # no voices, sounds or sketches of known concepts are held out
    assert set(sheets) == {"words", "styles", "upsampled", "image", "unknown"}
    assert sheets["words"].height > sheets["image"].height and sheets["image"].width > sheets["words"].width
    assert sheets["styles"].width > sheets["words"].width  # a column a style, three, beside one a seed, two
    assert all(len(set(sheet.getdata())) > 100 for sheet in sheets.values())
    assert sheets["upsampled"].width > 6 * 256 and sheets["upsampled"].height > 2 * 256
    unknown = choose_rows(world, "image", "test_concept", None, 48)
    assert len({row.concept for row in unknown}) == len(unknown) > 0


def test_what_is_chosen_depends_on_names_alone(tmp_path: Path) -> None:
    world = make_synthetic_world(tmp_path, image_size=32, variations=2)
    chosen = choose_rows(world, "image", "test_style", None, 4)
    assert [row.id for row in choose_rows(world, "image", "test_style", None, 4)] == [row.id for row in chosen]
    assert len(chosen) == 4 and {row.split for row in chosen} == {"test_style"}
