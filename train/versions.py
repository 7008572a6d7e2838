"""Other versions of a sound, as another instrument, animal or room might have made it: few things have many recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from unclip_mm.inputs.audio import MAX_AUDIO_SECONDS, MIN_AUDIO_SECONDS, load_audio

RATE = 16000
SPEED = 1.3
"""Largest and smallest speed are this and one over this, where the sound stays one that is taken; the pitch goes with it."""
TILT = 6.0
"""Largest slope that is laid over the spectrum, in decibels an octave."""
NOISE = (15.0, 45.0)
"""How far below the sound the noise lies, in decibels."""


@dataclass(frozen=True)
class Version:
    """One version of a sound file.

    Attributes:
        file: The sound.
        seed: Of what is drawn.
    """

    file: Path
    seed: int

    def load(self) -> tuple[int, np.ndarray]:
        """Return the sampling rate and the samples (N,), float32, as the audio tower's processor takes them."""
        return RATE, vary(load_audio(self.file, sampling_rate=RATE), np.random.default_rng(self.seed))


def vary(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Play samples (N,) faster or slower, through another room, with a little noise; the result's peak is 0.9.

    Example:
        >>> tone = np.sin(np.arange(RATE) * 0.2).astype(np.float32)
        >>> other = vary(tone, np.random.default_rng(0))
        >>> other.dtype, RATE / SPEED <= len(other) <= RATE * SPEED, bool(abs(other).max() < 1)
        (dtype('float32'), True, True)
    """
    seconds = len(samples) / RATE
    speed = np.clip(SPEED ** random.uniform(-1, 1), 1.01 * seconds / MAX_AUDIO_SECONDS, seconds / MIN_AUDIO_SECONDS)
    played = soxr.resample(samples, RATE * speed, RATE)
    tilted = _tilt(played, random.uniform(-TILT, TILT))
    level = np.sqrt(np.mean(tilted**2)) * 10 ** (-random.uniform(*NOISE) / 20)
    noisy = tilted + level * random.standard_normal(len(tilted))
    return (0.9 * noisy / np.abs(noisy).max()).astype(np.float32)


def _tilt(samples: np.ndarray, slope: float) -> np.ndarray:
    """Make every octave ``slope`` decibels louder than the one below, from 100 Hz on."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 100.0) / 100.0)
    return np.fft.irfft(spectrum * 10 ** (slope * (octaves - octaves.mean()) / 20), len(samples))
