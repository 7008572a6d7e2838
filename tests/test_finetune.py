"""Decoder and renderer, trained together: what is drawn, what is trained, and that it helps."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.conditions import Conditions
from train.config import FinetuneConfig, PriorConfig
from train.finetune import Batches, FinetuneLoss
from train.pictures import CHOICE, Pictures, Prompts, embed_pictures, nearest
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.cache import ModalityCache, pixels_to_float
from unclip_mm.errors import InputError

CONFIG = FinetuneConfig(perceptual_weight=0.0, embedding_noise=0.0, prompts=0.25, nothing=0.5)
CONCEPTS = ["sun", "sun", "moon", "moon"]


@pytest.fixture
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    return UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)


@pytest.fixture
def pictures(pipe: UnCLIPMultimodalPipeline) -> Pictures:
    colours = torch.randint(0, 256, (4, 3, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = colours.repeat(1, 1, 32, 32)
    pixels[:, :, 8:24, 8:24] = 255 - colours
    return embed_pictures(pixels, 32, pipe.encoder, pipe.normalizer)


@pytest.fixture
def prompts(pipe: UnCLIPMultimodalPipeline, pictures: Pictures) -> Prompts:
    """Of two pictures a concept; what a prompt says is the aligned part of a picture's own embedding."""
    asked = Conditions({"image": ModalityCache({}, [])}, pipe.encoder, pipe.normalizer, "train", PriorConfig())
    return Prompts(pictures, CONCEPTS, asked, pipe.normalizer, 0.0)


def test_pictures_are_asked_for_by_their_own_embedding(pipe: UnCLIPMultimodalPipeline, pictures: Pictures) -> None:
    embeddings, pixels = pictures.draw(6, 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = pipe.normalizer.normalize(pipe.encoder.image_embedding({"pixels": pixels}))
    torch.testing.assert_close(embeddings, own, atol=1e-4, rtol=1e-4)
    noisy, same = pictures.draw(6, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, pixels) and not torch.equal(noisy, embeddings)


def test_what_is_imagined_is_to_become_the_picture_it_names(pictures: Pictures) -> None:
    imagined = pictures.embeddings[[2]] + 0.5
    more = Pictures(
        pictures.pixels, torch.cat([pictures.embeddings, imagined]), torch.cat([pictures.shown, torch.tensor([2])])
    )
    embeddings, pixels = more.draw(200, 0.0, torch.Generator().manual_seed(0))
    drawn = (embeddings == imagined).all(dim=1)
    assert 15 < int(drawn.sum()) < 80
    assert bool((pixels[drawn] == pixels_to_float(pictures.pixels[2])).all())


def test_prompts_alone_have_no_detail_and_the_pictures_of_their_concept(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, prompts: Prompts
) -> None:
    embeddings, choices = prompts.draw(20, torch.Generator().manual_seed(0))
    dim = pipe.encoder.dim
    assert choices.shape[:2] == (20, CHOICE) and bool((embeddings[:, dim:] == 0).all())
    for embedding, some in zip(embeddings, choices, strict=True):
        own = (embedding[:dim] - pictures.embeddings[:, :dim]).abs().amax(dim=1) < 1e-3
        concept = {CONCEPTS[row] for row in own.nonzero()[:, 0].tolist()}
        shown = [
            row for row in range(4) if bool((some == pixels_to_float(pictures.pixels[row])).flatten(1).all(1).any())
        ]
        assert len(shown) == 2 and {CONCEPTS[row] for row in shown} == concept


def test_the_answer_is_the_picture_that_is_nearest_from_afar(pictures: Pictures) -> None:
    pixels = pixels_to_float(pictures.pixels)
    choices = torch.stack([pixels, pixels.flip(0)])
    made = (
        pixels[[2, 1]] + 0.1 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ).requires_grad_()
    chosen = nearest(made, choices)
    assert torch.equal(chosen, pixels[[2, 1]]) and not chosen.requires_grad
    assert nearest(made[:0], choices[:0]).shape == (0, 3, 32, 32)


def test_gradients_reach_decoder_and_renderer_and_nothing_else(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, prompts: Prompts
) -> None:
    batches = Batches(pictures, prompts, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
    loss = FinetuneLoss(pipe.decoder.train(), pipe.autoencoder, None, CONFIG, 2)
    losses = loss(*batches.draw(4, torch.Generator().manual_seed(0)))
    assert set(losses) == {"pixel_loss", "gradient_loss", "path_loss"}
    (losses["pixel_loss"] + losses["gradient_loss"]).backward()
    assert all(parameter.grad is not None for parameter in pipe.autoencoder.decoder.parameters())
    assert sum(float(p.grad.abs().sum()) for p in pipe.decoder.parameters() if p.grad is not None) > 0
    assert all(parameter.grad is None for parameter in pipe.autoencoder.encoder.parameters())
    assert not any(parameter.requires_grad for parameter in batches.before.parameters())


def test_rows_of_prompts_come_last_and_paths_are_those_of_the_decoder_as_it_came(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, prompts: Prompts
) -> None:
    batches = Batches(pictures, prompts, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
    embeddings, noise, pixels, choices, path = batches.draw(8, torch.Generator().manual_seed(0))
    assert (len(embeddings), len(noise), len(pixels), len(choices)) == (8, 8, 6, 2)
    without = (embeddings[:, pipe.encoder.dim :] == 0).all(dim=1)
    assert without.tolist() == [False] * 6 + [True] * 2
    for name in ("prompts", "nothing"):
        with pytest.raises(InputError, match=rf"--{name}: 1.2 is not allowed; give a number from 0 to 1"):
            Batches(pictures, prompts, pipe.decoder, replace(CONFIG, **{name: 1.2}), 2, torch.device("cpu"))
    none = Batches(pictures, prompts, pipe.decoder, replace(CONFIG, prompts=0.0), 2, torch.device("cpu"))
    assert len(none.draw(8, torch.Generator())[2]) == 8
    latents, noise, times, embeddings, without_detail, without_condition = path
    assert len(latents) == 4 and bool(without_condition.all()) and not bool(without_detail.any())
    assert bool(((times > 0) & (times < 1)).all())
    with torch.no_grad():
        expected = noise
        for time in (1.0, 0.5):
            velocity = batches.before(expected, torch.full((4,), time), embeddings, without_detail, without_condition)
            expected = expected - velocity / 2
    torch.testing.assert_close(latents, expected)


def test_a_few_steps_bring_pictures_nearer(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, prompts: Prompts
) -> None:
    batches = Batches(pictures, prompts, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
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
