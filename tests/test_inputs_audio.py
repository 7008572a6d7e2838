"""Sound of any format comes back as one plain form; what is no sound, or damaged, gets an error of one line."""

from __future__ import annotations

import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_cases import FORMATS, RATE, refusal, sound_bytes, tone

from unclip_mm.errors import InputError
from unclip_mm.inputs import load_audio


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2)])
def test_sound_of_any_format_rate_and_channels(form: str, rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"sound.{form}"
    path.write_bytes(sound_bytes(form, 0.5, rate, channels))
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == pytest.approx((8000,), rel=0.2)  # MP3 and Opus pad to whole frames
    assert 0.4 < np.abs(samples).max() < 0.7
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(440, abs=5)
    assert np.array_equal(load_audio(path.read_bytes()), samples)


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float16", "float32", "float64"])
def test_arrays_of_any_type_are_the_same_sound(kind: str) -> None:
    samples = tone()
    scaled = {"int16": samples * 32768, "int32": samples * 2.0**31, "uint8": samples * 128 + 128}.get(kind, samples)
    stereo = np.stack([scaled, scaled], axis=1).astype(kind)
    loaded = load_audio((RATE, stereo))
    assert loaded.dtype == np.float32
    assert np.allclose(loaded, samples, atol=0.01)
    assert np.array_equal(load_audio(stereo), loaded)
    assert load_audio((8000, stereo), sampling_rate=16000).shape == (2 * len(samples),)


def test_overshoot_is_clipped_and_what_was_loaded_loads_again() -> None:
    loud = load_audio(tone() * 2.4)
    assert np.abs(loud).max() == 1.0
    for seconds in (0.05, 60.0):
        once = load_audio((44100, tone(seconds, 44100)))
        assert np.array_equal(load_audio(once), once)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(0, dtype=np.int16), "holds no sound (its length is zero); give a sound from 0.05 to 60 seconds"),
        (tone(0.04), "lasts 0.04 seconds; give a sound from 0.05 to 60 seconds"),
        ((RATE, tone(60.5)), "lasts 60.5 seconds"),
        (np.zeros(RATE, dtype=np.int16), "is silent (no sample above 0.0001)"),
        (np.full(RATE, 0.5), "is silent"),
        (tone() * 1e-4, "is silent"),
        (np.stack([tone(), -tone()], axis=1), "is silent once its channels are averaged"),
        (np.where(np.arange(RATE) == 5, np.nan, 0.5), "holds NaN or infinite samples"),
        (np.where(np.arange(RATE) == 5, np.inf, 0.5), "holds NaN or infinite samples"),
        (tone() * 32768, "holds samples up to 1.638e+04; give floats in [-1, 1], or int16"),
        (tone().astype(np.int64), "holds int64 samples"),
        (tone().astype(complex), "holds complex128 samples"),
        (np.array(["a", "b"] * RATE), "samples; give int16"),
        (tone()[None], "has shape (1, 8000); give (samples,) or (samples, channels)"),
        (np.array(1.0), "has shape ()"),
        ((tone(), RATE), "is a tuple of another kind"),
        ((RATE, tone(), 1), "is a tuple of another kind"),
        ((0, tone()), "has a sampling rate of 0; give a whole number from 1000 to 384000"),
        ((-RATE, tone()), "has a sampling rate of -16000"),
        ((float("nan"), tone()), "has a sampling rate of nan"),
        ((True, tone()), "has a sampling rate of True"),
    ],
)
def test_bad_samples(source: Any, message: str) -> None:
    assert message in refusal(load_audio, source)
    assert refusal(load_audio, source, name="audio 2").startswith("audio 2: ")


def test_hour_long_file_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    path.write_bytes(sound_bytes("wav", 0.1))
    with path.open("r+b") as file:  # the header of an hour, and a sparse file behind it
        size = 3600 * RATE * 2
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(size + 44)
    start = time.perf_counter()
    assert refusal(load_audio, path) == f"{path}: lasts 3600 seconds; give a sound from 0.05 to 60 seconds"
    assert time.perf_counter() - start < 0.5


def test_sound_files_that_are_cut_short() -> None:
    wav = sound_bytes("wav", 1.0)
    assert "is cut short (only 0.5 of 1 seconds are there)" in refusal(load_audio, wav[: 44 + RATE])
    assert "is cut short (only" in refusal(load_audio, sound_bytes("aiff", 1.0)[:20000])
    for form in ("flac", "ogg", "opus"):
        whole = sound_bytes(form, 1.0)
        assert "is damaged" in refusal(load_audio, whole[: len(whole) // 2]), form
    assert "no sound (its length is zero)" in refusal(load_audio, sound_bytes("wav", 0))


def test_mp3_that_is_cut_short() -> None:
    whole = sound_bytes("mp3", 2.0)
    code = "import sys; from unclip_mm.inputs import load_audio; load_audio(sys.stdin.buffer.read(), name='voice')"
    run = subprocess.run(  # in a process of its own: the decoder writes a warning to the error stream by itself
        [sys.executable, "-c", code], input=whole[: len(whole) // 2], capture_output=True, check=False
    )
    assert b"InputError: voice: is cut short (only" in run.stderr


def test_streams_that_do_not_know_their_length() -> None:
    wav = bytearray(sound_bytes("wav"))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    assert load_audio(bytes(wav)).shape == (8000,)
    flac = bytearray(sound_bytes("flac"))
    flac[21] &= 0xF0  # the 36 bits of the number of samples
    flac[22:26] = bytes(4)
    assert "does not say how long it is; save it again as WAV" in refusal(load_audio, bytes(flac))


def test_sound_files_with_odd_headers(tmp_path: Path) -> None:
    assert "has 9 channels; give at most 8" in refusal(load_audio, sound_bytes(channels=9))
    assert "has a sampling rate of 500;" in refusal(load_audio, sound_bytes(rate=500))
    raw = tmp_path / "voice.raw"  # a name that asks for headerless samples does not count, the content does
    raw.write_bytes(sound_bytes())
    assert "can be read" in refusal(load_audio, raw)
    floats = BytesIO()
    soundfile.write(floats, np.full(RATE, np.nan), RATE, format="WAV", subtype="FLOAT")
    assert "holds NaN" in refusal(load_audio, floats.getvalue())


def test_without_the_audio_extra_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(sound_bytes())
    code = (
        "import sys; sys.modules['soundfile'] = None; from unclip_mm.inputs import load_audio; load_audio(sys.argv[1])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert f'InputError: {path}: reading sound needs soundfile; run pip install "unclip-mm[audio]"' in run.stderr


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), form=st.sampled_from(["wav", "flac", "ogg", "aiff"]))
def test_damaged_sounds_load_or_raise_an_input_error(data: st.DataObject, form: str) -> None:
    damaged = bytearray(sound_bytes(form, 0.1))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert np.isfinite(load_audio(bytes(damaged))).all()
    except InputError as error:
        assert "\n" not in str(error)
