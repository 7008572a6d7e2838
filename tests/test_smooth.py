"""Heads that are smooth between what they were taught: the regression that tells how, and the training towards it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from train.config import LoopConfig, SmoothConfig
from train.embed import Item, compute
from train.models import build_processor
from train.recipes.tiny import TINY
from train.smooth import KernelRidge, crossed, draw, features_of, smooth_head, words_known
from train.stage import Stage
from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import InputError

CAPTIONS = ["a red circle", "a blue square", "a green star", "a yellow triangle", "red square", "blue star"]


def unit(count: int, size: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_regression_is_that_of_the_formula() -> None:
    x, y = unit(7, 5, 0) + 0.3, unit(7, 4, 1)
    asked = unit(3, 5, 2)
    directions, others = (F.normalize(part - x.mean(dim=0), dim=-1).double() for part in (x, asked))
    kernel = torch.exp(1.5 * (directions @ directions.T - 1)) + 0.2 * torch.eye(7)
    expected = (
        y.mean(dim=0) + torch.exp(1.5 * (others @ directions.T - 1)) @ kernel.inverse() @ (y - y.mean(dim=0)).double()
    )
    torch.testing.assert_close(
        KernelRidge(x, y, 1.5, 0.2)(asked), F.normalize(expected, dim=-1).float(), atol=1e-4, rtol=1e-4
    )


def test_it_agrees_where_it_was_taught_and_takes_the_middle_in_the_middle() -> None:
    x, y = torch.eye(6), unit(6, 4, 1)
    near, far = KernelRidge(x, y, 2.0, 1e-4), KernelRidge(x, y, 2.0, 10.0)
    torch.testing.assert_close(near(x), y, atol=2e-3, rtol=0)
    assert float((far(x) * y).sum(dim=-1).mean()) < 0.9
    middle = near((x[:1] + x[1:2]) / 2)
    assert float((middle * F.normalize(y[0] + y[1], dim=-1)).sum()) > 0.9
    for width, ridge in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(InputError, match="give a number greater than 0"):
            KernelRidge(x, y, width, ridge)


def test_captions_words_and_what_lies_between_are_drawn() -> None:
    taught, words = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    drawn = draw(taught, words, 900, torch.Generator().manual_seed(0))
    assert drawn.shape == (900, 2)
    captions = ((drawn == taught[0]) | (drawn == taught[1])).all(dim=1)
    assert 300 < int(captions.sum()) < 520  # a third, and mixtures of a caption with itself
    between = (drawn > 0).all(dim=1) & (drawn < 1).all(dim=1)
    assert int(between.sum()) > 90 and float(drawn.sum(dim=1).max()) <= 1.0 + 1e-6


def test_phrases_are_pieces_of_captions() -> None:
    phrases = crossed(CAPTIONS, 200)
    assert len(phrases) == len(set(phrases)) > 40 and crossed(CAPTIONS, 200) == phrases != crossed(CAPTIONS, 200, 1)
    assert {word for phrase in phrases for word in phrase.split()} == {w for c in CAPTIONS for w in c.split()}
    assert crossed(["moon", "sun"], 10) == []  # there is nothing to take apart


@pytest.fixture
def stage(tmp_path: Path) -> tuple[Stage[SmoothConfig], MultimodalEncoder]:
    """A run with a frozen text backbone of random weights, and captions in its cache."""
    torch.manual_seed(0)
    towers = {name: dict(TINY.encoder.towers[name]) for name in ("text", "image")}
    towers["text"] |= {"frozen": True}
    encoder = build_encoder(TINY.encoder.dim, towers).eval()
    processor = build_processor(TINY, CAPTIONS)
    loop = LoopConfig(steps=60, batch_size=64, learning_rate=3e-3, warmup_steps=5, ema_decay=0.9, validate_every=60)
    stage = Stage("smooth", TINY, SmoothConfig(loop, ("text",)), tmp_path)
    processor.save_pretrained(stage.exported("processor"))
    about = [{"row": str(n), "concept": str(n), "split": "train", "text": text} for n, text in enumerate(CAPTIONS)]
    inputs = [Item(item["text"], item) for item in about]
    compute(encoder, processor, "text", inputs).save(tmp_path / "cache", "text")
    return stage, encoder


def test_a_head_comes_to_agree_and_nothing_else_moves(stage: tuple[Stage[SmoothConfig], MultimodalEncoder]) -> None:
    run, encoder = stage
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    processor = build_processor(TINY, CAPTIONS)
    words = features_of(encoder, processor, "text", words_known(processor, "text"))
    assert words.shape[1] == 32 and len(words) >= 8
    cache = run.caches("text")["text"]
    taught = cache.features(cache.where(split="train"))["pooled"].float()
    with torch.no_grad():
        said = F.normalize(encoder.tower("text").head({"pooled": taught}), dim=-1)
        teacher = KernelRidge(taught, said, 2.0, 0.1)
        apart = float(
            (F.normalize(encoder.tower("text").head({"pooled": words}), dim=-1) * teacher(words)).sum(-1).mean()
        )
        smooth_head_quietly(run, encoder)
        after = float(
            (F.normalize(encoder.tower("text").head({"pooled": words}), dim=-1) * teacher(words)).sum(-1).mean()
        )
    assert after > apart and after > 0.97
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("branches.text.mlp.") for name in moved)


def smooth_head_quietly(run: Stage[SmoothConfig], encoder: MultimodalEncoder) -> None:
    with torch.enable_grad():
        smooth_head(run, run.config, encoder, "text")


def test_a_backbone_that_is_trained_has_no_features_to_stay(tmp_path: Path) -> None:
    towers = {name: TINY.encoder.towers[name] for name in ("text", "image")}
    encoder, processor = build_encoder(TINY.encoder.dim, towers), build_processor(TINY, CAPTIONS)
    stage = Stage("smooth", TINY, SmoothConfig(LoopConfig(steps=1), ("text",)), tmp_path)
    about = {"row": "0", "concept": "0", "split": "train", "text": CAPTIONS[0]}
    compute(encoder, processor, "text", [Item(CAPTIONS[0], about)]).save(tmp_path / "cache", "text")
    with pytest.raises(InputError, match="smooth: the tower of text has no frozen backbone"):
        smooth_head(replace(stage), stage.config, encoder, "text")
