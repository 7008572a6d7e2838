"""What the evaluation asks: one item per concept and kind, chosen by seed from a manifest.

A *kind* is a modality as a person names it: ``text``, ``image``, ``sketch``, and for audio what the row says it is
(``speech`` or ``sound``; speech in another language than the captions is ``other speech``).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unclip_mm.data.manifest import Manifest, Row
from unclip_mm.errors import InputError

HELD_OUT_SPLITS: Mapping[str, frozenset[str]] = {
    "image": frozenset({"test_style"}),
    "sketch": frozenset({"test_sketch"}),
    "speech": frozenset({"test_speaker"}),
    "other speech": frozenset({"test_speaker", "test_language"}),
    "sound": frozenset({"test_sound"}),
}
"""The splits of seen concepts that a kind is tested on; a kind that is not listed has no held-out items."""
TRAINED_SPLITS = frozenset({"train", "validation"})
CONCEPT_SPLIT = "test_concept"
LANGUAGE = "en"

_ORDER = ("text", "image", "sketch", "speech", "other speech", "sound")


@dataclass(frozen=True)
class Item:
    """One thing that can be encoded: a caption or a media file.

    Attributes:
        concept: What it shows or says.
        kind: ``text``, ``image``, ``sketch``, ``speech``, ``other speech``, ``sound``, ``audio`` or a declared one.
        modality: The modality whose tower encodes it: ``audio`` for speech and sounds, else the kind.
        key: Unique among the items of a manifest.
        value: What the pipeline is given: the caption or the path.
        split: The split of its row.
        caption: A short text for sheets.
        also: Other concepts that it stands for: one recording of a neigh is a horse's, and a horse's face's.
    """

    concept: str
    kind: str
    modality: str
    key: str
    value: str | Path
    split: str
    caption: str
    also: tuple[str, ...] = ()


Table = dict[str, dict[str, list[Item]]]
"""concept -> kind -> items, in the order of the manifest."""


@dataclass(frozen=True)
class Pool:
    """The concepts of one part of the evaluation, with what is asked and what is answered from.

    Attributes:
        name: ``held-out`` (concepts never trained on) or ``seen`` (trained on, in other styles, voices, drawings).
        asked: Items to ask with: held-out ones, or trained ones of the kinds in ``trained_kinds``.
        known: Items that the model was trained on; the same as ``asked`` for held-out concepts.
        trained_kinds: Kinds of which this pool has no held-out items, so that trained ones are asked with.
    """

    name: str
    asked: Table
    known: Table
    trained_kinds: frozenset[str]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that can be asked with, in a fixed order."""
        present = {kind for kinds in self.asked.values() for kind in kinds}
        return (*(kind for kind in _ORDER if kind in present), *sorted(present - set(_ORDER)))

    def targets(self, query_kind: str) -> Table:
        """What queries of a kind are answered from: a query that is trained itself must find held-out items."""
        return self.asked if query_kind in self.trained_kinds else self.known

    def concepts(self, asked: Iterable[str], answered: Mapping[str, Table], count: int, seed: int) -> list[str]:
        """Choose up to ``count`` concepts that have all kinds asked, and in each table of ``answered`` its kind.

        The order depends on the seed alone, so different questions are put about as many of the same concepts as
        their items allow.
        """
        wanted = list(asked)
        order = sorted(self.asked)
        random.Random(f"{self.name}/{seed}").shuffle(order)
        chosen = [
            concept
            for concept in order
            if all(kind in self.asked[concept] for kind in wanted)
            and all(kind in table.get(concept, {}) for kind, table in answered.items())
        ]
        return chosen[:count]


def choose(table: Table, concept: str, kind: str, seed: int) -> Item:
    """Choose one item of a concept and kind by seed, the same whatever else is chosen.

    Example:
        >>> items = [Item("cat", "text", "text", str(n), "cat", "train", "cat") for n in range(9)]
        >>> table = {"cat": {"text": items}}
        >>> choose(table, "cat", "text", 0) is choose(table, "cat", "text", 0)
        True
    """
    items = table[concept][kind]
    return items[random.Random(f"{concept}/{kind}/{seed}").randrange(len(items))]


def build_pools(manifest: Manifest, language: str = LANGUAGE, modalities: Iterable[str] | None = None) -> list[Pool]:
    """Sort the items of a manifest into the pools ``seen`` and ``held-out``; a pool without concepts is left out.

    Args:
        manifest: What to evaluate on.
        language: The language of the captions; speech in another one becomes the kind ``other speech``.
        modalities: Those that the model takes; others are not asked about. None takes all of the manifest.

    Raises:
        InputError: no concept is in any pool, or no row has an image.
    """
    if not any(row.image for row in manifest.rows):
        raise InputError(f"{manifest.folder}: no row has an image, and images are what is judged")
    wanted = manifest.modalities if modalities is None else set(modalities)
    items = _with_others([item for item in _items(manifest, language) if item.modality in wanted])
    held_out = _table(item for item in items if item.split == CONCEPT_SPLIT)
    trained = _table(item for item in items if item.split in TRAINED_SPLITS)
    unseen = [item for item in items if item.split in HELD_OUT_SPLITS.get(item.kind, ()) and item.concept in trained]
    tested = {item.kind for item in unseen}
    always = frozenset(item.kind for item in items if item.split in TRAINED_SPLITS) - tested
    asked = _table([*unseen, *(item for item in items if item.kind in always and item.split in TRAINED_SPLITS)])
    pools = [Pool("seen", asked, trained, always), Pool("held-out", held_out, held_out, frozenset())]
    pools = [pool for pool in pools if pool.asked]
    if not pools:
        raise InputError(f"{manifest.folder}: no rows of a split that is evaluated; see docs/evaluation.md")
    return pools


def images(manifest: Manifest) -> list[Item]:
    """All real images of a manifest, of every split, in its order: the gallery."""
    return [_media_item(manifest, row, "image", "image") for row in manifest.rows if row.image]


def _table(items: Iterable[Item]) -> Table:
    table: Table = {}
    for item in items:
        table.setdefault(item.concept, {}).setdefault(item.kind, []).append(item)
    return table


def _with_others(items: Sequence[Item]) -> list[Item]:
    """Tell items what else their caption or file stands for: what its row says, and where other rows have it."""
    concepts: dict[tuple[str, str | Path], dict[str, None]] = {}
    for item in items:
        concepts.setdefault((item.modality, item.value), {}).update(dict.fromkeys((item.concept, *item.also)))
    others = ([c for c in concepts[item.modality, item.value] if c != item.concept] for item in items)
    return [replace(item, also=tuple(also)) for item, also in zip(items, others, strict=True)]


def _items(manifest: Manifest, language: str) -> Iterable[Item]:
    for row in _text_rows(manifest.rows):
        yield Item(row.concept, "text", "text", f"{row.id}/text", row.text[0], row.split, row.text[0], row.also)
    for row in manifest.rows:
        for modality in row.media:
            yield _media_item(manifest, row, modality, _kind(row, modality, language))


def _text_rows(rows: Sequence[Row]) -> Iterable[Row]:
    """Rows whose first caption stands for the concept: those with a picture, or any where a concept has none.

    What a recording says may be in any language, and the split of a test picture is not that of its caption, so the
    captions of seen concepts come from their trained rows.
    """
    pictured = {row.concept for row in rows if row.text and (row.image or row.sketch) and _caption_split(row)}
    for row in rows:
        if row.text and _caption_split(row) and (row.image or row.sketch or row.concept not in pictured):
            yield row


def _caption_split(row: Row) -> bool:
    return row.split in TRAINED_SPLITS or row.split == CONCEPT_SPLIT


def _kind(row: Row, modality: str, language: str) -> str:
    if modality != "audio":
        return modality
    if row.kind == "speech" and row.language and row.language.replace("_", "-").split("-")[0] != language:
        return "other speech"
    return row.kind or "audio"


def _media_item(manifest: Manifest, row: Row, modality: str, kind: str) -> Item:
    caption = row.text[0] if row.text else row.concept
    key, path = f"{row.id}/{modality}", manifest.path(row, modality)
    return Item(row.concept, kind, modality, key, path, row.split, caption, row.also)
