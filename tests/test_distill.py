"""Distillation: pairs of noise and what the teacher makes of it, and what the prior imagines of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from train.conditions import Conditions
from train.config import DistillConfig
from train.distill import Batches, Pairs, conditions_of, make_pairs, sampling_error
from train.imagined import imagine, imagine_views
from train.prior import prior_scheduler
from train.recipes.tiny import TINY
from train.views import Views
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.cache import ModalityCache
from unclip_mm.sampling import sample_prior


@pytest.fixture(scope="module")
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    return UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)


@pytest.fixture(scope="module")
def views(pipe: UnCLIPMultimodalPipeline) -> Views:
    generator = torch.Generator().manual_seed(0)
    size = pipe.encoder.image_embedding_dim
    return Views(
        torch.randn(6, 2, size, generator=generator).half(), torch.randn(6, 2, 8, 8, 8, generator=generator).half()
    )


def test_pairs_are_what_the_teacher_makes(pipe: UnCLIPMultimodalPipeline, views: Views) -> None:
    config = DistillConfig(teacher_steps=3, embedding_noise=0.0)
    conditions = conditions_of(views, None, pipe.normalizer, config, 0)
    assert conditions.shape == (12, pipe.encoder.image_embedding_dim)
    pairs = make_pairs(pipe.decoder, conditions, config, 0, "pairs")
    assert len(pairs) == 12
    assert torch.equal(pairs.embeddings, conditions)
    # the teacher's own way there, in single precision
    assert sampling_error(pipe.decoder, pairs, 3, config.guidance_scale) < 1e-3
    assert not torch.equal(make_pairs(pipe.decoder, conditions, config, 1, "pairs").noise, pairs.noise)


def test_some_pairs_are_of_what_the_prior_imagines(pipe: UnCLIPMultimodalPipeline, views: Views) -> None:
    imagined = Views(torch.full_like(views.embeddings, 7.0), views.latents)
    sevens = pipe.normalizer.normalize(imagined.embeddings.float()).flatten(0, 1).half()
    for share in (0.0, 1.0):
        config = DistillConfig(imagined=share, embedding_noise=0.0)
        made = conditions_of(views, imagined, pipe.normalizer, config, 0)
        assert torch.allclose(made, sevens) == bool(share)


def test_rows_without_a_condition_are_pictures(views: Views) -> None:
    pairs = Pairs(
        *(torch.full((3, 8, 8, 8), value).half() for value in (5.0, 6.0)),
        torch.zeros(3, 4).half(),
    )
    batches = Batches(pairs, views, DistillConfig(drop_condition=0.5), torch.device("cpu"))
    latents, noise, times, _, nothing = batches.draw(40, torch.Generator().manual_seed(0))
    assert 5 < int(nothing.sum()) < 35
    assert bool((latents[~nothing] == 6).all()) and bool((noise[~nothing] == 5).all())
    assert not (latents[nothing] == 6).any() and not (noise[nothing] == 5).any()
    assert bool(((times >= 0) & (times < 1)).all())


def test_what_is_imagined_depends_on_the_seed_alone(pipe: UnCLIPMultimodalPipeline, views: Views) -> None:
    concepts = [str(number) for number in range(6)]
    items = [{"concept": concept, "split": "train"} for concept in concepts]
    pixels = {"pixels": torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8)}
    caches = {"image": ModalityCache({}, items), "sketch": ModalityCache(pixels, items)}
    conditions = Conditions(caches, pipe.encoder, pipe.normalizer, "train", TINY.prior)
    asked = conditions.draw(concepts, views.embeddings[:, 0].float(), 0.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(asked.norm(dim=-1), torch.ones(6))
    noisy = conditions.draw(concepts, views.embeddings[:, 0].float(), 3.0, torch.Generator().manual_seed(0))
    assert bool((noisy.norm(dim=-1) < 1).all()) and float(noisy.norm(dim=-1).std()) > 0.01
    given = (pipe.prior, conditions, concepts, views, pipe.normalizer, {"prior_steps": 8, "prior_guidance_scale": 2.0})
    made = imagine_views(*given, noise=0.5, seed=0)
    assert made.latents is views.latents
    assert made.embeddings.shape == views.embeddings.shape and bool(made.embeddings.isfinite().all())
    assert torch.equal(made.embeddings, imagine_views(*given, noise=0.5, seed=0).embeddings)
    assert not torch.equal(made.embeddings, imagine_views(*given, noise=0.5, seed=1).embeddings)


def test_a_prior_is_asked_for_whole_embeddings(pipe: UnCLIPMultimodalPipeline) -> None:
    asked = torch.nn.functional.normalize(torch.randn(6, pipe.encoder.dim), dim=-1)
    sampling = {"prior_steps": 3, "prior_guidance_scale": 2.0}
    styles = [None, *pipe.styles, *[None] * 5][:6]
    made = imagine(pipe.prior, asked, styles, sampling, 0)
    assert made.shape == (6, pipe.encoder.image_embedding_dim)
    assert torch.equal(made, imagine(pipe.prior, asked, styles, sampling, 0))
    assert not torch.equal(made, imagine(pipe.prior, asked, styles, sampling, 1))
    told = (imagine(pipe.prior, asked, [None] * 6, sampling, 0) != made).any(dim=1)
    assert told.tolist() == [style is not None for style in styles]
    noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        numbers = pipe.prior.style_numbers(styles)
        again = sample_prior(pipe.prior, prior_scheduler(), asked, noise, 3, 2.0, style=numbers)
        torch.testing.assert_close(made, again)


def test_an_embedding_goes_on_from_where_it_is(pipe: UnCLIPMultimodalPipeline) -> None:
    assert pipe.prior is not None
    scheduler = prior_scheduler()
    noise, asked = torch.randn(2, pipe.encoder.image_embedding_dim), torch.randn(2, pipe.encoder.dim)
    whole = sample_prior(pipe.prior, scheduler, asked, noise, 4, 1.0)
    scheduler.set_timesteps(4)
    known = torch.ones(2, dtype=torch.bool)
    with torch.no_grad():
        first = pipe.prior(noise, scheduler.timesteps[:1].expand(2), asked, known)
    after = scheduler.step(first, scheduler.timesteps[0], noise).prev_sample
    torch.testing.assert_close(sample_prior(pipe.prior, scheduler, asked, after, 4, 1.0, left_out=1), whole)
