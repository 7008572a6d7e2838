"""Open Clip Art: drawings by many hands, with titles and keywords of very mixed quality, so most are left out."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from train.pictograms import emoji, pysiogame, stamps
from train.pictograms.archives import Archives
from train.pictograms.captions import clean, unique, with_article
from train.pictograms.clipart_checked import LEFT_OUT, RELABELLED
from train.pictograms.clipart_words import DROPPED_FILES, DROPPED_WORDS, EXTRA_WORDS, TRANSLATED
from train.pictograms.picture import Picture

PACKAGE = "openclipart-svg"
FOLDER = "usr/share/openclipart/svg"
LICENCE = "public domain"

GROUPS = re.compile(
    r"(animals|food|plants|buildings|containers|electronics|tools|education|science|geography/astronomy|people|"
    r"recreation|transportation|computer/hardware|office|unsorted|decorations|signs_and_symbols/(weather|clocks|money)"
    r")(/|$)"
)
DROPPED_GROUPS = re.compile(
    r"people/(smilies|stickmen)|recreation/(religion|games/cards)|transportation/(aiga|roadsigns)|unsorted/duplicates"
)
GENERIC = re.compile(
    r"clipart by|cliparts?$|etiquette icons|sign(s)?$|sub?mission|illustration|@|^\W*$|^\d+$", re.IGNORECASE
)


def pictures(archives: Archives) -> Iterator[Picture]:
    """Yield the drawings with a label of known English words, each content once, sorted by path.

    Each comes twice, as an image and as a sketch: which of the two it is, line art or not, shows when it is rendered.
    """
    folder = archives.path(PACKAGE) / FOLDER
    words = known_words(archives)
    seen = set()
    for path in sorted(folder.rglob("*.svg")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        group = path.parent.relative_to(folder).as_posix()
        if not GROUPS.match(group) or DROPPED_GROUPS.match(group) or DROPPED_FILES.search(name) or name in LEFT_OUT:
            continue
        content = path.read_bytes()
        text = content.decode("utf-8", errors="replace")
        label = RELABELLED.get(name) or clipart_label(path.stem, _title(text), words)
        drawing = sha256(re.sub(rb"<metadata.*?</metadata>", b"", content, flags=re.DOTALL)).hexdigest()
        if label is None or drawing in seen or (path.stem, label) in seen:
            continue
        seen |= {drawing, (path.stem, label)}
        for modality in ("image", "sketch"):
            yield Picture(
                key=f"openclipart:{name}",
                label=label,
                captions=unique(label, [with_article(label)]),
                style="clipart",
                source=PACKAGE,
                licence=LICENCE,
                category=group.split("/")[0],
                path=path,
                modality=modality,
            )


def clipart_label(stem: str, title: str, words: frozenset[str]) -> str | None:
    """Return a clean English label from the title, else from the file name; None where neither is one.

    Example:
        >>> clipart_label("ant", "Etiquette Icons", frozenset({"ant"}))
        'ant'
        >>> clipart_label("torre_01", "Torre antica", frozenset({"tower"})) is None
        True
    """
    label = _plain(re.sub(r"_(r|\d+)?$", "", stem) if GENERIC.search(title) else title)
    label = TRANSLATED.get(label, label)
    parts = re.findall(r"[a-z']+", label)
    if "road signs" in title.lower() or not 1 <= len(parts) <= 4 or (len(label) < 3 and label not in ("ox", "tv")):
        return None
    if DROPPED_WORDS & set(parts) or not words.issuperset(parts):
        return None
    return label


def _plain(title: str) -> str:
    title = re.sub(r"\([^)]*\)|\[[^]]*\]", " ", html.unescape(html.unescape(title)))
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title)
    title = re.sub(r"[_\-./]", " ", title).lower()
    title = re.sub(r"\b(a|an|the|simple|my|v|ii|iii|r)\b(?!')|\d+", " ", title)
    title = re.sub(r"\b(jonathon's|body part$|clothing$|clipart$|openclipart$|md$)|#", " ", title)
    return clean(title)


def _title(text: str) -> str:
    match = re.search(r"<dc:title>(.*?)</dc:title>", text, re.DOTALL)
    return match[1].strip() if match else ""


@lru_cache(maxsize=1)
def known_words(archives: Archives) -> frozenset[str]:
    """Return the English words that the other sources use, and some more: the words a label may be made of."""
    labels = [name.label for name in emoji.read_names(archives).values() if name.category != "flags"]
    labels += [*emoji.read_tags(archives), *TRANSLATED.values()]
    labels += [picture.label for source in (pysiogame, stamps) for picture in source.pictures(archives)]
    return EXTRA_WORDS.union(word for label in labels for word in re.findall(r"[a-z']+", label.lower()))
