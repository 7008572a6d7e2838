"""Instruments of a General MIDI sound font, played by fluidsynth: a few short tunes each."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from train.pictograms.audio_files import read_mono

Tune = tuple[tuple[int, float], ...]
"""Notes one after the other: semitones above the root, seconds."""

TUNES: tuple[Tune, ...] = (
    ((0, 1.6),),
    ((0, 0.4), (4, 0.4), (7, 0.4), (12, 0.9)),
    ((0, 0.3), (2, 0.3), (4, 0.3), (5, 0.3), (7, 0.8)),
    ((12, 0.5), (7, 0.5), (3, 0.5), (0, 1.0)),
    ((-5, 0.25), (0, 0.25), (0, 0.25), (4, 0.25), (7, 0.9)),
    ((3, 0.7), (2, 0.7), (0, 1.2)),
)
NOISES: tuple[Tune, ...] = tuple(((semitones, seconds),) for semitones, seconds in ((0, 2.5), (-4, 2.0), (5, 3.0)))
RHYTHMS: tuple[Tune, ...] = (
    ((0, 0.8),),
    ((0, 0.4), (0, 0.4), (0, 0.4), (0, 0.6)),
    ((0, 0.3), (0, 0.15), (0, 0.15), (0, 0.3), (0, 0.15), (0, 0.15), (0, 0.6)),
    ((0, 0.12),) * 10,
)
LOW = {32, 33, 34, 35, 43, 58}
MIDDLE = {24, 25, 26, 27, 28, 29, 30, 42, 57, 60, 66, 67, 70}
_TICKS_PER_SECOND = 960
_PERCUSSION_CHANNEL = 9


def tunes(name: str) -> tuple[Tune, ...]:
    """Return what is played of an instrument: ``program 0`` to ``program 127``, or ``percussion 35`` to ``81``.

    Example:
        >>> len(tunes("program 40")), len(tunes("program 125")), len(tunes("percussion 38"))
        (6, 3, 4)
    """
    kind, number = name.split()
    if kind == "percussion":
        return RHYTHMS
    return NOISES if int(number) >= 120 else TUNES


def play(name: str, tune: Tune, sound_font: Path) -> np.ndarray:
    """Return a tune on an instrument, float32 samples (n,) at 16 kHz; of a compressed font only what sounds is unpacked."""
    with tempfile.TemporaryDirectory() as scratch:
        midi, wav = Path(scratch) / "tune.mid", Path(scratch) / "tune.wav"
        midi.write_bytes(midi_file(name, tune))
        settings = ["-R", "0", "-C", "0", "-g", "0.8", "-r", "44100"]
        if sound_font.suffix == ".sf3":  # a second to unpack as a whole; of other fonts, by parts some drums change
            settings += ["-o", "synth.dynamic-sample-loading=1"]
        command = ["fluidsynth", "-ni", "-q", *settings, "-F", str(wav), str(sound_font), str(midi)]
        subprocess.run(command, capture_output=True, check=True)
        return read_mono(wav)


def midi_file(name: str, tune: Tune) -> bytes:
    """Return a standard MIDI file of format 0 in which an instrument plays a tune and fades out.

    Example:
        >>> midi_file("program 40", ((0, 0.5),))[:4]
        b'MThd'
    """
    kind, number = name.split()
    program = int(number)
    if kind == "percussion":
        channel, root, events = _PERCUSSION_CHANNEL, program, b""
    else:
        root = 40 if program in LOW else 52 if program in MIDDLE else 64
        channel, events = 0, bytes([0, 0xC0, program])
    for semitones, seconds in tune:
        note = root if kind == "percussion" else root + semitones
        length = _variable_length(round(seconds * _TICKS_PER_SECOND))
        events += bytes([0, 0x90 | channel, note, 100]) + length + bytes([0x80 | channel, note, 0])
    events += _variable_length(_TICKS_PER_SECOND // 2) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 480 >> 8, 480 & 255])
    return header + b"MTrk" + len(events).to_bytes(4, "big") + events


def _variable_length(value: int) -> bytes:
    """Seven bits a byte, the highest bit set on all but the last, as MIDI writes times."""
    out = [value & 127]
    while value := value >> 7:
        out.append(128 | (value & 127))
    return bytes(reversed(out))
