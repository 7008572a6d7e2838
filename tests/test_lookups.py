"""The table of look-ups: what is asked, what counts as right, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.lookups import FRAMES, Asked, answered, asked, framed, look_up, main
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.manifest import Manifest
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.errors import InputError
from unclip_mm.memory import EmbeddingMemory


@pytest.fixture
def world(tmp_path: Path) -> Manifest:
    """The synthetic world, its drawings said to be by two hands."""
    made = make_synthetic_world(tmp_path, image_size=32, variations=1)
    rows = [replace(row, style="even" if n % 2 else "odd") if row.sketch else row for n, row in enumerate(made.rows)]
    return replace(made, rows=rows)


def test_drawings_are_asked_about_by_style(world: Manifest) -> None:
    drawn = list(world.select(modality="sketch", split="train"))
    known = {row.concept for row in drawn[1:]} - {drawn[0].concept}
    trained = [one for one in asked(world, known, 1000) if one.name.startswith("drawings, trained on")]
    assert {one.name for one in trained} == {"drawings, trained on: even", "drawings, trained on: odd"}
    assert sorted(row.id for one in trained for row in one.rows) == sorted(r.id for r in drawn if r.concept in known)
    assert all(one.right == [{row.concept} for row in one.rows] for one in trained)
    fewer = [one for one in asked(world, known, 2) if one.name.startswith("drawings, trained on")]
    assert [len(one.rows) for one in fewer] == [2, 2]


def test_what_is_nearest_is_found_with_examples_and_without_its_own_style(
    pipeline_folder: Path, world: Manifest
) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    dim = pipe.encoder.dim
    points = torch.eye(dim)[:3]
    examples = {"sketch": (torch.eye(dim)[3:4], torch.tensor([1]))}
    pipe.register_modules(memory=EmbeddingMemory.of({"image": points}, examples))
    pipe.register_to_config(recall={"sketch": ["image", 0.02]})
    given = Asked("drawings", "sketch", world.rows[:2], [{"moon"}, {"sun"}], "ink")
    vectors = torch.nn.functional.normalize(torch.eye(dim)[[0, 3]] + 0.1 * torch.eye(dim)[[1, 2]], dim=-1)
    cells = look_up(pipe, given, vectors, points, ["moon", "sun", "star"], ["ink", None, None])
    # Nearest: moon (right), star (wrong). With examples: moon, sun. Without the moon, which is in ink: sun, star.
    assert cells == ["drawings", "2", "50", "100", "0"]


def test_framed_words_are_right_where_their_own_caption_is_nearest(pipeline_folder: Path) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    words = ["circle", "star"]
    points = pipe.normalizer.moved(pipe.encode(text=[frame.format(words[0]) for frame in FRAMES]))["text"]
    rows = framed(pipe, words, [{"circle"}, {"star"}], points, ["circle"] * len(FRAMES))
    assert [row[0] for row in rows] == list(FRAMES) and {tuple(row[1:]) for row in rows} == {("2", "50")}


def test_captions_are_answered_with_what_their_embedding_is_nearest_to(pipeline_folder: Path) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    pipe.set_progress_bar_config(disable=True)
    words = ["a red circle", "a blue square"]
    whole = torch.cat([pipe.imagine(text=words, seeds=[0, 1]), pipe.imagine(text=words, use_prior=False)])
    concepts = ["sun", "box", "sun", "moon"]
    assert answered(pipe, words, [{"sun"}, {"box"}], whole, concepts) == ["100", "50"]


def test_a_model_without_a_memory_is_one_line(pipeline_folder: Path, world: Manifest) -> None:
    with pytest.raises(InputError, match="has no memory, or no vocabulary"):
        main(world.folder, str(pipeline_folder))
