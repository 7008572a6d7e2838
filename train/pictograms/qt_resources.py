"""Files inside a compiled Qt resource (``.rcc``), the container that programs made with Qt keep their media in."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from unclip_mm.errors import InputError

_MAGIC = b"qres"
_COMPRESSED, _FOLDER = 1, 2
_NODE = {1: 14, 2: 22, 3: 22}
"""Version of the format -> bytes of a node of its tree."""


@dataclass(frozen=True)
class _Resource:
    """One container: its bytes, the bytes of a node, and where tree, data and names begin."""

    path: Path
    content: bytes
    node: int
    tree: int
    data: int
    names: int

    def numbers(self, pattern: str, place: int) -> tuple[int, ...]:
        """Return big-endian numbers from a place on."""
        try:
            return struct.unpack_from(f">{pattern}", self.content, place)
        except struct.error as error:
            raise InputError(f"{self.path}: cut short; remove the package to fetch it again") from error

    def name(self, node: int) -> str:
        """Return what a node is called."""
        place = self.names + self.numbers("I", node)[0]
        [length] = self.numbers("H", place)
        return self.content[place + 6 : place + 6 + 2 * length].decode("utf-16-be")

    def children(self, node: int) -> dict[str, int]:
        """Return the places of what lies in a folder, by name."""
        count, first = self.numbers("II", node + 6)
        places = [self.tree + self.node * place for place in range(first, first + count)]
        return {self.name(place): place for place in places}


def read_resource(path: str | Path, name: str) -> bytes:
    """Return one file of a container.

    Args:
        path: The container.
        name: Folders and file inside, ``gcompris/src/activities/instruments/resource/violin.ogg``.

    Raises:
        InputError: The container is none, or has no such file, or one that is compressed (media never are).
    """
    content = Path(path).read_bytes()
    version, tree, data, names = struct.unpack_from(">4I", content, 4) if len(content) >= 20 else (0, 0, 0, 0)
    if not content.startswith(_MAGIC) or version not in _NODE:
        raise InputError(f"{path}: not a compiled Qt resource of version 1 to 3")
    resource = _Resource(Path(path), content, _NODE[version], tree, data, names)
    node = tree
    for part in name.split("/"):
        [flags] = resource.numbers("H", node + 4)
        inside = resource.children(node) if flags & _FOLDER else {}
        if part not in inside:
            raise InputError(f"{path}: has no file {name}; there is {', '.join(sorted(inside)) or 'nothing'} beside it")
        node = inside[part]
    [flags] = resource.numbers("H", node + 4)
    if flags & (_FOLDER | _COMPRESSED):
        raise InputError(f"{path}: {name} is a folder, or compressed; only files kept as they are can be read")
    [offset] = resource.numbers("I", node + 10)
    [size] = resource.numbers("I", data + offset)
    return content[data + offset + 4 : data + offset + 4 + size]
