"""The prior: what it is told, what it is not, and how it is sampled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor

from train.preferred import PictureDraw, well_made
from unclip_mm.diffusion import noise_by_seed
from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.sampling import sample_prior

ALIGNED, WHOLE = 4, 6


def unit(rows: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(rows, ALIGNED, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def prior() -> MultimodalPrior:
    torch.manual_seed(0)
    prior = MultimodalPrior(ALIGNED, WHOLE, width=16, hidden=32, layers=2, styles=["flat", "shaded"]).eval()
    torch.nn.init.normal_(prior.style.weight[1:])
    return prior


def sample(
    prior: MultimodalPrior,
    condition: Tensor,
    scale: float,
    negative: Tensor | None = None,
    style: Tensor | None = None,
) -> Tensor:
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False)
    noise = noise_by_seed((WHOLE,), range(len(condition)))
    with torch.no_grad():
        return sample_prior(prior, scheduler, condition, noise, 3, scale, negative, style=style)


def test_a_condition_has_a_say_where_it_is_known(prior: MultimodalPrior) -> None:
    noisy, times = torch.randn(2, WHOLE), torch.tensor([10, 900])
    one, other = (prior(noisy, times, unit(2, seed), torch.tensor([True, False])) for seed in (0, 1))
    assert not torch.allclose(one[0], other[0]) and torch.equal(one[1], other[1])


def test_a_style_has_a_say_where_it_is_known(prior: MultimodalPrior) -> None:
    noisy, times, known = torch.randn(2, WHOLE), torch.tensor([10, 900]), torch.tensor([True, False])
    flat, shaded, open_, strange = (
        prior(noisy, times, unit(2), known, prior.style_numbers([name] * 2))
        for name in ("flat", "shaded", None, "baroque")
    )
    assert not torch.allclose(flat[0], shaded[0]) and not torch.allclose(flat[0], open_[0])
    assert torch.equal(flat[1], shaded[1])  # without a condition there is none
    assert torch.equal(open_, strange) and torch.equal(open_, prior(noisy, times, unit(2), known))


def test_a_style_is_guided_to_as_the_prompt_is(prior: MultimodalPrior) -> None:
    both = prior.style_numbers(["flat", "shaded"])
    made = sample(prior, unit(2), 2.0, style=both)
    assert torch.allclose(sample(prior, unit(2), 2.0, style=both[:1].expand(2))[0], made[0], atol=1e-6)
    assert not torch.allclose(sample(prior, unit(2), 2.0, style=both.flip(0)), made)
    # Led away from a prompt in the same style, and not from the style.
    assert torch.allclose(
        sample(prior, unit(2), 3.0, unit(2), both), sample(prior, unit(2), 1.0, style=both), atol=1e-5
    )


def test_time_has_a_say(prior: MultimodalPrior) -> None:
    noisy, condition, known = torch.randn(1, WHOLE), unit(1), torch.tensor([True])
    one, other = (prior(noisy, torch.tensor([time]), condition, known) for time in (10, 900))
    assert not torch.allclose(one, other)


def test_every_parameter_is_trained(prior: MultimodalPrior) -> None:
    style = prior.style_numbers(["flat", "shaded", None])
    known = torch.ones(3, dtype=torch.bool)
    prior(torch.randn(3, WHOLE), torch.tensor([1, 500, 999]), unit(3), known, style).sum().backward()
    assert prior.style.weight.grad.abs().sum(dim=1).bool().tolist() == [False, True, True]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in prior.parameters())


def test_guidance_goes_from_the_negative_to_the_prompt(prior: MultimodalPrior) -> None:
    condition, negative = unit(2, 0), unit(2, 1)
    assert torch.allclose(sample(prior, condition, 1.0), sample(prior, condition, 1.0, negative))
    assert torch.allclose(sample(prior, condition, 3.0, condition), sample(prior, condition, 1.0), atol=1e-5)
    assert torch.allclose(sample(prior, condition, 0.0, negative), sample(prior, negative, 1.0), atol=1e-5)
    assert not torch.allclose(sample(prior, condition, 3.0), sample(prior, condition, 3.0, negative))


def test_a_row_does_not_depend_on_the_others(prior: MultimodalPrior) -> None:
    condition = unit(3)
    assert torch.allclose(sample(prior, condition, 2.0)[:1], sample(prior, condition[:1], 2.0), atol=1e-5)


def test_the_condition_is_the_mean_of_what_is_there_where_images_lie() -> None:
    normalizer = EmbeddingNormalizer(WHOLE, ALIGNED, ("text", "audio"))
    shift = torch.tensor([0.5, 0.0, 0.0, 0.0])
    normalizer.fit(torch.randn(50, WHOLE), {"text": unit(50) + shift, "audio": unit(50)})
    text, audio = unit(2, 3), unit(2, 4)
    both = Embeddings.from_dict({"text": text, "audio": audio}, {"audio": torch.tensor([True, False])})
    moved_text, moved_audio = normalizer.to_image(text, "text"), normalizer.to_image(audio, "audio")
    assert not torch.allclose(moved_text, text)
    condition = normalizer.condition(both)
    assert torch.allclose(condition[0], F.normalize(moved_text[0] + moved_audio[0], dim=-1), atol=1e-6)
    assert torch.allclose(condition[1], moved_text[1], atol=1e-6)
    weighed = normalizer.condition(both, {"text": 1.0, "audio": 3.0})
    assert torch.allclose(weighed[0], F.normalize(moved_text[0] + 3 * moved_audio[0], dim=-1), atol=1e-6)
    with pytest.raises(InputError, match="row 1"):
        normalizer.condition(both, {"audio": 1.0})


def test_pictures_are_drawn_by_their_chance_within_their_concept() -> None:
    concepts = ["cat", "dog", "cat", "cat", "dog"]
    draw = PictureDraw(concepts, torch.tensor([1.0, 2.0, 3.0, 1e-30, 2.0]).log() - 800)
    assert draw.count == 2 and draw.numbers.tolist() == [0, 1, 0, 0, 1]
    cats = draw(torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(0)).bincount(minlength=5)
    assert cats[[1, 3, 4]].sum() == 0 and 900 < cats[0] < 1100
    dogs = draw(torch.ones(4000, dtype=torch.int64), torch.Generator().manual_seed(0)).bincount(minlength=5)
    assert dogs[[0, 2, 3]].sum() == 0 and 1850 < dogs[1] < 2150
    alike = PictureDraw(concepts)(torch.zeros(3000, dtype=torch.int64), torch.Generator().manual_seed(0)).bincount()
    assert alike[1] == 0 and all(900 < count < 1100 for count in alike[[0, 2, 3]])


def test_many_concepts_keep_to_their_own_pictures() -> None:
    numbers = torch.arange(3000).repeat_interleave(3)
    logits = -200 * torch.rand(9000, generator=torch.Generator().manual_seed(0))  # most next to nothing
    draw = PictureDraw([str(number) for number in numbers.tolist()], logits)
    for seed in range(3):
        asked = torch.randint(3000, (5000,), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(numbers[draw(asked, torch.Generator().manual_seed(seed))], asked)


def test_what_is_made_well_is_preferred() -> None:
    errors = torch.tensor([0.1, 0.3, 0.2, 0.2])
    logits = well_made(errors, 1.5)
    assert logits.argmax() == 0 and logits[2] == logits[3]
    torch.testing.assert_close(logits[1] - logits[2], -1.5 * 0.1 / errors.std())
    enough = well_made(errors, 1.5, enough=0.7)
    assert enough[[0, 2, 3]].tolist() == [0.0] * 3 and enough[1] < 0
    torch.testing.assert_close(enough[1], -1.5 * (0.3 - errors.quantile(0.7)) / errors.std())
    same = well_made(torch.full((3,), 0.2), 4.0)
    assert bool(same.isfinite().all()) and bool((same == same[0]).all())
