"""The two denoising loops: the prior's, over embeddings, and the decoder's, over latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import guide
from unclip_mm.embeddings import Embeddings
from unclip_mm.prior import MultimodalPrior

OnStep = Callable[[int, float, Tensor], None]
"""Called after each step with its number, its time and the sample."""


def composed_condition(condition: Embeddings, weights: dict[str, float] | None) -> list[tuple[float, Embeddings]]:
    """Split a condition into what the prior is asked, and how much each answer counts.

    Without weights the prior sees all modalities at once. With weights it is asked for each modality by itself and the
    answers are averaged, which is how conditions of diffusion models compose (arXiv:2206.01714).

    Example:
        >>> both = Embeddings.from_dict({"text": torch.eye(2), "audio": torch.eye(2)})
        >>> [(weight, part.modalities) for weight, part in composed_condition(both, {"text": 1, "audio": 3})]
        [(0.25, ('text',)), (0.75, ('audio',))]
    """
    if weights is None:
        return [(1.0, condition)]
    named = {name: float(weights.get(name, 0.0)) for name in condition.modalities}
    total = sum(named.values())
    return [(weight / total, condition.select([name])) for name, weight in named.items() if weight > 0]


def sample_prior(
    prior: MultimodalPrior,
    scheduler: DDIMScheduler,
    condition: Embeddings,
    noise: Tensor,
    steps: int,
    guidance_scale: float,
    weights: dict[str, float] | None = None,
    negative: Embeddings | None = None,
) -> Tensor:
    """Sample standardised image embeddings.

    Args:
        prior: The network.
        scheduler: Its noise schedule, predicting the clean sample.
        condition: B rows.
        noise: (B, E), the only source of randomness.
        steps: Evaluations of the network (each on all conditions at once).
        guidance_scale: 1 is no guidance.
        weights: As for :func:`composed_condition`.
        negative: B rows to move away from, in place of the unconditional prediction.

    Returns:
        (B, E).
    """
    parts = [(weight, prior.slots(part)) for weight, part in composed_condition(condition, weights)]
    empty = Embeddings(
        torch.zeros_like(parts[0][1].vectors), torch.zeros_like(parts[0][1].present), parts[0][1].modalities
    )
    base = prior.slots(negative) if negative is not None else empty
    asked = [*(part for _, part in parts), *([base] if guidance_scale != 1 else [])]
    vectors, present = (torch.cat([getattr(part, name) for part in asked]) for name in ("vectors", "present"))
    scheduler.set_timesteps(steps, device=noise.device)
    sample = noise
    for time in scheduler.timesteps:
        repeated = sample.repeat(len(asked), 1)
        answers = prior.predict(repeated, time.expand(len(repeated)), vectors, present).float().chunk(len(asked))
        clean = torch.stack([weight * answer for (weight, _), answer in zip(parts, answers, strict=False)]).sum(dim=0)
        if guidance_scale != 1:
            clean = guide(clean, answers[-1], guidance_scale)
        sample = scheduler.step(clean, time, sample).prev_sample
    return sample


def sample_decoder(
    decoder: EmbeddingDecoder,
    scheduler: FlowMatchEulerDiscreteScheduler,
    embeddings: Tensor,
    noise: Tensor,
    steps: int,
    guidance_scale: float,
    aligned_only: bool = False,
    negative: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample latents.

    Args:
        decoder: The network.
        scheduler: Flow matching, Euler steps.
        embeddings: (B, E), standardised.
        noise: (B, C, S, S), the only source of randomness.
        steps: Evaluations of the network (with guidance each on twice the batch).
        guidance_scale: 1 is no guidance.
        aligned_only: Use the aligned part of the embeddings alone.
        negative: (B, E) to move away from, in place of the unconditional prediction.
        on_step: Called after each step.

    Returns:
        (B, C, S, S).
    """
    count, guided = len(noise), guidance_scale != 1
    both = torch.cat([embeddings, embeddings if negative is None else negative]) if guided else embeddings
    without_detail = torch.full((len(both),), aligned_only, device=noise.device)
    without_condition = torch.zeros(len(both), dtype=torch.bool, device=noise.device)
    if guided and negative is None:
        without_condition[count:] = True
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist(), device=noise.device)
    latents = noise
    for number, time in enumerate(scheduler.timesteps):
        repeated = torch.cat([latents, latents]) if guided else latents
        times = (time / 1000).expand(len(repeated))
        velocity = decoder(repeated, times, both, without_detail, without_condition).float()
        if guided:
            conditional, unconditional = velocity.chunk(2)
            velocity = guide(conditional, unconditional, guidance_scale)
        latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
        if on_step is not None:
            on_step(number, float(time), latents)
    return latents
