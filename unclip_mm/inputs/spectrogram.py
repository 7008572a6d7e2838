"""The log-mel spectrogram that networks of sounds are taught with."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

RATE = 16_000
BANDS = 64
_WINDOW, _HOP, _FFT = 400, 160, 512
_OFFSET = 1e-3


def sound_spectrogram(waves: Tensor) -> Tensor:
    """Return ``log(mel + 0.001)`` as YAMNet and VGGish hear it: frames of 25 ms every 10 ms, 64 bands, 125 to 7,500 Hz.

    "CNN architectures for large-scale audio classification" (Hershey et al., 2017); magnitudes, and bands of the HTK
    scale.

    Args:
        waves: (B, samples) at 16 kHz, in [-1, 1].

    Returns:
        (B, 64, samples / 160), float32.

    Example:
        >>> tone = torch.sin(torch.arange(16_000) * 2 * torch.pi * 440 / 16_000)
        >>> loud = sound_spectrogram(tone[None])
        >>> loud.shape, int(loud[0, :, 50].argmax())
        (torch.Size([1, 64, 100]), 8)
    """
    before = (_FFT - _WINDOW) // 2  # the window lies in the middle of what is transformed
    padded = torch.nn.functional.pad(waves, (before, _FFT - _HOP - before))
    window = torch.hann_window(_WINDOW, device=waves.device)
    spectrum = torch.stft(padded, _FFT, _HOP, _WINDOW, window, center=False, return_complex=True)
    return (_filters().to(waves.device) @ spectrum.abs() + _OFFSET).log()


@cache
def _filters() -> Tensor:
    """The bands (64, 257)."""
    bands = mel_filter_bank(_FFT // 2 + 1, BANDS, 125.0, 7500.0, RATE, norm=None, mel_scale="htk")
    return torch.from_numpy(bands.T).float()
