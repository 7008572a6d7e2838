"""What contrastive objectives share: a temperature that is learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unclip_mm.checks import check_flag, check_number
from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import check_chunk_size
from unclip_mm.objectives.common import Objective

__all__ = ["Contrast"]

_MAX_SCALE = 100.0


class Contrast(Objective):
    """Base of the objectives that find a partner by a softmax over the batch.

    Args:
        temperature: initial temperature. The scale 1 / tau is clamped at 100, as in CLIP.
        learnable: train the temperature. Give the objective's parameters to the optimiser then, without weight decay;
            after `backward` each process has the whole gradient.
        chunk_size: rows compared at a time; None: what suits the device.
    """

    def __init__(self, temperature: float, learnable: bool, chunk_size: int | None) -> None:
        super().__init__()
        scale = 1.0 / check_number("temperature", temperature, positive=True)
        if scale > _MAX_SCALE:
            raise InputError(f"temperature: {temperature} is too small; give {1 / _MAX_SCALE} or more")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=check_flag("learnable", learnable))
        self.chunk_size = check_chunk_size(chunk_size)

    def scale(self, dtype: torch.dtype) -> Tensor:
        """Give 1 / tau, at most 100."""
        with torch.no_grad():  # on the parameter, before it is used: a clamp of the value would end its gradient
            self.log_scale.clamp_(max=math.log(_MAX_SCALE))
        return self.log_scale.to(dtype).exp()
