"""Decoder and renderer, trained together: what is drawn, what is trained, and that it helps."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from train.config import FinetuneConfig
from train.fidelity import errors_of, kept_errors
from train.finished import Batches, FinetuneLoss
from train.perceptual import PerceptualFeatures
from train.pictures import Pictures, embed_pictures
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.cache import pixels_to_float
from unclip_mm.errors import InputError

CONFIG = FinetuneConfig(perceptual_weight=0.0, embedding_noise=0.0, nothing=0.5)


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
    embeddings, pixels, twins = pictures.draw(6, 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = pipe.normalizer.normalize(pipe.encoder.image_embedding({"pixels": pixels}))
    torch.testing.assert_close(embeddings, own, atol=1e-4, rtol=1e-4)
    noisy, same, _ = pictures.draw(6, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, pixels) and torch.equal(twins, pixels) and not torch.equal(noisy, embeddings)


def test_what_is_made_of_prompts_is_to_become_the_picture_that_it_is_nearest_to(pictures: Pictures) -> None:
    shifted = Pictures(pictures.pixels, torch.cat([pictures.embeddings, -pictures.embeddings]), torch.arange(8))
    made = torch.stack([pictures.embeddings[2] * 3, pictures.embeddings[1] + 0.01, -pictures.embeddings[0]])
    more = shifted.with_recognised(made, 4, 0.99)  # what is nearest to a version is not asked about
    assert len(more.embeddings) == 10 and more.shown[8:].tolist() == [2, 1]
    assert torch.equal(more.embeddings[8:], made[:2]) and torch.equal(more.embeddings[:8], shifted.embeddings)
    assert len(shifted.with_recognised(made, 4, 1.1).shown) == 8
    drawn, pixels, _ = pictures.with_recognised(made[:1], 4, 0.99).draw(200, 0.0, torch.Generator().manual_seed(0))
    asked = (drawn == made[0]).all(dim=1)
    assert 15 < int(asked.sum()) < 80
    assert bool((pixels[asked] == pixels_to_float(pictures.pixels[2])).all())


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


def test_paths_are_those_of_the_decoder_as_it_came(pipe: UnCLIPMultimodalPipeline, pictures: Pictures) -> None:
    batches = Batches(pictures, deepcopy(pipe.decoder), CONFIG, 2, torch.device("cpu"))
    embeddings, noise, pixels, twins, corners, path = batches.draw(8, torch.Generator().manual_seed(0))
    assert len(embeddings) == len(noise) == len(pixels) == len(twins) == 8
    assert len(corners) == 4 and all(0 <= place <= 16 for corner in corners for place in corner)
    with pytest.raises(InputError, match=r"--nothing: 1.2 is not allowed; give a number from 0 to 1"):
        Batches(pictures, pipe.decoder, FinetuneConfig(nothing=1.2), 2, torch.device("cpu"))
    with pytest.raises(InputError, match=r"--hard: -0.1 is not allowed; give a number from 0 to 1"):
        Batches(pictures, pipe.decoder, FinetuneConfig(hard=-0.1), 2, torch.device("cpu"))
    with pytest.raises(InputError, match=r"--tell-apart-within: 0.0 is not allowed; give a number above 0"):
        Batches(pictures, pipe.decoder, FinetuneConfig(tell_apart_within=0.0), 2, torch.device("cpu"))
    latents, noise, times, embeddings, without_condition = path
    assert len(latents) == 4 and bool(without_condition.all())
    assert bool(((times > 0) & (times < 1)).all())
    with torch.no_grad():
        expected = noise
        for time in (1.0, 0.5):
            velocity = batches.before(expected, torch.full((4,), time), embeddings, without_condition)
            expected = expected - velocity / 2
    torch.testing.assert_close(latents, expected)


def test_what_is_made_badly_comes_up_more_often(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, tmp_path: Path
) -> None:
    model = FinetuneLoss(pipe.decoder, pipe.autoencoder, None, CONFIG, 2)
    errors = errors_of(model, pictures, 4)
    assert torch.equal(kept_errors(tmp_path, model, pictures, 4), errors)
    assert torch.equal(kept_errors(tmp_path, model, pictures, 4), errors)  # from the file
    noise = model.noise(4, torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        made = model.make(pictures.embeddings, noise).clamp(-1, 1)
    wanted = (made - pixels_to_float(pictures.pixels)).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(errors, wanted)
    twice = Pictures(pictures.pixels.repeat(2, 1, 1, 1), pictures.embeddings.repeat(2, 1), torch.arange(8))
    drawn = twice.favouring(torch.tensor([7.0, 1.0, 1.0, 1.0]), 1.0).draw(400, 0.0, torch.Generator().manual_seed(0))[0]
    assert 240 < int((drawn == pictures.embeddings[0]).all(dim=1).sum()) < 320  # both versions, in 70%


def test_the_perceptual_loss_sees_wholes_and_windows(pipe: UnCLIPMultimodalPipeline) -> None:
    kernel = torch.zeros(3, 3, 3, 3)
    kernel[range(3), range(3), 1, 1] = 1
    features = PerceptualFeatures([[(kernel, torch.zeros(3))]])
    model = FinetuneLoss(pipe.decoder, pipe.autoencoder, features, CONFIG, 2)
    real = torch.full((4, 3, 32, 32), 0.5)
    striped = real.clone()
    striped[:, 0, :, 0::2] += 0.4
    striped[:, 0, :, 1::2] -= 0.4  # the mean of two columns is as before
    whole = model.errors(striped, real)
    window = model.errors(striped, real, [(8, 8)] * 2)
    torch.testing.assert_close(window[:2], whole[:2])
    assert bool((whole < 1e-6).all()) and bool((window[2:] > 0.01).all())


def test_what_tells_a_picture_from_its_twin_counts_more(
    pipe: UnCLIPMultimodalPipeline, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FinetuneConfig(perceptual_weight=0.0, embedding_noise=0.0, tell_apart=1.0, tell_apart_within=0.1)
    model = FinetuneLoss(pipe.decoder, pipe.autoencoder, None, config, 2)
    concepts = ["sun", "sun", "moon", "star"]
    twins = pictures.with_twins(concepts).twins
    assert twins is not None
    cosines = torch.nn.functional.cosine_similarity(pictures.embeddings[:, None], pictures.embeddings, dim=-1)
    for place, twin in enumerate(twins.tolist()):
        others = [other for other in range(4) if concepts[other] != concepts[place]]
        assert twin == max(others, key=lambda other: float(cosines[place, other]))
    _, _, _, drawn, _, _ = Batches(
        pictures.with_twins(concepts), deepcopy(pipe.decoder), config, 2, torch.device("cpu")
    ).draw(8, torch.Generator().manual_seed(0))
    of_twins = pixels_to_float(pictures.pixels[twins])
    assert all(bool((picture == of_twins).flatten(1).all(dim=1).any()) for picture in drawn)

    made = torch.zeros(1, 3, 32, 32, requires_grad=True)
    wanted, twin = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    wanted[:, :, :16], wanted[:, :, 16:, :16], twin[:, :, :16] = 0.5, 0.5, 0.5  # alike but for the lower left
    monkeypatch.setattr(model, "make", lambda embeddings, noise: made)
    batches = Batches(pictures, deepcopy(pipe.decoder), config, 2, torch.device("cpu"))
    path = batches.draw(1, torch.Generator().manual_seed(0))[-1]
    gradients = []
    for other in (twin, wanted):
        loss = model(pictures.embeddings[:1], torch.zeros(1), wanted, other, (), path)["twin_loss"]
        [gradient] = torch.autograd.grad(loss, made)
        gradients.append(gradient[0, 0])
    assert bool((gradients[0][16:, :16] < 0).all()) and float(gradients[0][:16].abs().max()) == 0
    assert float(gradients[1].abs().max()) == 0  # nothing tells a picture from itself


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
