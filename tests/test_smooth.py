"""Heads that are regressions: the formula, and the towers whose heads become one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from train.config import SmoothConfig
from train.embed import Item, compute
from train.models import build_processor
from train.recipes.tiny import TINY
from train.smooth import smooth_head, train_smooth
from train.stage import Stage
from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import InputError
from unclip_mm.towers.kernel import KernelHead

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
    torch.testing.assert_close(KernelHead.fit(x, y, 1.5, 0.2)(asked), expected.float(), atol=1e-4, rtol=1e-4)


def test_it_agrees_where_it_was_taught_and_takes_the_middle_in_the_middle() -> None:
    x, y = torch.eye(6), unit(6, 4, 1)
    near, far = KernelHead.fit(x, y, 2.0, 1e-4), KernelHead.fit(x, y, 2.0, 10.0)
    torch.testing.assert_close(near(x), y, atol=2e-3, rtol=0)
    assert float(F.cosine_similarity(far(x), y).mean()) < 0.9
    middle = near((x[:1] + x[1:2]) / 2)
    assert float(F.cosine_similarity(middle[0], y[0] + y[1], dim=0)) > 0.9
    for width, ridge in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(InputError, match="give a number greater than 0"):
            KernelHead.fit(x, y, width, ridge)


def run_of(tmp_path: Path, frozen: bool) -> tuple[Stage[SmoothConfig], MultimodalEncoder]:
    """A run with a text backbone of random weights, and captions in its cache, one of them of a new concept."""
    torch.manual_seed(0)
    towers = {name: dict(TINY.encoder.towers[name]) for name in ("text", "image")}
    towers["text"] |= {"frozen": frozen}
    encoder = build_encoder(TINY.encoder.dim, towers).eval()
    processor = build_processor(TINY, CAPTIONS)
    stage = Stage("smooth", TINY, SmoothConfig(("text",)), tmp_path)
    encoder.save_pretrained(stage.exported("encoder"))
    splits = ["train"] * (len(CAPTIONS) - 1) + ["validation"]
    about = [
        {"row": str(n), "concept": str(n), "split": split, "text": text}
        for n, (text, split) in enumerate(zip(CAPTIONS, splits, strict=True))
    ]
    compute(encoder, processor, "text", [Item(item["text"], item) for item in about]).save(tmp_path / "cache", "text")
    return stage, encoder


def test_a_head_becomes_its_regression_and_nothing_else_moves(tmp_path: Path) -> None:
    stage, encoder = run_of(tmp_path, frozen=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    cache = stage.caches("text")["text"]
    taught, features = cache.where(split="train"), cache.features(list(range(len(CAPTIONS))))
    with torch.no_grad():
        said = encoder.embed("text", features)
    expected = KernelHead.fit(features["pooled"][taught], said[taught], 2.0, 0.1)(features["pooled"])
    train_smooth(stage)
    smooth = stage.trained("encoder", MultimodalEncoder)
    assert smooth.config.towers["text"]["bumps"] == 5, "what was set aside is no caption that was taught"
    with torch.no_grad():
        torch.testing.assert_close(smooth.embed("text", features), F.normalize(expected, dim=-1), atol=1e-4, rtol=1e-4)
    after = smooth.state_dict()
    assert {name for name in after if name not in before} == {
        f"branches.text.kernel.{part}" for part in ("center", "seen", "mean", "weights")
    }
    assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("branches.text.mlp."))
    assert not any(name.startswith("branches.text.mlp.") for name in after)


def test_a_regression_survives_half_precision_and_eight_bits(tmp_path: Path) -> None:
    stage, encoder = run_of(tmp_path, frozen=True)
    smooth_head(stage, stage.config, encoder, "text")
    features = stage.caches("text")["text"].features([0, 3])
    wanted = encoder.embed("text", features)
    encoder.quantize()
    encoder.half().save_pretrained(tmp_path / "half")
    again = MultimodalEncoder.from_pretrained(tmp_path / "half", torch_dtype=torch.float32).eval()
    torch.testing.assert_close(again.embed("text", features), wanted, atol=3e-3, rtol=0)


def test_a_regression_of_an_encoder_in_eight_bits_is_kept_as_it_is(tmp_path: Path) -> None:
    stage, encoder = run_of(tmp_path, frozen=True)
    encoder.quantize()
    smooth_head(stage, stage.config, encoder, "text")
    features = stage.caches("text")["text"].features([0, 3])
    encoder.save_pretrained(tmp_path / "rounded")
    again = MultimodalEncoder.from_pretrained(tmp_path / "rounded").eval()
    torch.testing.assert_close(again.embed("text", features), encoder.embed("text", features))


def test_what_frames_a_caption_is_left_aside(tmp_path: Path) -> None:
    """A framed caption lies nearer to the caption than without; saved and loaded it lies where it did."""
    stage, encoder = run_of(tmp_path, frozen=True)
    frames = ("draw me {}", "a picture of {}")
    processor = build_processor(TINY, [frame.format(text) for frame in ("{}", *frames) for text in CAPTIONS])
    processor.save_pretrained(stage.exported("processor"))
    items = [Item(text, {"text": text, "concept": text, "split": "train"}) for text in CAPTIONS]
    compute(encoder, processor, "text", items).save(tmp_path / "cache", "text")

    def asked(said_by: MultimodalEncoder, frame: str) -> torch.Tensor:
        texts = processor({"text": [frame.format(text) for text in CAPTIONS]})
        with torch.no_grad():
            return said_by.embed("text", said_by.features("text", texts["text"]))

    away = []
    for chosen in (stage.config, replace(stage.config, frames=frames, frame_directions=2)):
        blind = MultimodalEncoder.from_pretrained(stage.exported("encoder")).eval()
        smooth_head(stage, chosen, blind, "text")
        away.append(1 - float((asked(blind, frames[0]) * asked(blind, "{}")).sum(dim=-1).mean()))
    assert away[1] < 0.5 * away[0]
    assert blind.config.towers["text"]["bump_aside"] == 2
    aside = blind.tower("text").kernel.aside
    torch.testing.assert_close(aside @ aside.mT, torch.eye(2), atol=1e-5, rtol=0)
    blind.save_pretrained(tmp_path / "blind")
    again = MultimodalEncoder.from_pretrained(tmp_path / "blind").eval()
    torch.testing.assert_close(asked(again, frames[1]), asked(blind, frames[1]))


def test_frames_that_frame_nothing_are_named(tmp_path: Path) -> None:
    stage, encoder = run_of(tmp_path, frozen=True)
    build_processor(TINY, CAPTIONS).save_pretrained(stage.exported("processor"))
    with pytest.raises(InputError, match=r"frames: 'draw me' does not say where the thing is; put one \{\} in it"):
        smooth_head(stage, replace(stage.config, frames=("draw me",)), encoder, "text")
    with pytest.raises(InputError, match="frame-directions: 0 is not from 1 to"):
        smooth_head(stage, replace(stage.config, frames=("a {}",), frame_directions=0), encoder, "text")


def test_what_cannot_be_a_regression_is_refused(tmp_path: Path) -> None:
    stage, encoder = run_of(tmp_path, frozen=False)
    with pytest.raises(InputError, match="smooth: the text tower has no frozen backbone"):
        smooth_head(stage, stage.config, encoder, "text")
    with pytest.raises(InputError, match="smooth: the tower of 'image' is none of texts"):
        encoder.smooth("image", {}, torch.zeros(1, 4), 2.0, 0.1)
