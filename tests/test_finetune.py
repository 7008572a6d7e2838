"""Decoder and renderer, trained together: what is drawn, what is trained, and that it helps."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.config import FinetuneConfig
from train.finetune import Batches, FinetuneLoss, Pictures, embed_pictures, look
from train.perceptual import PerceptualFeatures
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.errors import InputError

CONFIG = FinetuneConfig(perceptual_weight=0.0, embedding_noise=0.0)


@pytest.fixture
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    return UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)


@pytest.fixture
def pictures(pipe: UnCLIPMultimodalPipeline) -> Pictures:
    colours = torch.randint(0, 256, (4, 3, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = colours.repeat(1, 1, 32, 32)
    pixels[:, :, 8:24, 8:24] = 255 - colours
    return embed_pictures(pixels, 32, pipe.encoder, pipe.normalizer)


def test_pictures_are_asked_for_by_their_own_embedding(pipe: UnCLIPMultimodalPipeline, pictures: Pictures) -> None:
    embeddings, pixels = pictures.draw(6, 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = pipe.normalizer.normalize(pipe.encoder.image_embedding({"pixels": pixels}))
    torch.testing.assert_close(embeddings, own, atol=1e-4, rtol=1e-4)
    noisy, same = pictures.draw(6, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, pixels) and not torch.equal(noisy, embeddings)


def test_gradients_reach_decoder_and_renderer_and_nothing_else(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures
) -> None:
    batches = Batches(pictures, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
    loss = FinetuneLoss(pipe.decoder.train(), pipe.autoencoder, None, CONFIG, 2)
    losses = loss(*batches.draw(4, torch.Generator().manual_seed(0)))
    assert set(losses) == {"pixel_loss", "gradient_loss", "path_loss"}
    (losses["pixel_loss"] + losses["gradient_loss"]).backward()
    assert all(parameter.grad is not None for parameter in pipe.autoencoder.decoder.parameters())
    assert sum(float(p.grad.abs().sum()) for p in pipe.decoder.parameters() if p.grad is not None) > 0
    assert all(parameter.grad is None for parameter in pipe.autoencoder.encoder.parameters())
    assert not any(parameter.requires_grad for parameter in batches.before.parameters())


@pytest.mark.parametrize("nothing", [0.0, 1.0])
def test_paths_are_those_of_the_decoder_as_it_came(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, nothing: float
) -> None:
    batches = Batches(pictures, deepcopy(pipe.decoder), replace(CONFIG, nothing=nothing), 2, torch.device("cpu"))
    *_, path = batches.draw(3, torch.Generator().manual_seed(0))
    latents, noise, times, embeddings, without_detail, without_condition = path
    assert bool(without_condition.all()) is bool(nothing) and torch.equal(without_detail, ~without_condition)
    assert bool(((times > 0) & (times < 1)).all())
    with torch.no_grad():
        expected = noise
        for time in (1.0, 0.5):
            velocity = batches.before(expected, torch.full((3,), time), embeddings, without_detail, without_condition)
            expected = expected - velocity / 2
    torch.testing.assert_close(latents, expected)


@pytest.fixture
def features() -> PerceptualFeatures:
    generator, blocks, channels = torch.Generator().manual_seed(0), [], 3
    for width in (4, 6):
        blocks.append([(torch.randn(width, channels, 3, 3, generator=generator) / channels, torch.zeros(width))])
        channels = width
    return PerceptualFeatures(blocks)


def test_a_part_of_some_is_compared_and_the_others_whole_and_smaller() -> None:
    pictures = torch.arange(4 * 3 * 8 * 8).view(4, 3, 8, 8).float()
    torch.manual_seed(1)
    seen, same = look(pictures, pictures.clone(), replace(CONFIG, perceptual_parts=0.5, perceptual_scale=2))
    assert seen.shape == (4, 3, 4, 4) and torch.equal(seen, same)
    places = [(t, left) for t in range(5) for left in range(5)]
    assert any(torch.equal(seen[:2], pictures[:2, :, t : t + 4, left : left + 4]) for t, left in places)
    torch.testing.assert_close(seen[2:, :, 0, 0], pictures[2:, :, :2, :2].mean(dim=(2, 3)))


def test_the_adversary_is_trained_beside_and_may_not_stand_alone(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, features: PerceptualFeatures
) -> None:
    config = replace(CONFIG, perceptual_weight=1.0, adversarial_weight=0.5)
    batches = Batches(pictures, deepcopy(pipe.decoder), config, 2, torch.device("cpu"))
    loss = FinetuneLoss(pipe.decoder.train(), pipe.autoencoder, features, config, 2)
    losses = loss(*batches.draw(4, torch.Generator().manual_seed(0)))
    assert set(losses) >= {"perceptual_loss", "adversarial_loss", "discriminator_loss"}
    (gradient,) = torch.autograd.grad(losses["adversarial_loss"], [next(pipe.autoencoder.decoder.parameters())])
    assert float(gradient.abs().sum()) > 0
    assert loss.adversary is not None and any(p.requires_grad for p in loss.adversary.parameters())
    with pytest.raises(InputError, match="adversarial_weight: the discriminator sees the features"):
        FinetuneLoss(pipe.decoder, pipe.autoencoder, None, config, 2)


def test_a_few_steps_bring_pictures_nearer(pipe: UnCLIPMultimodalPipeline, pictures: Pictures) -> None:
    batches = Batches(pictures, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
    loss = FinetuneLoss(pipe.decoder, pipe.autoencoder, None, CONFIG, 2)
    trained = [*pipe.decoder.parameters(), *pipe.autoencoder.decoder.parameters()]
    optimizer = torch.optim.Adam(trained, lr=3e-3)
    errors = []
    for step in range(30):
        losses = loss(*batches.draw(8, torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        errors.append(float(losses["pixel_loss"].detach()))
    assert sum(errors[-5:]) < 0.9 * sum(errors[:5])
