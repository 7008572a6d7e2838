from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_cases import compile_resource

from train.pictograms import sounds, speech
from train.pictograms.archives import Archives
from train.pictograms.audio_files import SAMPLING_RATE, read_mono, to_mono, trim, write_recording
from train.pictograms.concepts import Concept, concept_id
from train.pictograms.instruments import midi_file, tunes
from train.pictograms.picture import Picture
from unclip_mm.errors import InputError

STAMP_FOLDER = "unpacked/tuxpaint-stamps-default_1_all/usr/share/tuxpaint/stamps"


def concept(label: str, *, split: str = "train", style: str = "stamp", stamp: str = "") -> Concept:
    picture = Picture(f"stamps:{stamp}", label, (), style, "source", "licence", "category", Path("no.png"))
    return Concept(concept_id(label), label, (label,), split, (picture.key,), (picture,))


def by_id(*concepts: Concept) -> dict[str, Concept]:
    return {c.id: c for c in concepts}


def tone(seconds: float, hertz: float = 440.0, rate: int = 22050) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    """A folder of archives with two stamps that are unpacked already, an owl and a rook in two colours."""
    folder = tmp_path / "archives"
    stamps = folder / STAMP_FOLDER
    stamps.mkdir(parents=True)
    (folder / "tuxpaint-stamps-default_1_all.deb").touch()
    (stamps / "owl.txt").write_text("An owl.\nfr.utf8=Un hibou.\nbe.utf8=Сава.\n", encoding="utf-8")
    for number, language in enumerate(["", "_fr", "_be", "_ru"]):
        soundfile.write(stamps / f"owl_desc{language}.ogg", tone(0.5, 300 + 50 * number), 22050)
    soundfile.write(stamps / "owl_desc_ro.ogg", np.zeros(4000, np.float32), 22050)
    soundfile.write(stamps / "owl.ogg", tone(0.5, 900), 22050)
    soundfile.write(stamps / "black_rook_desc_fr.ogg", tone(0.5, 700), 22050)
    shutil.copy(stamps / "black_rook_desc_fr.ogg", stamps / "white_rook_desc_fr.ogg")
    return Archives(folder)


def test_human_speech_keeps_captions_and_holds_out_english_and_two_languages(archives: Archives, tmp_path: Path):
    rows = list(speech.rows(by_id(concept("owl", stamp="owl")), archives, tmp_path, espeak=False, workers=1))
    assert {r.language: r.split for r in rows} == {
        "en": "train",
        "be": "test_language",
        "fr": "train",
        "ru": "train",
    }
    french = next(r for r in rows if r.language == "fr")
    assert french.text == ("An owl.",)  # whatever is spoken: captions are English
    assert (french.kind, french.speaker, french.concept) == ("speech", "tuxpaint-fr", "owl")
    assert french.audio is not None
    written = soundfile.info(tmp_path / french.audio)
    assert (written.samplerate, written.channels, written.format) == (SAMPLING_RATE, 1, "FLAC")

    with_espeak = speech.human_jobs(by_id(concept("owl", stamp="owl")), archives, tmp_path, hold_out_english=True)
    assert {job.row.language: job.row.split for job in with_espeak}["en"] == "test_speaker"


def test_held_out_concepts_share_no_recording_with_trained_ones(archives: Archives, tmp_path: Path):
    rooks = by_id(
        concept("black rook", stamp="black_rook"), concept("white rook", stamp="white_rook", split="test_concept")
    )
    jobs = speech.human_jobs(rooks, archives, tmp_path)
    assert [(job.row.concept, job.row.split) for job in jobs] == [("white-rook", "test_concept")]


def test_every_label_gets_training_voices_and_one_held_out_voice(tmp_path: Path):
    jobs = speech.espeak_jobs(
        by_id(concept("owl"), concept("anvil", style="clipart"), concept("kite", split="test_concept")), tmp_path
    )
    splits = {label: [job.row.split for job in jobs if job.row.concept == label] for label in ("owl", "anvil", "kite")}
    assert splits["owl"] == ["train"] * 4 + ["test_speaker"]
    assert splits["anvil"] == ["train"]
    assert splits["kite"] == ["test_concept"] * 5
    assert not {v.variant for v in speech.TRAINING_VOICES} & {v.variant for v in speech.TEST_VOICES}
    assert len({job.row.id for job in jobs}) == len(jobs)
    assert {job.words for job in jobs if job.row.concept == "owl"} == {"owl", "an owl"}


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks_the_same_bytes_every_time():
    spoken = [speech.TRAINING_VOICES[0].speak("a red apple") for _ in range(2)]
    assert np.array_equal(*spoken)
    assert 0.5 < spoken[0].size / SAMPLING_RATE < 3 and np.abs(spoken[0]).max() > 0.05


def test_without_espeak_a_warning_says_so(archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match="espeak-ng is not installed"):
        rows = list(speech.rows(by_id(concept("owl", stamp="owl")), archives, tmp_path, workers=1))
    assert {row.source for row in rows} == {"tuxpaint-stamps-default"}


def test_sound_list_is_sorted_and_names_each_sound_once():
    listed = sounds.list_sounds()
    assert len({sound.id for sound in listed}) == len(listed)
    assert set(json.loads(sounds.JOIN_LIST.read_text())) - {sounds.INSTRUMENTS} == (
        set(sounds.PACKAGES) - set(sounds.SOUND_FONTS)
    )
    assert {sound.package for sound in listed} == set(sounds.PACKAGES)
    assert all(sound.labels and len(set(sound.labels)) == len(sound.labels) for sound in listed)


def test_a_sound_never_serves_a_held_out_and_a_trained_concept():
    known = by_id(concept("owl"), concept("bird", split="test_concept"), concept("hen"))
    labels = [("owl", "bird"), ("bird", "hen"), ("x",)]
    made = [sounds.Sound(str(i), "p", "n", names) for i, names in enumerate(labels)]
    assert [[c.id for c in members] for _, members in sounds.join(made, known)] == [["owl"], ["bird"]]


def test_one_of_three_sounds_is_held_out():
    known = by_id(concept("owl"), concept("hen"))
    made = [sounds.Sound(f"owl{i}", "p", "n", ("owl",)) for i in range(3)]
    made += [sounds.Sound(f"hen{i}", "p", "n", ("hen", "owl")) for i in range(2)]
    held_out = sounds.hold_out(sounds.join(made, known))
    assert len(held_out) == 1 and next(iter(held_out)).startswith("owl")


def test_what_comes_from_elsewhere_is_never_trained_on():
    known = by_id(concept("owl"), concept("hen", split="test_concept"))
    made = [sounds.Sound(f"owl{i}", sounds.ELSEWHERE, "n", ("owl",)) for i in range(3)]
    assert not sounds.hold_out(sounds.join(made, known))
    splits = [sounds.split_of(made[0], known[name], frozenset()) for name in ("owl", "hen")]
    assert splits == ["test_elsewhere", "test_concept"]


def test_a_sound_may_lie_in_a_container(tmp_path: Path):
    folder = tmp_path / "unpacked" / "gcompris-qt-data_1_all" / sounds.PACKAGES["gcompris-qt-data"][0]
    folder.mkdir(parents=True)
    (tmp_path / "gcompris-qt-data_1_all.deb").touch()
    file = io.BytesIO()
    soundfile.write(file, tone(0.5), 22050, format="OGG")
    (folder / "animals.rcc").write_bytes(
        compile_resource({"gcompris/src/activities/animals/resource/owl.ogg": file.getvalue()})
    )
    sound = sounds.Sound("owl", "gcompris-qt-data", "animals.rcc/resource/owl.ogg", ("owl",))
    assert np.array_equal(sound.samples(Archives(tmp_path)), read_mono(io.BytesIO(file.getvalue())))


def test_a_sound_is_a_row_of_its_closest_concept(archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = tmp_path / "list.json"
    listing.write_text(json.dumps({"tuxpaint-stamps-default": {"owl.ogg": ["nobody", "owl", "bird", "rook"]}}))
    listed = sounds.list_sounds(listing)
    monkeypatch.setattr(sounds, "list_sounds", lambda: listed)
    known = by_id(concept("bird"), concept("owl"), concept("rook", split="test_concept"))
    (row,) = sounds.rows(known, archives, tmp_path)
    assert (row.concept, row.text, row.also) == ("owl", ("owl",), ("bird",))


def test_a_silent_sound_in_the_list_is_an_error(archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listing = tmp_path / "list.json"
    listing.write_text(json.dumps({"tuxpaint-stamps-default": {"owl.ogg": ["owl"], "owl_desc_ro.ogg": ["owl"]}}))
    listed = sounds.list_sounds(listing)
    monkeypatch.setattr(sounds, "list_sounds", lambda: listed)
    made = sounds.rows(by_id(concept("owl")), archives, tmp_path)
    assert next(made).audio == "audio/sounds/tuxpaint-stamps-default-owl.flac"
    with pytest.raises(InputError, match=r"owl_desc_ro\.ogg: silent"):
        next(made)


def test_recordings_become_mono_trimmed_and_loud(tmp_path: Path):
    quiet = 0.01 * np.concatenate([np.zeros(22050), tone(1.0), np.zeros(22050)])
    soundfile.write(tmp_path / "in.wav", np.stack([quiet, quiet], axis=1) + 0.2, 22050, subtype="FLOAT")
    samples = read_mono(tmp_path / "in.wav")
    assert samples.ndim == 1 and abs(samples.size - 3 * SAMPLING_RATE) <= 1
    assert write_recording(tmp_path / "out.flac", samples) == pytest.approx(1.1, abs=0.05)
    assert np.abs(read_mono(tmp_path / "out.flac")).max() == pytest.approx(0.9, abs=0.01)
    assert write_recording(tmp_path / "none.flac", np.zeros(100, np.float32)) == 0.0
    assert not (tmp_path / "none.flac").exists()
    assert trim(np.zeros(1000, np.float32)).size == 0
    assert to_mono(np.ones((160, 2), np.float32), SAMPLING_RATE).shape == (160,)


def test_midi_files_hold_all_notes():
    for name in ("program 40", "program 125", "percussion 38"):
        for tune in tunes(name):
            content = midi_file(name, tune)
            assert content[14:18] == b"MTrk" and int.from_bytes(content[18:22], "big") == len(content) - 22
            assert content.endswith(b"\xff\x2f\x00")
