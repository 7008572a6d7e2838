"""Concepts: what is shown, joined over all sources by label, and held out as a whole."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

from train.pictograms import emoji, openclipart, pysiogame, stamps
from train.pictograms.archives import Archives
from train.pictograms.picture import Picture

ALIASES = {
    "aeroplane": "airplane",
    "plane": "airplane",
    "automobile": "car",
    "aubergine": "eggplant",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "motor bike": "motorcycle",
    "fire engine": "fire truck",
    "light bulb": "lightbulb",
    "chimp": "chimpanzee",
    "fireman": "firefighter",
    "laptop computer": "laptop",
    "mobile telephone": "mobile phone",
    "kiwifruit": "kiwi",
    "kiwi fruit": "kiwi",
    "trousers": "pants",
    "doughnut": "donut",
    "wine glass": "glass of wine",
    "baby chick": "chick",
    "cheese wedge": "cheese",
    "chilli pepper": "hot pepper",
    "cooked rice": "rice",
    "ear of corn": "corn",
    "ewe": "sheep",
    "french fries": "fries",
    "honeybee": "bee",
    "lady beetle": "ladybug",
    "lama": "llama",
    "medium sized dog": "dog",
    "policeman": "police officer",
    "police man": "police officer",
    "sail boat": "sailboat",
    "sledge": "sled",
    "teacup": "cup of tea",
    "tophat": "top hat",
    "trash can": "garbage can",
    "tv": "television",
    "wrapped gift": "gift",
    "eye glasses": "glasses",
    "t shirt": "tshirt",
}
"""Labels that name the same thing; plurals are joined by :func:`singular`."""

_KEPT_PLURALS = {
    "glasses",
    "sunglasses",
    "clothes",
    "pants",
    "jeans",
    "shorts",
    "scissors",
    "news",
    "series",
    "species",
}


@dataclass(frozen=True)
class Concept:
    """Everything that shows one thing.

    Attributes:
        id: Lower case words joined by dashes: ``red-apple``.
        label: The name as people write it: ``red apple``.
        captions: The label first, then all other captions of its pictures.
        split: ``train``, or ``test_concept`` when the whole concept is held out.
        sources: The keys of its pictures, sorted and unique: ``emoji:1F34E``, ``stamps:food/fruit/apple_red``.
        pictures: Its pictures, in a fixed order.
    """

    id: str
    label: str
    captions: tuple[str, ...]
    split: str
    sources: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()


def stable_fraction(text: str, salt: str = "") -> float:
    """Return a number in [0, 1) that depends on the text alone, the same on every machine.

    Example:
        >>> 0 <= stable_fraction("cat") < 1 and stable_fraction("cat") == stable_fraction("cat")
        True
    """
    digest = blake2b(f"{salt}/{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def singular(word: str) -> str:
    """Return the singular of a common English plural, so that 'bananas' and 'banana' are one concept.

    Example:
        >>> singular("bananas"), singular("cherries"), singular("tomatoes"), singular("glass"), singular("glasses")
        ('banana', 'cherry', 'tomato', 'glass', 'glasses')
    """
    if word in _KEPT_PLURALS or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("oes", "ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]


def concept_id(label: str) -> str:
    """Return the id of the concept that a label names: plain letters, no article, singular, joined by dashes.

    Example:
        >>> concept_id("A red apple."), concept_id("Bananas"), concept_id("flag: Åland Islands")
        ('red-apple', 'banana', 'flag-aland-island')
    """
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9#*+]+", plain.replace("'", ""))
    while len(words) > 1 and words[0] in {"a", "an", "the", "some"}:
        words = words[1:]
    text = " ".join(words)
    text = ALIASES.get(text, text)
    words = text.split()
    if words:
        words[-1] = singular(words[-1])
    text = " ".join(words)
    return ALIASES.get(text, text).replace(" ", "-")


def _slug(label: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", label.lower()))


@cache
def everyday_words() -> frozenset[str]:
    """Return the ids of the concepts that people ask for first, which are never held out.

    Example:
        >>> "dog" in everyday_words()
        True
    """
    return frozenset((Path(__file__).parent / "everyday_words.txt").read_text(encoding="utf-8").split())


def concept_split(id: str) -> str:
    """Return ``test_concept`` for a stable tenth of all concept ids but everyday words, ``train`` for the others.

    Example:
        >>> sorted({concept_split(str(i)) for i in range(100)})
        ['test_concept', 'train']
        >>> concept_split("dog"), concept_split("microbe")
        ('train', 'test_concept')
    """
    if id in everyday_words():
        return "train"
    return "test_concept" if stable_fraction(id, "concept") < 0.1 else "train"


def join_concepts(pictures: Iterable[Picture]) -> dict[str, Concept]:
    """Join pictures that show the same thing into concepts, sorted by id."""
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(concept_id(picture.label), []).append(picture)
    concepts = {}
    for id in sorted(groups):
        members = groups[id]
        plain = (picture.label for picture in members if _slug(picture.label) == id)
        label = next(plain, members[0].label)
        captions = dict.fromkeys([label, *(c for p in members for c in (p.label, *p.captions))])
        concepts[id] = Concept(
            id=id,
            label=label,
            captions=tuple(captions),
            split=concept_split(id),
            sources=tuple(sorted({p.key for p in members})),
            pictures=tuple(members),
        )
    return concepts


def build_concepts(archives: Archives) -> dict[str, Concept]:
    """Read the labels of all picture sources and join them into concepts, sorted by id; no picture is opened."""
    sources = (emoji, stamps, pysiogame, openclipart)
    return join_concepts(picture for source in sources for picture in source.pictures(archives))
