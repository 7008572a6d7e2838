"""Recordings of any format into small mono files: 16 kHz, trimmed, at one loudness."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

SAMPLING_RATE = 16000
PEAK = 0.9
QUIETEST_PEAK = 1e-3
"""A recording whose largest sample is smaller than this holds nothing to hear."""


def to_mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return float32 samples (n,) at 16 kHz from (n,) or (n, channels) samples at any rate.

    Example:
        >>> to_mono(np.zeros((44100, 2), np.float32), 44100).shape
        (16000,)
    """
    mono = np.asarray(samples, np.float32)
    if mono.ndim == 2:
        mono = mono.mean(axis=1)
    return mono if rate == SAMPLING_RATE else np.asarray(soxr.resample(mono, rate, SAMPLING_RATE), np.float32)


def read_mono(path: str | Path | BinaryIO) -> np.ndarray:
    """Return the recording in a file as float32 samples (n,) at 16 kHz, with mean 0."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return to_mono(samples - samples.mean(axis=0, dtype=np.float64), rate)


def trim(samples: np.ndarray, *, below_peak_db: float = 40.0, keep_seconds: float = 0.05) -> np.ndarray:
    """Cut what is quieter than ``below_peak_db`` under the loudest 20 ms from both ends, less a short margin.

    Example:
        >>> tone = np.sin(np.arange(8000) * 0.3).astype(np.float32)
        >>> quiet = np.zeros(16000, np.float32)
        >>> trim(np.concatenate([quiet, tone, quiet])).size == 8000 + 2 * 800
        True
    """
    frame = SAMPLING_RATE // 50
    padded = np.pad(samples, (0, -samples.size % frame))
    loudness = np.sqrt(np.mean(padded.reshape(-1, frame).astype(np.float64) ** 2, axis=1))
    loud = np.flatnonzero(loudness > loudness.max(initial=0.0) * 10 ** (-below_peak_db / 20))
    if loud.size == 0:
        return samples[:0]
    margin = round(keep_seconds * SAMPLING_RATE)
    return samples[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]


def write_recording(path: Path, samples: np.ndarray, *, seconds: float = 60.0) -> float:
    """Trim 16 kHz samples (n,), bring their peak to 0.9 and write them as 16-bit FLAC.

    Returns:
        The length in seconds of what was written; 0.0, and no file, if there is nothing to hear.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak) or peak < QUIETEST_PEAK:
        return 0.0
    kept = trim(samples)[: round(seconds * SAMPLING_RATE)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, kept * (PEAK / peak), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return kept.size / SAMPLING_RATE
