"""Train the picture autoencoder: ``python -m train.autoencoder --recipe pictograms``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC
from torch import Tensor, nn

from train.augment import shift_and_scale
from train.config import AutoencoderConfig
from train.loop import Losses, Step, train
from train.stage import Stage, run_stage
from unclip_mm.autoencoder import build_autoencoder, fit_scaling_factor
from unclip_mm.data.cache import pixels_to_float


def gradient_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error of horizontal and vertical differences, at full and half resolution."""
    total = a.new_zeros(())
    for scale in (1, 2):
        x, y = (F.avg_pool2d(t, scale) if scale > 1 else t for t in (a, b))
        total = total + (x.diff(dim=-1) - y.diff(dim=-1)).abs().mean() + (x.diff(dim=-2) - y.diff(dim=-2)).abs().mean()
    return total / 4


def picture_losses(decoded: Tensor, pixels: Tensor, gradient_weight: float) -> Losses:
    """L1 of pixels and of their gradients."""
    return {
        "pixel_loss": (decoded - pixels).abs().mean(),
        "gradient_loss": gradient_weight * gradient_error(decoded, pixels),
    }


def peak_signal_to_noise(decoded: Tensor, pixels: Tensor) -> float:
    """Mean over pictures, in decibels."""
    error = (decoded.clamp(-1, 1) - pixels).square().mean(dim=(1, 2, 3)) / 4
    return float((-10 * torch.log10(error)).mean())


class ReconstructionLoss(nn.Module):
    """L1 of pixels and of their gradients, with noise on the latents and a weak pull towards small ones."""

    def __init__(self, config: AutoencoderConfig, autoencoder: AutoencoderDC):
        super().__init__()
        self.autoencoder = autoencoder
        self.config = config

    def forward(self, pixels: Tensor, noise: Tensor) -> Losses:
        """Return the losses of a batch."""
        latents = self.autoencoder.encode(pixels).latent
        decoded = self.autoencoder.decode(latents + self.config.latent_noise * noise).sample
        losses = picture_losses(decoded, pixels, self.config.gradient_weight)
        return {**losses, "latent_loss": 1e-3 * latents.square().mean()}


def train_autoencoder(stage: Stage[AutoencoderConfig]) -> None:
    """Train, export to ``RUN/export/autoencoder``, and report the error on held-out pictures."""
    config, cache = stage.config, stage.caches("image")["image"]
    pixels, held_out = (cache.tensors["pixels"][cache.where(split=split)] for split in ("train", "validation"))
    torch.manual_seed(config.loop.seed)
    autoencoder = stage.initial(
        AutoencoderDC,
        lambda: build_autoencoder(config.latent_channels, config.channels, config.layers),
        latent_channels=config.latent_channels,
    )
    model = ReconstructionLoss(config, autoencoder)

    def loss(prepared: nn.Module, step: Step) -> Losses:
        rows = torch.randint(len(pixels), (step.batch_size,), generator=step.generator)
        batch = shift_and_scale(pixels_to_float(pixels[rows]), step.generator)
        side = batch.shape[-1] // 2 ** (len(config.channels) - 1)
        noise = torch.randn(len(rows), config.latent_channels, side, side, generator=step.generator)
        return prepared(batch.to(stage.device), noise.to(stage.device))

    def validate(model: Any) -> dict[str, float]:
        batch = pixels_to_float(held_out[:256]).to(stage.device)
        return {"held_out_psnr": peak_signal_to_noise(model.autoencoder(batch).sample.float(), batch)}

    trained = train(config.loop, model, loss, stage.folder, validate=validate, description="autoencoder")
    fit_scaling_factor(trained.autoencoder, pixels_to_float(pixels[:1024]).to(stage.device))
    stage.save(trained.autoencoder)
    print({"exported": str(stage.export), **validate(trained)})


if __name__ == "__main__":
    run_stage("autoencoder", __doc__, train_autoencoder)
