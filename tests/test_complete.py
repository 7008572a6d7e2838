"""The completion: what it is taught, that it settles on one of several answers, and what the pipeline does with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from train.complete import CHOICE, Batches, NearestLoss
from train.conditions import Conditions
from train.config import CompletionConfig, PriorConfig
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.data.cache import ModalityCache
from unclip_mm.encoder import aligned_part

CONCEPTS = ["sun", "sun", "sun", "moon"]


@pytest.fixture
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    return UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)


@pytest.fixture
def embeddings(pipe: UnCLIPMultimodalPipeline) -> torch.Tensor:
    return torch.randn(4, pipe.encoder.image_embedding_dim, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def batches(pipe: UnCLIPMultimodalPipeline, embeddings: torch.Tensor) -> Batches:
    """Of three suns and a moon; nothing but pictures is asked with."""
    asked = Conditions({"image": ModalityCache({}, [])}, pipe.encoder, pipe.normalizer, "train", PriorConfig())
    config = CompletionConfig(pictures=0.5, condition_noise=0.0)
    return Batches(embeddings, CONCEPTS, asked, pipe.normalizer, config, torch.device("cpu"))


def completion(aligned: int, whole: int) -> EmbeddingCompletion:
    torch.manual_seed(0)
    return EmbeddingCompletion(aligned, whole, width=32, layers=1)


def test_pictures_mean_themselves_and_prompts_any_picture_of_their_concept(
    pipe: UnCLIPMultimodalPipeline, embeddings: torch.Tensor, batches: Batches
) -> None:
    condition, answers = batches.draw(80, torch.Generator().manual_seed(0))
    assert answers.shape == (80, CHOICE, embeddings.shape[1])
    standardised, own = pipe.normalizer.normalize(embeddings), aligned_part(embeddings, pipe.encoder.dim)
    moons = 0
    for row, (asked, some) in enumerate(zip(condition, answers, strict=True)):
        picture = int((own @ asked).argmax())
        torch.testing.assert_close(asked, own[picture])
        rows = [picture] if row < 40 else [i for i in range(4) if CONCEPTS[i] == CONCEPTS[picture]]
        found = {i for i in range(4) if bool((some == standardised[i]).all(dim=1).any())}
        assert found == set(rows)
        moons += CONCEPTS[picture] == "moon"
    assert 25 < moons < 55  # one picture against three, and asked for as often


def test_noise_shortens_what_is_asked(pipe: UnCLIPMultimodalPipeline, batches: Batches) -> None:
    batches.config = CompletionConfig(pictures=1.0, condition_noise=2.0)
    condition, _ = batches.draw(40, torch.Generator().manual_seed(0))
    lengths = condition.norm(dim=1)
    assert bool((lengths < 1).all()) and float(lengths.min()) < 0.8


def test_the_nearest_answer_counts() -> None:
    model = NearestLoss(completion(3, 5))
    condition = F.normalize(torch.randn(2, 3), dim=1)
    made = model.completion(condition).detach()
    answers = torch.stack([made + 1, made - 0.5, made + 3], dim=1)
    losses = model(condition, answers)
    assert float(losses["nearest_loss"].detach()) == pytest.approx(0.25, abs=1e-5)
    assert float(losses["cosine"].detach()) == pytest.approx(
        float(F.cosine_similarity(made, made - 0.5, dim=1).mean()), abs=1e-5
    )


def test_it_settles_on_one_of_several_answers() -> None:
    """Their mean, which a plain regression would learn, is no answer."""
    model = NearestLoss(completion(3, 5))
    condition, answers = torch.eye(3), torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        model(condition, answers)["nearest_loss"].backward()
        optimizer.step()
    distances = (model.completion(condition).detach()[:, None] - answers).square().mean(dim=2)
    assert bool((distances.amin(dim=1) < 1e-2).all())
    assert bool(((answers - answers.mean(dim=1, keepdim=True)).square().mean(dim=2) > 0.1).all())


def test_the_pipeline_completes_what_is_asked_without_the_prior(pipe: UnCLIPMultimodalPipeline, tmp_path: Path) -> None:
    call = {"text": ["a red circle", "a blue square"], "seeds": [0, 0], "output_type": "pt"}
    plain, imagined = pipe(**call, use_prior=False).images, pipe(**call).images
    pipe.register_modules(completion=completion(pipe.encoder.dim, pipe.encoder.image_embedding_dim).eval())
    completed = pipe(**call, use_prior=False).images
    assert not torch.allclose(completed, plain) and torch.equal(pipe(**call).images, imagined)
    with torch.no_grad():
        whole = pipe.completion(pipe.meaning(pipe.encode(text=call["text"])))
    decoded = pipe(embeddings=pipe.normalizer.denormalize(whole), seeds=[0, 0], output_type="pt").images
    torch.testing.assert_close(completed, decoded, atol=1e-4, rtol=0)
    pipe.save_pretrained(tmp_path)
    again = UnCLIPMultimodalPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    torch.testing.assert_close(again(**call, use_prior=False).images, completed)


def test_without_a_completion_the_detail_is_the_mean(pipe: UnCLIPMultimodalPipeline) -> None:
    aligned = F.normalize(torch.randn(2, pipe.encoder.dim), dim=1)
    whole = pipe._completed(aligned)
    assert whole.shape == (2, pipe.encoder.image_embedding_dim) and bool((whole[:, pipe.encoder.dim :] == 0).all())
    mean = pipe.normalizer.denormalize(whole)
    torch.testing.assert_close(mean[:, : pipe.encoder.dim] / pipe.encoder.dim**0.5, aligned)
