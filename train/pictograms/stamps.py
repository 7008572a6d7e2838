"""The stamps of Tux Paint: cut-out photos and drawings with a caption each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from train.pictograms.archives import Archives
from train.pictograms.captions import clean, lower_first, unique, with_article, without_article
from train.pictograms.picture import Picture
from train.pictograms.stamp_labels import DROPPED, LABELS

PACKAGE = "tuxpaint-stamps-default"
FOLDER = "usr/share/tuxpaint/stamps"
LICENCE = "GPL-2.0"


def stamp_names(archives: Archives) -> list[str]:
    """Return the names of all stamps: their path below the stamps folder without ending, sorted."""
    folder = archives.path(PACKAGE) / FOLDER
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.txt"))


def english_caption(archives: Archives, name: str) -> str:
    """Return the English caption of a stamp as it is written and spoken: the first line of its text file."""
    path = archives.path(PACKAGE) / FOLDER / f"{name}.txt"
    return path.read_text(encoding="utf-8").split("\n")[0].strip()


def stamp_label(name: str, caption: str) -> str:
    """Return the short name of a stamp: from the hand-made list, else from the first phrase of its caption.

    Example:
        >>> stamp_label("food/fruit/apple_red", "A red apple.")
        'red apple'
        >>> stamp_label("animals/birds/tux", "A peacock (a male peafowl).")
        'peacock'
        >>> stamp_label("clothes/glasses1", "A pair of glasses.")
        'glasses'
    """
    if name in LABELS:
        return LABELS[name]
    phrase = re.split(r"(?<=[a-z”])[.!?](?:\s|$)| \(|—|, ", caption)[0]
    phrase = clean(phrase)
    bare = without_article(phrase)
    return re.sub(r"^pair of ", "", bare if bare != phrase else lower_first(phrase))


def pictures(archives: Archives) -> Iterator[Picture]:
    """Yield one picture for each stamp with a caption that shows a thing, sorted by name."""
    folder = archives.path(PACKAGE) / FOLDER
    for name in stamp_names(archives):
        path = _file(folder, name)
        if path is None or DROPPED.match(name):
            continue
        caption = english_caption(archives, name)
        label = stamp_label(name, caption)
        sentence = lower_first(clean(re.sub(r" \([^)]*\)", "", caption)))
        captions = [
            with_article(label),
            sentence if re.match(r"(an?|some|the) ", sentence) and len(sentence.split()) <= 16 else "",
        ]
        yield Picture(
            key=f"stamps:{name}",
            label=label,
            captions=unique(label, captions),
            style="stamp",
            source=PACKAGE,
            licence=LICENCE,
            category=name.split("/")[0],
            path=path,
        )


def _file(folder: Path, name: str) -> Path | None:
    for ending in (".svg", ".png"):
        path = folder / f"{name}{ending}"
        if path.is_file():
            return path
    return None
