"""Augmentation that keeps pictograms intact: small shifts and scalings on the white ground, no flips, no hue."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unclip_mm.towers.vision import thicker


def shift_and_scale(
    pixels: Tensor, generator: torch.Generator, shift: float = 0.06, scale: tuple[float, float] = (0.85, 1.08)
) -> Tensor:
    """Shift and scale each picture at random; what comes in from outside is white.

    Args:
        pixels: (B, C, H, W), white = 1.
        generator: The source of randomness, on the CPU.
        shift: Largest shift, as a fraction of the side.
        scale: Smallest and largest size, relative.

    Example:
        >>> white = torch.ones(2, 3, 8, 8)
        >>> bool((shift_and_scale(white, torch.Generator().manual_seed(0)) == 1).all())
        True
    """
    count = len(pixels)
    size = scale[0] + (scale[1] - scale[0]) * torch.rand(count, generator=generator)
    offset = (2 * torch.rand(count, 2, generator=generator) - 1) * 2 * shift
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / size
    theta[:, :, 2] = offset
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False).to(pixels.device)
    return F.grid_sample(pixels - 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 1


def another_hand(
    pixels: Tensor, generator: torch.Generator, turn: float = 0.15, stretch: float = 0.15, thick: float = 0.4
) -> Tensor:
    """Turn and stretch drawings a little, and draw some of them with a thicker pen, as another hand might have.

    Args:
        pixels: (B, 1, H, W), dark lines on white = 1.
        generator: The source of randomness, on the CPU.
        turn: Largest angle, in radians.
        stretch: How much wider or narrower a drawing becomes at most, relative.
        thick: Share of the drawings whose lines become up to two pixels thicker.

    Example:
        >>> drawing = torch.ones(1, 1, 9, 9)
        >>> drawing[..., 4, :] = -1
        >>> thicker = another_hand(drawing, torch.Generator().manual_seed(0), 0.0, 0.0, 1.0)
        >>> bool(thicker[..., 3, :].mean() < drawing[..., 3, :].mean())
        True
    """
    count = len(pixels)
    angle, wide = (2 * torch.rand(2, count, generator=generator) - 1) * torch.tensor([[turn], [stretch]])
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = angle.cos() * (1 + wide), angle.cos() / (1 + wide)
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin(), angle.sin()
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False).to(pixels.device)
    turned = F.grid_sample(pixels - 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 1
    chosen = torch.rand(count, 1, 1, 1, generator=generator) < thick
    share = torch.where(chosen, torch.rand(count, 1, 1, 1, generator=generator), 0.0).to(pixels)
    return thicker(turned, share)


def line_drawing(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the edges of pictures: a stand-in for a sketch, for pictures that nobody has sketched.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        generator: The source of randomness (how dark faint edges become).

    Returns:
        (B, 1, H, W) in [-1, 1], dark lines on white.

    Example:
        >>> square = torch.ones(1, 3, 8, 8)
        >>> square[:, :, 2:6, 2:6] = -1
        >>> drawing = line_drawing(square, torch.Generator().manual_seed(0))
        >>> drawing.shape, bool(drawing[0, 0, 1, 3] < 0 < drawing[0, 0, 0, 0])
        (torch.Size([1, 1, 8, 8]), True)
    """
    padded = F.pad(pixels, (0, 1, 0, 1), mode="replicate")
    steps = (padded[..., 1:, :-1] - pixels).abs() + (padded[..., :-1, 1:] - pixels).abs()
    strength = 1.0 + 1.5 * torch.rand(len(pixels), 1, 1, 1, generator=generator).to(pixels)
    return 1 - 2 * (steps.amax(dim=1, keepdim=True) * strength - 0.15).clamp(0, 1)
