"""The Art4Apps drawings of pysiogame: one word each."""

from __future__ import annotations

from collections.abc import Iterator

from train.pictograms.archives import Archives
from train.pictograms.captions import unique, with_article
from train.pictograms.picture import Picture

FOLDER = "usr/share/games/pysiogame/res/images/art4apps"
LICENCE = "CC-BY-SA or public domain (the package's files disagree)"

WORDS = {
    "actions/ate": "eating cat",
    "actions/bit": "biting",
    "actions/clay": "pottery",
    "actions/fell": "falling",
    "actions/post": "posting a letter",
    "actions/tear": "tearing paper",
    "actions/whisper": "whispering",
    "body/eyebrow": "eyebrows",
    "clothes_n_accessories/tie": "necktie",
    "clothes_n_accessories/zip": "zipper",
    "construction/brick": "bricks",
    "food/slice": "slices of sausage",
    "food/spice": "salt and pepper",
    "jobs/magic": "magician",
    "jobs/office": "office worker",
    "jobs/police": "police officer",
    "jobs/vet": "veterinarian",
    "sport/pool": "swimming pool",
    "sport/race": "running race",
}
"""Words that say too little or something else on their own, as people would name the drawing."""

VERBS = set("hike hop throw win jog swim run jump stand walk ride stretch skate squat ski".split())  # noqa: SIM905
"""Names outside the folder ``actions`` that are verbs."""

ARROWS = set(
    """
    actions/clap actions/cry actions/hear actions/lick actions/see actions/touch
    body/ankle body/arm body/back body/beard body/belly body/belly_button body/bottom body/braid body/breast body/cheek
    body/chin body/ear body/elbow body/eye body/eyebrow body/eyelash body/feet body/finger body/hair body/hip body/knee
    body/leg body/muscle body/neck body/nose body/nostril body/spine body/thigh body/throat body/thumb body/toe
    body/wrist clothes_n_accessories/heel clothes_n_accessories/jewel clothes_n_accessories/kimono
    clothes_n_accessories/pyjamas clothes_n_accessories/robe clothes_n_accessories/sash clothes_n_accessories/shoelace
    clothes_n_accessories/skirt clothes_n_accessories/sleeve clothes_n_accessories/smock clothes_n_accessories/sock
    clothes_n_accessories/swimming_suit construction/chimney construction/roof construction/smoke construction/steeple
    construction/step food/flour food/ice food/mashed_potatoes food/meat food/milk food/spread food/sprinkle food/sugar
    fruit_n_veg/kernel jobs/badge jobs/coach jobs/jockey jobs/lawyer jobs/pilot nature/cliff nature/coast nature/dune
    nature/hill nature/lake nature/lava nature/peak people/child people/dad people/female people/grandfather
    people/grandmother people/husband people/lad people/male people/man people/mom people/son people/wife people/woman
    sport/helmet sport/rope sport/win transport/handlebar transport/mast transport/pedal transport/sail
    """.split()  # noqa: SIM905
)
"""Drawings in which a large arrow points at the part that is meant."""


def pictures(archives: Archives) -> Iterator[Picture]:
    """Yield the drawings, sorted by folder and name."""
    folder = archives.path("pysiogame") / FOLDER
    for path in sorted(folder.glob("*/*.jpg")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        group = path.parent.name
        if name in ARROWS:
            continue
        word = path.stem.replace("_", " ")
        verb = (group == "actions" or path.stem in VERBS) and name not in WORDS
        label = WORDS.get(name, gerund(word) if verb else word)
        captions = [f"to {word}", word] if verb else [with_article(label)]
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
