"""Sounds, from files or memory. Needs the ``audio`` extra (soundfile, soxr), which is imported on first use."""

from __future__ import annotations

import os
import re
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from unclip_mm.errors import InputError
from unclip_mm.inputs.files import name_of, readable, reason

MIN_AUDIO_SECONDS = 0.05
MAX_AUDIO_SECONDS = 60.0
_SLACK = 0.001
"""Seconds that resampling may add or take away: what was taken once is taken again at another rate."""
MAX_CHANNELS = 8
RATES = (1000, 384_000)
"""The lowest and the highest sampling rate that is taken."""
SILENCE = 1e-4
"""A sound whose samples all stay this close to their mean is silent."""
MAX_PEAK = 2.0
"""Floats may overshoot 1, as lossy formats do, and are clipped; beyond this their scale is not known."""

_GOOD_SOUND = "give a WAV, FLAC, OGG, Opus, MP3 or AIFF"
_HEADS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff")
_UNKNOWN_BYTES = 0x7FFF0000
"""From this size on, the header of a WAV was written by a recorder that did not know the length yet."""


def load_audio(source: object, *, sampling_rate: int = 16000, name: str | None = None) -> np.ndarray:
    """Load a sound: channels are averaged to one, and it is resampled.

    Values a little over full scale, as lossy formats give them, are clipped.

    Args:
        source: A path or the bytes of a WAV, FLAC, OGG, Opus, MP3 or AIFF file; a ``(rate, samples)`` tuple as gradio
            gives it; or samples that are already at ``sampling_rate``. Samples: (samples,) or (samples, channels),
            int16, int32 or uint8 of full range, or floats in [-1, 1].
        sampling_rate: Samples a second of the result.
        name: What an error calls it.

    Returns:
        (samples,) float32 in [-1, 1], from 0.05 to 60 seconds.

    Raises:
        InputError: A missing, empty, damaged or cut file, another kind of file, silence, too short, too long (from the
            header, before decoding), NaN, infinity, values far out of range, a wrong type, or the ``audio`` extra is
            missing.

    Example:
        >>> tone = np.sin(np.arange(8000) * 0.1).astype(np.float32)
        >>> load_audio((8000, tone)).shape
        (16000,)
        >>> load_audio(np.zeros(16000, dtype=np.float32), name="audio 1")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: audio 1: is silent (no sample above 0.0001); give a sound that can be heard
    """
    name = name or name_of(source, "audio")
    samples: np.ndarray
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[1], np.ndarray):
            raise InputError(f"{name}: is a tuple of another kind; give (sampling rate, array of samples)")
        rate, samples = source
    elif isinstance(source, np.ndarray):
        rate, samples = sampling_rate, source
    elif isinstance(source, (str, os.PathLike, bytes, bytearray)):
        rate, samples = _decode(readable(source, name), name)
    else:
        kind = type(source).__name__
        raise InputError(f"{name}: is a {kind}; give a path, bytes, or (sampling rate, array of samples)")
    _check_rate(rate, name)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        wanted = f"(samples,) or (samples, channels) with at most {MAX_CHANNELS} channels"
        raise InputError(f"{name}: has shape {samples.shape}; give {wanted}")
    _check_length(len(samples), rate, name)
    mono = _to_float(samples, name)
    _check_heard(mono, name)
    mono = mono if mono.ndim == 1 else mono.mean(axis=1)
    _check_heard(mono, name, " once its channels are averaged")
    if rate != sampling_rate:
        mono = _need("soxr", name).resample(mono, rate, sampling_rate)
    return np.clip(mono, -1.0, 1.0).astype(np.float32, copy=False)


def _decode(file: Path | BytesIO, name: str) -> tuple[int, np.ndarray]:
    """Read a file as (rate, (samples, channels) float32); its header is checked before anything is decoded."""
    soundfile = _need("soundfile", name)
    head = file.getvalue()[:12] if isinstance(file, BytesIO) else _first_bytes(file, 12)
    if not head.startswith(_HEADS) and not (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        raise InputError(f"{name}: is not a sound that can be read; {_GOOD_SOUND}")
    try:
        with soundfile.SoundFile(_Seekable(file.getvalue()) if isinstance(file, BytesIO) else os.fspath(file)) as sound:
            rate, channels, frames = sound.samplerate, sound.channels, sound.frames
            _check_rate(rate, name)
            if channels > MAX_CHANNELS:
                raise InputError(f"{name}: has {channels} channels; give at most {MAX_CHANNELS}")
            if frames > 2**62:  # a stream whose header was never completed
                raise InputError(f"{name}: does not say how long it is; save it again as WAV")
            _check_length(frames, rate, name)
            _check_whole(frames, _promised(sound.extra_info, frames), rate, name)
            samples = sound.read(dtype="float32", always_2d=True)
    except InputError:
        raise
    except Exception as error:  # whatever damaged data makes the decoder raise
        why = getattr(error, "error_string", "") or reason(error)
        raise InputError(f"{name}: is damaged or not a sound that can be read ({why}); {_GOOD_SOUND}") from error
    _check_whole(len(samples), int(0.9 * frames), rate, name)  # the length of an MP3 may be an estimate
    return rate, samples


class _Seekable(BytesIO):
    """Bytes as a file in which a wrong seek, as damaged headers ask for, stays where it is, as the decoder expects."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _promised(header: str, frames: int) -> int:
    """How many frames the header of a WAV or AIFF promises, from libsndfile's report on a file that holds fewer."""
    sizes = re.search(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", header, flags=re.MULTILINE)
    if sizes is None or int(sizes[1]) >= _UNKNOWN_BYTES or int(sizes[2]) == 0:
        return frames
    return frames * int(sizes[1]) // int(sizes[2])


def _to_float(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind != "f":
        raise InputError(f"{name}: holds {samples.dtype.name} samples; give int16, int32, or floats in [-1, 1]")
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: holds NaN or infinite samples; give floats in [-1, 1]")
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise InputError(f"{name}: holds samples up to {peak:.4g}; give floats in [-1, 1], or int16")
    return samples.astype(np.float32)


def _check_rate(rate: object, name: str) -> None:
    low, high = RATES
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not low <= rate <= high:
        raise InputError(f"{name}: has a sampling rate of {str(rate)[:40]}; give a whole number from {low} to {high}")


def _check_length(frames: int, rate: int, name: str) -> None:
    if frames <= 0:
        raise InputError(f"{name}: holds no sound (its length is zero); give {_span()}")
    if not MIN_AUDIO_SECONDS - _SLACK <= frames / rate <= MAX_AUDIO_SECONDS + _SLACK:
        raise InputError(f"{name}: lasts {frames / rate:.4g} seconds; give {_span()}")


def _check_whole(frames: int, promised: int, rate: int, name: str) -> None:
    if frames < promised:
        there = f"only {frames / rate:.3g} of {promised / rate:.3g} seconds are there"
        raise InputError(f"{name}: is cut short ({there}); give the whole file")


def _check_heard(samples: np.ndarray, name: str, when: str = "") -> None:
    if float(np.abs(samples - samples.mean(axis=0)).max()) < SILENCE:
        raise InputError(f"{name}: is silent{when} (no sample above {SILENCE}); give a sound that can be heard")


def _span() -> str:
    return f"a sound from {MIN_AUDIO_SECONDS:g} to {MAX_AUDIO_SECONDS:g} seconds"


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)


def _need(module: str, name: str) -> Any:
    try:
        return import_module(module)
    except (ImportError, OSError):  # OSError: soundfile without libsndfile
        raise InputError(f'{name}: reading sound needs {module}; run pip install "unclip-mm[audio]"') from None
