"""The manifest: a folder with ``metadata.jsonl`` (one JSON object a line) and the media files that it names.

docs/data.md describes the format for people who bring their own data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from unclip_mm.errors import InputError

METADATA = "metadata.jsonl"
MODALITIES = "modalities.json"
MEDIA = ("image", "sketch", "audio")
"""The modalities with files that every manifest may use without declaring them."""
INFORMATION = ("style", "speaker", "language", "kind", "source", "licence", "category")
"""Text fields that describe a row and are never an input of a model."""
Declared = Mapping[str, Mapping[str, Any]]
"""What ``modalities.json`` says: ``{modality: {"type": "vector" | "sequence"}}``."""
DECLARED_TYPES = ("vector", "sequence")
DECLARED_ENDINGS = (".npy", ".safetensors")


@dataclass(frozen=True)
class Row:
    """One line of a manifest: one thing in one or more modalities.

    Attributes:
        id: Unique in the manifest.
        concept: Rows with the same concept show the same thing and may be paired across modalities.
        text: The captions, the best first; empty where the row has no text.
        image, sketch, audio: Paths relative to the folder, with forward slashes, or None.
        split: ``train``, ``validation``, or the name of a test set.
        also: Other concepts that the row may stand for, as a neigh may for a horse's face. Nothing is trained on them, and
            an evaluation that takes any meaning counts them as right.
        files: Paths of the modalities that ``modalities.json`` declares, by name.
        style: Of a picture, what it is made in, or None; a prior learns to be asked for it.
        speaker, language, kind, source, licence, category: Information only, or None.

    Example:
        >>> row = Row(id="a", concept="apple", text=("a red apple",), image="images/a.png")
        >>> row.modalities
        ('text', 'image')
    """

    id: str
    concept: str
    text: tuple[str, ...] = ()
    image: str | None = None
    sketch: str | None = None
    audio: str | None = None
    split: str = "train"
    style: str | None = None
    speaker: str | None = None
    language: str | None = None
    kind: str | None = None
    source: str | None = None
    licence: str | None = None
    category: str | None = None
    also: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this row has, in the order text, image, sketch, audio, declared ones."""
        return (*(("text",) if self.text else ()), *self.media)

    @property
    def media(self) -> dict[str, str]:
        """The relative path of every media file of this row, by modality."""
        known = {name: getattr(self, name) for name in MEDIA}
        return {name: path for name, path in known.items() if path is not None} | dict(self.files)

    def to_json(self) -> str:
        """Return the row as one line of ``metadata.jsonl``, without a line end."""
        fields: dict[str, Any] = {"id": self.id, "concept": self.concept}
        if self.text:
            fields["text"] = list(self.text)
        fields |= self.media
        fields["split"] = self.split
        fields |= {name: getattr(self, name) for name in INFORMATION if getattr(self, name) is not None}
        if self.also:
            fields["also"] = list(self.also)
        return json.dumps(fields, ensure_ascii=False)


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest folder.

    The rows are in the order of the file, their paths relative to ``folder``.
    """

    rows: list[Row]
    folder: Path
    declared: Declared = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, row: Row, modality: str) -> Path:
        """Return the full path of a media file of a row; an InputError if the row does not have that modality."""
        if modality not in row.media:
            raise InputError(f"row {row.id!r}: has no {modality}; it has {', '.join(row.modalities)}")
        return self.folder / row.media[modality]

    def select(self, *, modality: str | None = None, split: str | None = None, **information: str) -> list[Row]:
        """Return the rows that have a modality and equal the given split, style, kind, ...; in file order."""
        wanted = information | ({} if split is None else {"split": split})
        return [
            row
            for row in self.rows
            if (modality is None or modality in row.modalities)
            and all(getattr(row, name) == value for name, value in wanted.items())
        ]

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities that at least one row has, in the order text, image, sketch, audio, declared ones."""
        present = {name for row in self.rows for name in row.modalities}
        return tuple(name for name in ("text", *MEDIA, *self.declared) if name in present)

    @property
    def digest(self) -> str:
        """A short hash of ``metadata.jsonl``: the same hash means the same rows."""
        return sha256((self.folder / METADATA).read_bytes()).hexdigest()[:16]


def read_manifest(folder: str | Path, *, check_files: bool = True) -> Manifest:
    """Read and validate a manifest folder.

    Args:
        folder: Holds ``metadata.jsonl``, optionally ``modalities.json``, and the media files.
        check_files: Also check that every named file exists (it is not opened).

    Returns:
        The manifest with at least one row.

    Raises:
        InputError: Names the first bad line and what is wrong with it: ``metadata.jsonl line 12: ...``.
    """
    folder = Path(folder)
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"{folder}: no {METADATA} in it; a manifest folder has one (see docs/data.md)")
    declared = _read_declared(folder)
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        rows.append(_checked_row(line, declared, seen, folder if check_files else None, f"{METADATA} line", number))
    if not rows:
        raise InputError(f"{path}: is empty; give at least one row")
    return Manifest(rows, folder, declared)


def write_manifest(folder: str | Path, rows: Iterable[Row], declared: Declared | None = None) -> Manifest:
    """Validate rows and write them as ``metadata.jsonl``, replaced in one step.

    Args:
        folder: Made if missing. The media files must be there already.
        rows: At least one row.
        declared: What to write into ``modalities.json``; needed when rows have ``files``.

    Raises:
        InputError: Names the first bad row by its position, counted from 1. An older manifest then stays as it was.
    """
    folder = Path(folder)
    rows = list(rows)
    declared = dict(declared or {})
    _check_declared(declared, "declared")
    lines, seen = [], dict[str, int]()
    for number, row in enumerate(rows, 1):
        lines.append(row.to_json())
        _checked_row(lines[-1], declared, seen, folder, "row", number)
    if not rows:
        raise InputError(f"{folder}: no rows to write; give at least one")
    folder.mkdir(parents=True, exist_ok=True)
    if declared:
        _replace(folder / MODALITIES, json.dumps(declared, indent=2, ensure_ascii=False) + "\n")
    else:
        (folder / MODALITIES).unlink(missing_ok=True)
    _replace(folder / METADATA, "\n".join(lines) + "\n")
    return Manifest(rows, folder, declared)


def parse_row(line: str, declared: Declared | None = None) -> Row:
    """Turn one line of ``metadata.jsonl`` into a row.

    Raises:
        InputError: Says which field is wrong; the caller knows the line number.

    Example:
        >>> parse_row('{"id": "a", "text": "a red apple", "image": "a.png"}').text
        ('a red apple',)
        >>> parse_row('{"id": "a", "imgae": "a.png"}')
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: field 'imgae' is unknown; declare it in modalities.json if it is a modality
    """
    declared = declared or {}
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error.msg} at column {error.colno}); give one object a line") from None
    if not isinstance(fields, dict):
        raise InputError(f"a JSON {type(fields).__name__}, not an object; give one object a line")
    for name in fields:
        if name not in ("id", "concept", "text", "split", "also", *MEDIA, *INFORMATION, *declared):
            raise InputError(f"field {name!r} is unknown; declare it in {MODALITIES} if it is a modality")
    if "id" not in fields:
        raise InputError("field 'id' is missing; give every row a unique text")
    for name in ("id", "concept", "split", *INFORMATION):
        if name in fields:
            _check_string(name, fields[name])
    text = _parse_texts("text", fields["text"], "caption") if "text" in fields else ()
    media = {name: _parse_path(name, fields[name]) for name in (*MEDIA, *declared) if name in fields}
    for name in declared:
        if name in media and not media[name].endswith(DECLARED_ENDINGS):
            raise InputError(f"field {name!r} is {media[name]!r}; a {declared[name]['type']} is a .npy or .safetensors")
    if not text and not media:
        raise InputError(f"row {fields['id']!r} has no modality; give text, image, sketch, audio or a declared one")
    known: dict[str, Any] = {name: media[name] for name in MEDIA if name in media}
    known |= {name: fields[name] for name in ("concept", "split", *INFORMATION) if name in fields}
    known |= {"also": _parse_texts("also", fields["also"], "concept")} if "also" in fields else {}
    files = {name: media[name] for name in declared if name in media}
    row = Row(**({"concept": fields["id"]} | known), id=fields["id"], text=text, files=files)
    if row.concept in row.also:
        raise InputError(f"field 'also' names {row.concept!r}, the row's own concept; give others alone")
    return row


def _check_string(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"field {name!r} is {value!r}; give a text that is not empty")
    return value


def _parse_texts(name: str, value: object, what: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise InputError(f"field {name!r} is an empty list; give at least one {what}, or leave the field out")
    return tuple(_check_string(name, text) for text in texts)


def _parse_path(name: str, value: object) -> str:
    path = _check_string(name, value)
    if "\\" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise InputError(f"field {name!r} is {path!r}; give a path inside the folder, relative, with forward slashes")
    return path


def _checked_row(
    line: str, declared: Declared, seen: dict[str, int], folder: Path | None, where: str, number: int
) -> Row:
    """Parse a line, check that its id is new (``seen`` takes it) and, in a folder, that its files exist."""
    try:
        row = parse_row(line, declared)
        if row.id in seen:
            raise InputError(f"id {row.id!r} is already used in {where.split()[-1]} {seen[row.id]}; ids must be unique")
        for name, path in row.media.items():
            if folder is not None and not (folder / path).is_file():
                raise InputError(f"field {name!r} names {path!r}, which is not a file in {folder}")
    except InputError as error:
        raise InputError(f"{where} {number}: {error}") from None
    seen[row.id] = number
    return row


def _read_declared(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MODALITIES
    if not path.is_file():
        return {}
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    _check_declared(declared, str(path))
    return declared


def _check_declared(declared: object, name: str) -> None:
    if not isinstance(declared, dict):
        raise InputError(f"{name}: not an object; give {{modality: {{'type': 'vector' or 'sequence'}}}}")
    for modality, options in declared.items():
        if modality in ("id", "concept", "text", "split", "also", "files", *MEDIA, *INFORMATION):
            raise InputError(f"{name}: {modality!r} is a name that every manifest has already; choose another")
        if not isinstance(options, dict) or options.get("type") not in DECLARED_TYPES:
            raise InputError(
                f"{name}: {modality!r} is {options!r}; give {{'type': 'vector'}} or {{'type': 'sequence'}}"
            )


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, encoding="utf-8", newline="\n")
    scratch.replace(path)
