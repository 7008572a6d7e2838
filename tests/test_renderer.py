"""The renderer's training pairs: pictures, and the latents that are to become them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.config import RendererConfig
from train.recipes.tiny import TINY
from train.renderer import Painter, Pairs, RenderingLoss, prepare_pairs
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.autoencoder import build_autoencoder, encode_latents, replace_decoder


@pytest.fixture(scope="module")
def painter(pipeline_folder: Path) -> Painter:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    return Painter(pipe.encoder, pipe.normalizer, pipe.decoder, pipe.autoencoder, steps=2, guidance_scale=1.5)


def test_latents_are_made_once_and_fit_their_pictures(painter: Painter, tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    file = tmp_path / "latents.safetensors"
    pairs = prepare_pairs(pixels, 32, 2, painter, 0, file)
    assert pairs.pixels.shape == (6, 3, 64, 64) and pairs.latents.shape == (6, 2, 8, 8, 8)
    assert torch.equal(pairs.pixels[:3], pixels) and not torch.equal(pairs.pixels[3:], pixels)
    small = torch.nn.functional.interpolate(pairs.pixels[3:] / 127.5 - 1, 32, mode="bicubic", antialias=True)
    with torch.no_grad():
        encoded = encode_latents(painter.autoencoder, small.clamp(-1, 1))
    assert (encoded - pairs.latents[3:, 0]).abs().max() < 0.2 * encoded.std() + 0.05
    written = file.stat().st_mtime_ns
    again = prepare_pairs(pixels, 32, 2, painter, 0, file)
    assert torch.equal(again.pixels, pairs.pixels) and torch.equal(again.latents, pairs.latents)
    assert file.stat().st_mtime_ns == written
    other = prepare_pairs(pixels, 32, 2, replace(painter, steps=3), 0, file)
    assert torch.equal(other.pixels, pairs.pixels) and not torch.equal(other.latents[:, 1], pairs.latents[:, 1])


def test_a_batch_holds_the_share_of_made_latents_that_is_asked_for() -> None:
    pairs = Pairs(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, 2, 1, 1, 1).half())
    pairs.latents[:, 1] = 1
    for share in (0.0, 1.0):
        latents, pixels = pairs.draw(16, RendererConfig(made=share, latent_noise=0.0), torch.Generator().manual_seed(0))
        assert (latents == share).all() and (pixels == -1).all()
    latents, _ = pairs.draw(400, RendererConfig(made=0.5, latent_noise=0.0), torch.Generator().manual_seed(0))
    assert 0.4 < float(latents.mean()) < 0.6
    noisy, _ = pairs.draw(400, RendererConfig(made=0.0, latent_noise=0.5), torch.Generator().manual_seed(0))
    assert 0.2 < float(noisy.std()) < 0.4


def test_only_the_new_half_is_trained() -> None:
    config = TINY.autoencoder
    old = build_autoencoder(config.latent_channels, config.channels, config.layers)
    new = replace_decoder(old, TINY.renderer.channels, TINY.renderer.layers)
    loss = RenderingLoss(new, 1.0)
    assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"renderer"}
    losses = loss(torch.randn(2, 8, 8, 8), torch.zeros(2, 3, 64, 64))
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in new.decoder.parameters())
    assert all(parameter.grad is None for parameter in new.encoder.parameters())
    for name, value in old.encoder.state_dict().items():
        assert torch.equal(value, new.encoder.state_dict()[name])
