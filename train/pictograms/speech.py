"""Spoken names of concepts: human captions of Tux Paint's stamps in many languages, and English by espeak-ng.

Held out for tests: two whole languages, all English by humans, and three of espeak-ng's voices.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import md5
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train.pictograms.archives import Archives
from train.pictograms.audio_files import read_mono, to_mono, write_recording
from train.pictograms.concepts import Concept, singular, stable_fraction
from unclip_mm.data.manifest import Row

STAMPS = "usr/share/tuxpaint/stamps"
TEST_LANGUAGES = ("be", "el")
TRAINING_VOICES_PER_CONCEPT = 4


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng: accent and variant, words a minute, pitch (0 to 99)."""

    variant: str
    speed: int
    pitch: int

    @property
    def name(self) -> str:
        """The name that rows carry as their speaker."""
        return f"espeak-{self.variant.replace('+', '-')}"

    def speak(self, text: str) -> np.ndarray:
        """Return the spoken text, float32 samples (n,) at 16 kHz."""
        options = ["-v", self.variant, "-s", str(self.speed), "-p", str(self.pitch), "-b", "1", "--stdin", "--stdout"]
        wav = subprocess.run(["espeak-ng", *options], input=text.encode(), capture_output=True, check=True).stdout
        # The header's length fields are wrong where espeak-ng writes to a pipe; the rate stands at byte 24.
        rate = int.from_bytes(wav[24:28], "little")
        return to_mono(np.frombuffer(wav[44:], "<i2").astype(np.float32) / 32768, rate)


TRAINING_VOICES = (
    Voice("en-us", 160, 50),
    Voice("en-us+f2", 150, 55),
    Voice("en-us+m3", 140, 40),
    Voice("en-us+klatt3", 160, 50),
    Voice("en-us+Annie", 155, 50),
    Voice("en-gb+f4", 165, 60),
    Voice("en-gb+m1", 145, 45),
    Voice("en-gb+Michael", 150, 50),
    Voice("en-gb-scotland+m4", 150, 50),
    Voice("en-gb-x-rp+f3", 145, 50),
    Voice("en-gb-x-gbcwmd+m5", 160, 55),
    Voice("en-029+f1", 150, 45),
)
TEST_VOICES = (Voice("en-us-nyc+linda", 155, 50), Voice("en-gb-x-gbclan+m7", 150, 50), Voice("en-us+f5", 140, 55))


@dataclass(frozen=True)
class _Job:
    """A row to make and where its samples come from: a file, or a voice that speaks a text."""

    row: Row
    target: Path
    recording: Path | None = None
    voice: Voice | None = None
    words: str = ""


def rows(
    concepts: Mapping[str, Concept], archives: Archives, output: Path, espeak: bool = True, workers: int = 2
) -> Iterator[Row]:
    """Write the spoken names of all concepts below ``output/audio`` and yield their rows, in a fixed order.

    Args:
        concepts: By id.
        archives: Holds tuxpaint-stamps-default.
        output: The manifest folder.
        espeak: Also speak English with espeak-ng. Where it is not installed, a warning says so, and human English
            is trained on instead of held out.
        workers: Processes that decode, speak and write.
    """
    if espeak and shutil.which("espeak-ng") is None:
        warnings.warn("espeak-ng is not installed: speech consists of the human recordings alone", stacklevel=2)
        espeak = False
    output = Path(output)
    yield from _run(human_jobs(concepts, archives, output, hold_out_english=espeak), "human speech", workers)
    if espeak:
        yield from _run(espeak_jobs(concepts, output), "espeak-ng speech", workers)


def human_jobs(
    concepts: Mapping[str, Concept], archives: Archives, output: Path, *, hold_out_english: bool = True
) -> list[_Job]:
    """List the spoken captions of the stamps.

    The same recording appears once for a concept, and never both for a held-out concept and for a trained one.
    """
    folder = archives.path("tuxpaint-stamps-default") / STAMPS
    by_stamp = {key: concept for concept in concepts.values() for key in concept.sources if key.startswith("stamps:")}
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".ogg", ".wav"}):
        spoken = parse_recording(path.relative_to(folder))
        concept = by_stamp.get(f"stamps:{spoken[0]}") if spoken else None
        if spoken and concept:
            found.append((path, spoken, concept, md5(path.read_bytes(), usedforsecurity=False).hexdigest()))
    held_out = {content for _, _, concept, content in found if concept.split == "test_concept"}
    jobs: dict[tuple[str, str], _Job] = {}
    for path, (stamp, language, speaker), concept, content in found:
        if (concept.id, content) in jobs or (content in held_out and concept.split != "test_concept"):
            continue
        caption = read_caption(folder / f"{stamp}.txt")
        row = Row(
            id=f"speech-{speaker}-{stamp.replace('/', '-')}",
            concept=concept.id,
            text=(caption or concept.label,),
            split=_human_split(concept, language, hold_out_english),
            speaker=speaker,
            language=language,
            kind="speech",
            source="tuxpaint-stamps-default",
            licence="GPL-2.0-only",
        )
        jobs[concept.id, content] = _job(row, output, recording=path)
    return list(jobs.values())


def espeak_jobs(concepts: Mapping[str, Concept], output: Path) -> list[_Job]:
    """List what espeak-ng shall say: every label by some training voices, and by one held-out voice."""
    jobs = []
    for concept in concepts.values():
        only_clipart = all(picture.style == "clipart" for picture in concept.pictures)
        count = 1 if only_clipart else TRAINING_VOICES_PER_CONCEPT
        training = sorted(TRAINING_VOICES, key=lambda voice: stable_fraction(concept.id, voice.variant))[:count]
        test = () if only_clipart else sorted(TEST_VOICES, key=lambda v: stable_fraction(concept.id, v.variant))[:1]
        for position, voice in enumerate((*training, *test)):
            words = with_article(concept.label) if position % 2 else concept.label
            held_out = "test_speaker" if voice in TEST_VOICES else "train"
            row = Row(
                id=f"speech-{voice.name}-{concept.id}",
                concept=concept.id,
                text=tuple(dict.fromkeys([words, concept.label])),
                split=held_out if concept.split == "train" else concept.split,
                speaker=voice.name,
                language="en",
                kind="speech",
                source="espeak-ng",
                licence="CC0-1.0",
            )
            jobs.append(_job(row, output, voice=voice, words=words))
    return jobs


def parse_recording(path: Path) -> tuple[str, str, str] | None:
    """Return (stamp, language, speaker) of a recording below the stamps folder, or None if it is not speech.

    Example:
        >>> parse_recording(Path("animals/birds/owl_desc_fr.ogg"))
        ('animals/birds/owl', 'fr', 'tuxpaint-fr')
        >>> parse_recording(Path("animals/birds/owl_desc.ogg"))
        ('animals/birds/owl', 'en', 'tuxpaint-en')
        >>> parse_recording(Path("animals/birds/owl.ogg")) is None
        True
    """
    name = re.sub(r"(\.(ogg|wav))+$", "", path.name)
    match = re.fullmatch(r"(?P<stamp>.+?)_desc(?:_(?P<code>\w+))?", name)
    if match is None:
        return None
    code = match["code"] or "en"
    return (path.parent / match["stamp"]).as_posix(), code, f"tuxpaint-{code}"


def read_caption(path: Path) -> str:
    """Return the English caption of a stamp, whatever language is spoken; empty if there is none.

    The same file translates it, but the model's captions are English.
    """
    if not path.is_file():
        return ""
    first, *_ = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return first.strip()


def with_article(label: str) -> str:
    """Return a label as people say it of one thing; plurals and names with a number stay as they are.

    Example:
        >>> with_article("apple"), with_article("red apple"), with_article("grapes"), with_article("keycap: 3")
        ('an apple', 'a red apple', 'grapes', 'keycap: 3')
    """
    last = label.split()[-1]
    if not re.fullmatch(r"[a-z' -]+", label) or singular(last) != last or label.split()[0] in {"a", "an", "the"}:
        return label
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _human_split(concept: Concept, language: str, hold_out_english: bool) -> str:
    if concept.split != "train":
        return concept.split
    if language in TEST_LANGUAGES:
        return "test_language"
    return "test_speaker" if language == "en" and hold_out_english else "train"


def _job(row: Row, output: Path, recording: Path | None = None, voice: Voice | None = None, words: str = "") -> _Job:
    path = f"audio/{row.speaker}/{row.id}.flac"
    return _Job(replace(row, audio=path), output / path, recording, voice, words)


def _make(job: _Job) -> bool:
    if job.voice is not None:
        samples = job.voice.speak(job.words)
    else:
        assert job.recording is not None
        samples = read_mono(job.recording)
    return write_recording(job.target, samples) > 0


def _run(jobs: Iterable[_Job], title: str, workers: int) -> Iterator[Row]:
    jobs, silent = list(jobs), 0
    with Pool(workers) as pool:
        made = pool.imap(_make, jobs, chunksize=16)
        for job, audible in zip(jobs, tqdm(made, title, total=len(jobs)), strict=True):
            silent += not audible
            if audible:
                yield job.row
    if silent:
        tqdm.write(f"{title}: {silent} recordings are silent and left out")
