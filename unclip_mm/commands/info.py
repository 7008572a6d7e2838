"""``unclip-mm info``: what a checkpoint consists of, read from its files without loading it."""

from __future__ import annotations

import argparse
import json
import math
import struct
from pathlib import Path
from typing import Any

from unclip_mm import __version__
from unclip_mm.checkpoints import bundled_checkpoints, fetch_checkpoint
from unclip_mm.commands.checks import printable
from unclip_mm.commands.prompt import add_common_options
from unclip_mm.errors import CheckpointError

LIBRARIES = ("torch", "diffusers", "transformers")
MAX_HEADER_BYTES = 100_000_000


def add_parser(commands: Any) -> None:
    """Add the command to the main parser's commands."""
    parser = commands.add_parser(
        "info",
        help="describe a checkpoint and this installation",
        description="Describe a checkpoint: its parts, their sizes and the default settings.",
        allow_abbrev=False,
    )
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the checkpoint's files and print a summary.

    Returns:
        The same as plain values.
    """
    folder = fetch_checkpoint(args.checkpoint)
    index = read_json(folder / "model_index.json")
    components = {
        name: {"class": value[1], **weights_size(folder / name)}
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1]
    }
    settings = {
        name: value for name, value in index.items() if not name.startswith("_") and not isinstance(value, list)
    }
    result = {
        "version": __version__,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "bundled": bundled_checkpoints(),
        "checkpoint": args.checkpoint,
        "folder": str(folder),
        "class": index.get("_class_name"),
        **_space(folder / "encoder" / "config.json"),
        "styles": _styles(folder / "prior" / "config.json"),
        "components": components,
        "parameters": sum(part["parameters"] for part in components.values()),
        "bytes": sum(part["bytes"] for part in components.values()),
        "settings": settings,
    }
    if not args.json:
        print(summary(result))
    return result


def summary(result: dict[str, Any]) -> str:
    """The result of :func:`run` as aligned lines."""
    libraries = ", ".join(f"{name} {number}" for name, number in result["libraries"].items())
    lines = [
        f"unclip-mm {result['version']}  ({libraries})",
        f"checkpoint  {result['checkpoint']}: {result['class']}",
        f"folder      {printable(result['folder'])}",
        f"modalities  {', '.join(result['modalities']) or 'not told'}; dimension {result['dimension'] or 'not told'}",
        f"styles      {', '.join(result['styles']) or 'none to choose from'}",
        f"size        {millions(result['parameters'])} parameters, {result['bytes'] / 2**20:.1f} MiB",
        "",
    ]
    width = max((len(name) for name in result["components"]), default=0)
    for name, part in result["components"].items():
        size = f"  {millions(part['parameters'])}" if part["parameters"] else ""
        lines.append(f"  {name:{width}}  {part['class']}{size}")
    if result["settings"]:
        lines += ["", "settings"]
        lines += [f"  {name} = {json.dumps(value)}" for name, value in result["settings"].items()]
    return "\n".join(lines)


def millions(count: int) -> str:
    """A count of parameters in millions.

    Example:
        >>> millions(22_713_216)
        '22.7 M'
    """
    return f"{count / 1e6:.1f} M" if count >= 50_000 else f"{count / 1e6:.3f} M"


def weights_size(folder: Path) -> dict[str, int]:
    """Parameters and bytes of all safetensors files under a folder, from their headers alone."""
    parameters = size = 0
    for path in sorted(folder.rglob("*.safetensors")):
        header = safetensors_header(path)
        parameters += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        size += path.stat().st_size
    return {"parameters": parameters, "bytes": size}


def safetensors_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file.

    Raises:
        CheckpointError: the file is cut off or of another kind.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
            end = max((e["data_offsets"][1] for n, e in header.items() if n != "__metadata__"), default=0)
            if path.stat().st_size != 8 + length + end:
                raise ValueError("cut off")
            return header
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"checkpoint: {printable(path)} is not a whole safetensors file ({error})") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint: {printable(path)} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"checkpoint: {printable(path)} is not a JSON object")
    return value


def _space(config: Path) -> dict[str, Any]:
    """What the encoder's configuration says of the space."""
    encoder = read_json(config) if config.is_file() else {}
    return {"modalities": list(encoder.get("towers", {})), "dimension": encoder.get("dim")}


def _styles(config: Path) -> list[str]:
    """What the prior's configuration says of the styles that may be asked for."""
    return list(read_json(config).get("styles", ())) if config.is_file() else []


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
