"""Pixels to latents and back: diffusers' ``AutoencoderDC`` at the sizes this project uses.

Pictures are float tensors (B, 3, H, W) in [-1, 1]; latents are (B, C, H / 8, W / 8), scaled to unit variance by the
autoencoder's saved ``scaling_factor``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderDC
from torch import Tensor


def build_autoencoder(
    latent_channels: int = 16,
    channels: Sequence[int] = (64, 64, 128, 128),
    layers: Sequence[int] = (0, 1, 2, 1),
) -> AutoencoderDC:
    """Build an untrained convolutional autoencoder.

    Args:
        latent_channels: Channels C of the latents; must divide the last of ``channels``.
        channels: Widths from full resolution down; each further entry halves the resolution.
        layers: Residual blocks at each resolution; 0 at the first makes its step a plain pixel shuffle, which saves
            the convolutions at full resolution.

    Example:
        >>> autoencoder = build_autoencoder(4, channels=(8, 8, 16), layers=(0, 1, 1))
        >>> latents = encode_latents(autoencoder, torch.zeros(2, 3, 16, 16))
        >>> latents.shape, decode_latents(autoencoder, latents).shape
        (torch.Size([2, 4, 4, 4]), torch.Size([2, 3, 16, 16]))
    """
    attention = tuple(() for _ in channels)
    return AutoencoderDC(
        latent_channels=latent_channels,
        encoder_block_out_channels=tuple(channels),
        decoder_block_out_channels=tuple(channels),
        encoder_layers_per_block=tuple(layers),
        decoder_layers_per_block=tuple(layers),
        encoder_qkv_multiscales=attention,
        decoder_qkv_multiscales=attention,
    )


def replace_decoder(autoencoder: AutoencoderDC, channels: Sequence[int], layers: Sequence[int]) -> AutoencoderDC:
    """Give an autoencoder an untrained decoder half, which may make larger pictures than the encoder half takes.

    Args:
        autoencoder: Its encoder half and ``scaling_factor`` are kept, so the latents mean what they meant.
        channels, layers: As for :func:`build_autoencoder`; each entry more than the encoder has doubles the picture.

    Example:
        >>> small = build_autoencoder(4, channels=(8, 8, 16), layers=(0, 1, 1))
        >>> large = replace_decoder(small, channels=(8, 8, 8, 16), layers=(0, 1, 1, 1))
        >>> decode_latents(large, encode_latents(large, torch.zeros(2, 3, 16, 16))).shape
        torch.Size([2, 3, 32, 32])
    """
    decoder = {
        "decoder_block_out_channels": tuple(channels),
        "decoder_layers_per_block": tuple(layers),
        "decoder_qkv_multiscales": tuple(() for _ in channels),
        "upsample_block_type": "interpolate",  # a quarter of the weights of a pixel shuffle
    }
    renewed = AutoencoderDC.from_config({**autoencoder.config, **decoder})
    renewed.encoder.load_state_dict(autoencoder.encoder.state_dict())
    return renewed


def encode_latents(autoencoder: AutoencoderDC, pixels: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) in [-1, 1] to latents of unit variance."""
    return autoencoder.encode(pixels).latent * autoencoder.config.scaling_factor


def decode_latents(autoencoder: AutoencoderDC, latents: Tensor) -> Tensor:
    """Decode latents of unit variance to pictures (B, 3, H, W), clamped to [-1, 1]."""
    return autoencoder.decode(latents / autoencoder.config.scaling_factor).sample.clamp(-1, 1)


@torch.no_grad()
def fit_scaling_factor(autoencoder: AutoencoderDC, pixels: Tensor) -> None:
    """Set ``scaling_factor`` so that the latents of ``pixels`` have unit variance."""
    deviation = float(autoencoder.encode(pixels).latent.float().std())
    autoencoder.register_to_config(scaling_factor=1.0 / deviation)
