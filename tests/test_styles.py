"""The table of styles: what is asked, what counts as right, and how much pictures of one thing differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.styles import Looks, Thing, main, style_row, things, variety
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.errors import InputError
from unclip_mm.prior import MultimodalPrior


def test_things_come_with_the_styles_that_were_trained_on(tmp_path: Path) -> None:
    manifest = make_synthetic_world(tmp_path, image_size=32, variations=1)
    known = {thing.concept: thing for thing in things(manifest)}
    rows = manifest.select(modality="image", split="train")
    assert set(known) == {row.concept for row in rows}
    unseen = manifest.select(modality="image", split="test_style")
    assert unseen and all(row.style not in known[row.concept].styles for row in unseen)
    assert all(thing.caption in {text for row in rows for text in row.text} for thing in known.values())
    assert things(manifest) == list(known.values())


class _Rule:
    """What pictures look like, by a rule: a thing in the style that was asked for, or else filled."""

    def __call__(self, captions: list[str], styles: list[str | None], seeds: Any) -> list[tuple[str, str | None, int]]:
        return [
            (caption, style or "filled", len(caption) + 10 * ["filled", "shaded", "stamp", None].index(style))
            for caption, style in zip(captions, styles, strict=True)
        ]


def test_a_row_counts_things_and_styles_that_are_right() -> None:
    known = [Thing("sun", "sun", frozenset({"shaded"})), Thing("moon", "moon", frozenset({"filled"}))]
    known.append(Thing("star", "a star", frozenset({"filled"})))  # whose picture is taken for something else
    assert style_row(_Rule(), "shaded", known, 9) == ["shaded", "1", "100", "100", "0", "2", "50", "100", "0"]
    assert style_row(_Rule(), "filled", known, 1) == ["filled", "1", "100", "100", "100", "1", "100", "100", "100"]
    assert style_row(_Rule(), "stamp", known, 9)[1:5] == ["0", "", "", ""]


def test_variety_is_that_of_styles_beside_that_of_seeds() -> None:
    known = [Thing("sun", "sun", frozenset({"shaded", "filled"})), Thing("moon", "moon", frozenset({"filled"}))]
    assert variety(_Rule(), known, 2, 9) == (2.0, 1.0)


def test_a_model_without_styles_is_refused(pipeline_folder: Path, tmp_path: Path) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    config = pipe.prior.config
    pipe.register_modules(prior=MultimodalPrior(config.aligned_dim, config.embedding_dim, width=16, hidden=16))
    pipe.save_pretrained(tmp_path / "plain")
    make_synthetic_world(tmp_path / "world", image_size=32, variations=1)
    with pytest.raises(InputError, match="has no styles to choose from"):
        main(tmp_path / "world", str(tmp_path / "plain"))


def test_the_nearest_real_picture_says_what_a_picture_looks_like(pipeline_folder: Path) -> None:
    from picture_cases import colours

    from train.evaluation.generation import Gallery
    from train.evaluation.items import Item

    class Judge:
        features_of_images = staticmethod(colours)

    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    pipe.set_progress_bar_config(disable=True)
    real = pipe(text=["a red circle", "a blue square"], style=["filled", "shaded"], seeds=[1, 2]).images
    items = [Item(name, "image", "image", name, Path(name), "train", name) for name in ("sun", "sea")]
    looks = Looks(pipe, Judge(), Gallery(items, colours(real)), ["filled", "shaded"])  # type: ignore[arg-type]
    seen = looks(["a blue square", "a red circle"], ["shaded", "filled"], [2, 1])
    assert seen == [("sea", "shaded", 1), ("sun", "filled", 0)]
