"""What the prior imagines: of pictures that it sees in part, and of what is asked for alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from train.conditions import Conditions
from train.prior import prior_scheduler
from train.stage import Stage
from train.views import Views
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.prior import MultimodalPrior
from unclip_mm.sampling import sample_prior

BATCH = 256
SEEN_FROM = 0.4
"""Least share of the prior's steps that are taken."""


def imagined_views(
    stage: Stage[Any], encoder: MultimodalEncoder, normalizer: EmbeddingNormalizer, views: Views, seed: int
) -> Views | None:
    """Return what the run's prior imagines of the versions of all training pictures, or None if no prior was trained."""
    recipe = stage.recipe
    if not stage.exported("prior").is_dir():
        return None
    prior = stage.trained("prior", MultimodalPrior)
    caches = stage.caches()
    concepts = [caches["image"].items[row]["concept"] for row in caches["image"].where(split="train")]
    conditions = Conditions(caches, encoder, normalizer, "train", recipe.prior)
    noise = recipe.distill.condition_noise
    return imagine_views(prior, conditions, concepts, views, normalizer, recipe.prior_sampling, noise, seed)


@torch.no_grad()
def imagine_views(
    prior: MultimodalPrior,
    conditions: Conditions,
    concepts: list[str],
    views: Views,
    normalizer: EmbeddingNormalizer,
    sampling: Mapping[str, float],
    noise: float,
    seed: int,
) -> Views:
    """Let the prior imagine every version of every picture once more, from more or less of it.

    The picture's own embedding is made noisy, up to a step of the prior's schedule that is drawn, and the prior goes on
    from there, asked with what a prompt might say. From the first step nothing is left of the picture but what the
    condition says; from a late one the layout stays, and the details are the prior's.

    Args:
        prior: Trained.
        conditions: What it is asked with.
        concepts: Of the N pictures.
        views: Of the N pictures.
        normalizer: Of the run.
        sampling: ``prior_steps`` and ``prior_guidance_scale``.
        noise: Of the conditions, see :meth:`train.conditions.Conditions.draw`.
        seed: Of all that is drawn.

    Returns:
        The same latents, with what was imagined in place of the embeddings.
    """
    device = next(prior.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    steps, scheduler = int(sampling["prior_steps"]), prior_scheduler()
    imagined = torch.empty_like(views.embeddings)
    for start in tqdm(range(0, len(concepts), BATCH), desc="imagined", unit="batch"):
        for version in range(views.embeddings.shape[1]):
            embeddings = views.embeddings[start : start + BATCH, version].float()
            asked = conditions.draw(concepts[start : start + BATCH], embeddings, noise, generator)
            left_out = int(torch.randint(0, int(steps * (1 - SEEN_FROM)) + 1, (), generator=generator))
            scheduler.set_timesteps(steps)
            random = torch.randn(embeddings.shape, generator=generator)
            begin = scheduler.add_noise(normalizer.normalize(embeddings), random, scheduler.timesteps[left_out][None])
            made = sample_prior(
                prior,
                scheduler,
                asked.to(device),
                begin.to(device),
                steps,
                sampling["prior_guidance_scale"],
                left_out=left_out,
            )
            imagined[start : start + BATCH, version] = normalizer.denormalize(made.cpu()).half()
    return Views(imagined, views.latents)


@torch.no_grad()
def imagine(
    prior: MultimodalPrior,
    conditions: Tensor,
    styles: Sequence[str | None],
    sampling: Mapping[str, float],
    seed: int,
) -> Tensor:
    """Return what the prior imagines (N, E), standardised, asked with ``conditions`` (N, D) and N styles, None for any."""
    device, scheduler, made = next(prior.parameters()).device, prior_scheduler(), []
    generator = torch.Generator().manual_seed(seed)
    numbers = prior.style_numbers(styles).split(BATCH)
    for part, style in zip(tqdm(conditions.split(BATCH), desc="imagined", unit="batch"), numbers, strict=True):
        sample = sample_prior(
            prior,
            scheduler,
            part.to(device),
            torch.randn(len(part), prior.config.embedding_dim, generator=generator).to(device),
            int(sampling["prior_steps"]),
            sampling["prior_guidance_scale"],
            style=style.to(device),
        )
        made.append(sample.cpu())
    return torch.cat(made)
