"""A picture as a source offers it: the file, and what the source says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """One picture of one source, before it is rendered.

    Attributes:
        key: Where it comes from, unique over all sources and styles together with ``style``: ``emoji:1F34E``,
            ``stamps:food/fruit/apple_red`` (the path below the stamps folder, without ending).
        label: The shortest natural name, lower case: ``red apple``.
        captions: More captions, best first; they never repeat the label.
        style: ``noto``, ``twemoji``, ``fluent``, ``openmoji``, ``stamp``, ``drawing`` or ``clipart``; of drawings also
            ``fluent-contrast``, ``emojione`` or ``noto-font``.
        source: Name of the package.
        licence: Licence of the picture.
        category: A coarse group, informational.
        path: The file to render.
        modality: ``image`` or ``sketch``.
    """

    key: str
    label: str
    captions: tuple[str, ...]
    style: str
    source: str
    licence: str
    category: str
    path: Path
    modality: str = "image"
