"""The Art4Apps drawings of pysiogame: one word each."""

from __future__ import annotations

from collections.abc import Iterator

from train.pictograms.archives import Archives
from train.pictograms.captions import unique, with_article
from train.pictograms.concepts import Picture

FOLDER = "usr/share/games/pysiogame/res/images/art4apps"
LICENCE = "CC-BY-SA or public domain (the package's files disagree)"

WORDS = {
    "actions/ate": "man who has eaten",
    "actions/bit": "bite",
    "actions/clay": "modelling clay",
    "actions/fell": "fall",
    "body/back": "back of a person",
    "body/bottom": "bottom of a person",
    "clothes_n_accessories/cap": "cap",
    "clothes_n_accessories/heel": "heel of a shoe",
    "clothes_n_accessories/tie": "necktie",
    "clothes_n_accessories/zip": "zipper",
    "food/ice": "ice cube",
    "food/slice": "slice of cake",
    "food/spread": "spread on bread",
    "fruit_n_veg/squash": "squash vegetable",
    "fruit_n_veg/orange": "orange fruit",
    "jobs/magic": "magician",
    "jobs/office": "office worker",
    "jobs/police": "police officer",
    "jobs/vet": "veterinarian",
    "sport/pool": "billiards",
    "sport/race": "race",
    "animals/jay": "jay bird",
    "animals/ray": "ray fish",
    "animals/mole": "mole animal",
    "animals/seal": "seal",
    "transport/mast": "mast of a ship",
}
"""Words that say too little or something else on their own, as people would name the drawing."""

VERBS = {"actions"}
SPORT_VERBS = {"hike", "hop", "throw", "win", "jog", "swim", "run", "jump", "stand", "walk", "ride", "stretch", "skate", "squat", "ski", "race"}  # fmt: skip


def pictures(archives: Archives) -> Iterator[Picture]:
    """Yield the drawings, sorted by folder and name."""
    folder = archives.path("pysiogame") / FOLDER
    for path in sorted(folder.glob("*/*.jpg")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        group = path.parent.name
        label = WORDS.get(name, path.stem.replace("_", " "))
        verb = (group in VERBS or path.stem in SPORT_VERBS) and name not in WORDS
        captions = [f"to {label}", gerund(label)] if verb else [with_article(label)]
        yield Picture(
            key=f"pysiogame:{name}",
            label=label,
            captions=unique(label, captions),
            style="drawing",
            source="pysiogame",
            licence=LICENCE,
            category=group.replace("_n_", "-"),
            path=path,
        )


def gerund(verb: str) -> str:
    """Return the -ing form of a verb.

    Example:
        >>> gerund("run"), gerund("dance"), gerund("sleep"), gerund("see")
        ('running', 'dancing', 'sleeping', 'seeing')
    """
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    vowels = "aeiou"
    if len(verb) >= 3 and verb[-1] not in vowels + "wxy" and verb[-2] in vowels and verb[-3] not in vowels:
        return verb + verb[-1] + "ing"
    return verb + "ing"
