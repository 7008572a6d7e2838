"""Emoji in four styles (noto, twemoji, fluent, openmoji), and as sketches: OpenMoji's line art and three other hands'."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.pictograms.archives import Archives
from train.pictograms.captions import clean, unique, with_article
from train.pictograms.drawn_emoji import READERS, unfold
from train.pictograms.picture import Picture

SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
DROPPED_SUBGROUPS = {"keycap", "alphanum", "skin-tone", "hair-style"}
"""Boxed letters and digits, and parts of other emoji."""

EXTRAS = {
    "animals-nature", "climate-environment", "flags", "food-drink", "gardening", "healthcare", "objects", "people",
    "smileys-emotion", "technology", "travel-places",
}  # fmt: skip
"""Subgroups of OpenMoji's own pictures that show things; brands, interface elements and symbols are left out."""
DROPPED_EXTRAS = re.compile(
    r"trump|greta|hal 9000|tardis|guy fawkes|spätzle|schwäbisch|kehrwoche|maultasche|fernsehturm|"
    r"federation|browncoat|ibeacon|wireframes|nail and gear|true south|ai hand|\bswitch$|augmented|virtual|intricate"
)
NOUN_GROUPS = {
    "animals-nature",
    "food-drink",
    "travel-places",
    "objects",
    "activities",
    "smileys-emotion",
    "people-body",
}


@dataclass(frozen=True)
class Source:
    """Where the pictures of one style are: a folder and an ending, with file names made of code points.

    Packages that hold all drawings in one file are unfolded first, and their folder is what comes of it.
    """

    package: str
    style: str
    folder: str
    ending: str
    licence: str
    modality: str = "image"


SOURCES = (
    Source("emoji-datasource-google", "noto", "img/google/64", ".png", "Apache-2.0"),
    Source("emoji-datasource-twitter", "twemoji", "img/twitter/64", ".png", "CC-BY-4.0"),
    Source("@lobehub/fluent-emoji-3d", "fluent", "assets", ".webp", "MIT"),
    Source("openmoji", "openmoji", "color/svg", ".svg", "CC-BY-SA-4.0"),
    Source("openmoji", "openmoji", "black/svg", ".svg", "CC-BY-SA-4.0", "sketch"),
    Source("@iconify-json/fluent-emoji-high-contrast", "fluent-contrast", "", ".svg", "MIT", "sketch"),
    Source("@iconify-json/emojione-monotone", "emojione", "", ".svg", "CC-BY-4.0", "sketch"),
    Source("@fontsource/noto-emoji", "noto-font", "", ".svg", "OFL-1.1", "sketch"),
)


@dataclass(frozen=True)
class Name:
    """The words for one emoji."""

    label: str
    captions: tuple[str, ...]
    category: str


def emoji_key(hexcode: str) -> str:
    """Return the code points without the picture selector, in capitals: one key for all file naming habits.

    Example:
        >>> emoji_key("2764-fe0f")
        '2764'
    """
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def spoken_label(label: str) -> str:
    """Turn the notation of emoji names into words.

    Example:
        >>> spoken_label("flag: France"), spoken_label("man: red hair"), spoken_label("person: bald")
        ('flag of France', 'man with red hair', 'bald person')
    """
    label = clean(label)
    if label.startswith("flag: "):
        return "flag of " + label.removeprefix("flag: ")
    if match := re.fullmatch(r"(\w+): bald", label):
        return f"bald {match[1]}"
    if match := re.fullmatch(r"(\w+): (beard|.* hair)", label):
        return f"{match[1]} with {'a ' if match[2] == 'beard' else ''}{match[2]}"
    if match := re.fullmatch(r"(family|kiss|couple with heart): (.*)", label):
        *first, last = match[2].split(", ")
        return f"{match[1]} of {', '.join(first)} and {last}" if first else f"{match[1]} of {last}"
    return re.sub(r": ?", " ", label)


def read_names(archives: Archives) -> dict[str, Name]:
    """Read label, captions and group of every emoji without a skin tone, by key."""
    folder = archives.path("emojibase-data")
    groups = json.loads((folder / "meta/groups.json").read_text(encoding="utf-8"))
    entries = json.loads((folder / "en/data.json").read_text(encoding="utf-8"))
    counts = Counter(tag for entry in entries for tag in entry.get("tags", ()))
    names = {}
    for entry in entries:
        group = groups["groups"].get(str(entry.get("group")))
        if group in (None, "component") or groups["subgroups"][str(entry["subgroup"])] in DROPPED_SUBGROUPS:
            continue
        label = spoken_label(entry["label"])
        names[emoji_key(entry["hexcode"])] = Name(
            label, emoji_captions(label, group, entry.get("tags", ()), counts), group
        )
    for entry in json.loads((archives.path("openmoji") / "data/openmoji.json").read_text(encoding="utf-8")):
        key, label = emoji_key(entry["hexcode"]), clean(entry["annotation"])
        if entry["skintone"] or key in names or entry["group"] != "extras-openmoji" or entry["subgroups"] not in EXTRAS:
            continue
        if not DROPPED_EXTRAS.search(label.lower()):
            category = entry["subgroups"] if entry["subgroups"] in NOUN_GROUPS | {"flags"} else "objects"
            names[key] = Name(label, unique(label, [with_article(label)]), category)
    return names


def read_tags(archives: Archives) -> set[str]:
    """Read all tags of all emoji."""
    path = archives.path("emojibase-data") / "en/data.json"
    return {tag for entry in json.loads(path.read_text(encoding="utf-8")) for tag in entry.get("tags", ())}


def emoji_captions(label: str, group: str, tags: Sequence[str], counts: Counter[str]) -> tuple[str, ...]:
    """Return natural variants of a label: with an article, and with the two tags behind it that most emoji share.

    Tags alone are no captions: many are only loosely related ('bruh' for a fist, 'super' for a football).

    Example:
        >>> emoji_captions("octopus", "animals-nature", ["ocean", "animal"], Counter(animal=9, ocean=3))
        ('an octopus', 'octopus, animal, ocean')
    """
    captions = [with_article(label)] if group in NOUN_GROUPS else []
    words = set(label.lower().split())
    good = [tag for tag in tags if tag.replace("'", "").replace(" ", "").isalpha() and tag.lower() not in words]
    common = sorted(good, key=lambda tag: -counts[tag])[:2]
    if common and group not in ("flags", "symbols"):
        captions.append(", ".join([label, *common]))
    return unique(label, captions)


def pictures(archives: Archives) -> Iterator[Picture]:
    """Yield every emoji picture that has a name, style by style, sorted by file name."""
    names = read_names(archives)
    labels = {key.lower(): name.label for key, name in names.items()}
    for source in SOURCES:
        unfolded = source.package in READERS
        folder = unfold(archives, source.package, labels) if unfolded else archives.path(source.package) / source.folder
        seen = set()
        for path in sorted(folder.glob(f"*{source.ending}")):
            picture = _picture(path, source, names)
            if picture and picture.key not in seen:
                seen.add(picture.key)
                yield picture


def _picture(path: Path, source: Source, names: dict[str, Name]) -> Picture | None:
    key = emoji_key(path.stem)
    if key not in names or SKIN_TONES & set(key.split("-")):
        return None
    name = names[key]
    return Picture(
        key=f"emoji:{key}",
        label=name.label,
        captions=name.captions,
        style=source.style,
        source=source.package,
        licence=source.licence,
        category=name.category,
        path=path,
        modality=source.modality,
    )
