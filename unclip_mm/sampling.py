"""The two denoising loops: the prior's, over embeddings, and the decoder's, over latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.diffusion import guide
from unclip_mm.prior import MultimodalPrior

OnStep = Callable[[int, float, Tensor], None]
"""Called after each step with its number, its time and the sample."""


def sample_prior(
    prior: MultimodalPrior,
    scheduler: DDIMScheduler,
    condition: Tensor,
    noise: Tensor,
    steps: int,
    guidance_scale: float | Tensor,
    negative: Tensor | None = None,
    left_out: int = 0,
    style: Tensor | None = None,
) -> Tensor:
    """Sample standardised image embeddings.

    Args:
        prior: The network.
        scheduler: Its noise schedule, predicting the clean sample.
        condition: (B, D), of length 1 where it is exact, shorter where it is not.
        noise: (B, E), the only source of randomness.
        steps: Evaluations of the network (with guidance each on twice the batch).
        guidance_scale: 1 is no guidance; one for all, or (B,).
        negative: (B, D) to move away from, in place of the unconditional prediction.
        left_out: Steps that are left out at the beginning; ``noise`` is then an embedding made noisy up to the next one.
        style: int64 (B,), what :meth:`MultimodalPrior.style_numbers` gives; None leaves all styles open.

    Returns:
        (B, E).
    """
    scale = torch.as_tensor(guidance_scale, dtype=noise.dtype, device=noise.device).expand(len(noise))[:, None]
    count, guided = len(noise), bool((scale != 1).any())
    known = torch.ones(count, dtype=torch.bool, device=noise.device)
    if guided:
        condition = torch.cat([condition, condition if negative is None else negative])
        known = torch.cat([known, known & (negative is not None)])
        style = None if style is None else torch.cat([style, style])
    scheduler.set_timesteps(steps, device=noise.device)
    sample = noise
    for time in scheduler.timesteps[left_out:]:
        repeated = torch.cat([sample, sample]) if guided else sample
        clean = prior(repeated, time.expand(len(repeated)), condition, known, style).float()
        if guided:
            asked, other = clean.chunk(2)
            clean = guide(asked, other, scale)
        sample = scheduler.step(clean, time, sample).prev_sample
    return sample


def sample_decoder(
    decoder: EmbeddingDecoder,
    scheduler: FlowMatchEulerDiscreteScheduler,
    embeddings: Tensor,
    noise: Tensor,
    steps: int,
    guidance_scale: float,
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
        negative: (B, E) to move away from, in place of the unconditional prediction.
        on_step: Called after each step.

    Returns:
        (B, C, S, S).
    """
    count, guided = len(noise), guidance_scale != 1
    both = torch.cat([embeddings, embeddings if negative is None else negative]) if guided else embeddings
    without_condition = torch.zeros(len(both), dtype=torch.bool, device=noise.device)
    if guided and negative is None:
        without_condition[count:] = True
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps).tolist(), device=noise.device)
    latents = noise
    for number, time in enumerate(scheduler.timesteps):
        repeated = torch.cat([latents, latents]) if guided else latents
        times = (time / 1000).expand(len(repeated))
        velocity = decoder(repeated, times, both, without_condition).float()
        if guided:
            conditional, unconditional = velocity.chunk(2)
            velocity = guide(conditional, unconditional, guidance_scale)
        latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
        if on_step is not None:
            on_step(number, float(time), latents)
    return latents
