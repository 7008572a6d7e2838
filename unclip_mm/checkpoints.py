"""Where a pipeline is found: a bundled name, a local folder, or a hub id. A wrong name is an error at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unclip_mm.errors import CheckpointError, first_line

DEFAULT_CHECKPOINT = "pictograms"
BUNDLED_FOLDER = Path(__file__).parent / "weights"
VOCABULARY = "vocabulary.txt"
"""Beside a pipeline's parts: what it was taught to draw, a caption a line; not every pipeline has one."""
CARD = "README.md"
"""Beside a pipeline's parts: what is told of it, its licences among that."""
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", CARD)
"""Of a hub repository, what a pipeline consists of: configurations, weights, tokenizers, and what is told of it."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def bundled_checkpoints() -> list[str]:
    """Names of the pipelines that are installed with the library.

    Example:
        >>> all((BUNDLED_FOLDER / name / "model_index.json").is_file() for name in bundled_checkpoints())
        True
    """
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob("*/model_index.json"))


def is_bundled(checkpoint: str) -> bool:
    """Whether ``checkpoint`` is the name of a bundled pipeline (a folder of that name here does not hide it)."""
    return checkpoint in bundled_checkpoints()


def find_checkpoint(checkpoint: str | Path = DEFAULT_CHECKPOINT) -> Path | str:
    """The folder of a bundled name or of a local pipeline; anything of the form ``owner/name`` is left as a hub id.

    Args:
        checkpoint: a bundled name, a folder written by ``save_pretrained``, or a hub id.

    Returns:
        A folder that holds a ``model_index.json``, or the hub id as a string.

    Raises:
        CheckpointError: it is none of the three.

    Example:
        >>> find_checkpoint("somebody/a-pipeline")
        'somebody/a-pipeline'
        >>> find_checkpoint("no-such-pipeline")
        Traceback (most recent call last):
        ...
        unclip_mm.errors.CheckpointError: checkpoint: 'no-such-pipeline' is not ...
    """
    name = str(checkpoint)
    if is_bundled(name):
        return BUNDLED_FOLDER / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise CheckpointError(
                f"checkpoint: the folder {name} has no model_index.json; give a folder written by save_pretrained"
            )
        return folder
    if folder.exists():
        raise CheckpointError(f"checkpoint: {name} is a file; give the folder written by save_pretrained")
    if _HUB_ID.fullmatch(name):
        return name
    bundled = ", ".join(bundled_checkpoints()) or "none installed"
    raise CheckpointError(
        f"checkpoint: {name!r} is not a bundled pipeline ({bundled}), a folder, or a hub id of the form owner/name"
    )


def fetch_checkpoint(checkpoint: str | Path = DEFAULT_CHECKPOINT, **options: Any) -> Path:
    """The folder of a pipeline; one on the hub is downloaded, if it is not in the hub's cache.

    Args:
        checkpoint: as for :func:`find_checkpoint`.
        options: of ``huggingface_hub.snapshot_download``: ``revision``, ``token``, ``cache_dir``, ``local_files_only``...

    Raises:
        CheckpointError: it is none of the three, or cannot be downloaded.

    Example:
        >>> fetch_checkpoint("pictograms") == find_checkpoint("pictograms")
        True
    """
    found = find_checkpoint(checkpoint)
    if isinstance(found, Path):
        return found
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(found, allow_patterns=list(FILES), **options))
    except Exception as error:
        raise CheckpointError(
            f"checkpoint: {found} is no local folder and cannot be fetched from the hub ({first_line(error)})"
        ) from error
