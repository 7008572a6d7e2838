"""What the commands share once they run: media, the pipeline, embeddings. Imports torch and the pipeline lazily."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unclip_mm.checkpoints import is_bundled
from unclip_mm.errors import CheckpointError, InputError, UnclipError

if TYPE_CHECKING:
    from unclip_mm.commands.prompt import Prompt
    from unclip_mm.embeddings import Embeddings
    from unclip_mm.pipeline import UnCLIPMultimodalPipeline

BATCH_SIZE = 16
"""Prompts encoded, and pictures made, at a time: bounds the memory; results do not depend on it."""


def load_media(modality: str, value: str) -> Any:
    """One prompt value, decoded: a text, samples at 16 kHz, or a picture.

    Raises:
        InputError: the file is not what the modality needs, is silent, blank, too long or too large.
    """
    from unclip_mm import inputs

    load: dict[str, Callable[[Any], Any]] = {
        "text": inputs.check_text,
        "audio": inputs.load_audio,
        "sketch": inputs.load_sketch,
        "image": inputs.load_image,
    }
    with _native_messages_hidden():
        return load[modality](value)


def load_prompt(prompt: Prompt) -> dict[str, list[Any]]:
    """All values of a prompt, decoded."""
    return {modality: [load_media(modality, value) for value in values] for modality, values in prompt.values.items()}


def load_pipeline(checkpoint: str) -> UnCLIPMultimodalPipeline:
    """The pipeline of a bundled name, a folder or a hub id; its progress bars show only on a terminal.

    Raises:
        CheckpointError: it is missing, damaged, or not such a pipeline.
    """
    if is_bundled(checkpoint):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from unclip_mm.pipeline import UnCLIPMultimodalPipeline

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = UnCLIPMultimodalPipeline.from_pretrained(checkpoint)
    except UnclipError:
        raise
    except Exception as error:
        raise CheckpointError(f"checkpoint: {checkpoint} cannot be loaded ({first_line(error)})") from error
    pipeline.set_progress_bar_config(disable=not sys.stderr.isatty(), leave=False)
    return pipeline


def encode_prompt(pipeline: UnCLIPMultimodalPipeline, media: dict[str, list[Any]], rows: int) -> Embeddings:
    """Embeddings ``(rows, M, D)`` of a decoded prompt; values that were given once are repeated."""
    from unclip_mm.embeddings import Embeddings

    parts = []
    for start in range(0, rows, BATCH_SIZE):
        count = min(BATCH_SIZE, rows - start)
        batch = {
            modality: values[start : start + count] if len(values) > 1 else values * count
            for modality, values in media.items()
        }
        parts.append(pipeline.encode(**batch))
    return parts[0] if len(parts) == 1 else Embeddings.cat(parts)


def load_embeddings(path: Path) -> Embeddings:
    """Embeddings from a file that ``unclip-mm embed`` wrote.

    Raises:
        InputError: the file is damaged, of another kind, or holds vectors that are no embeddings.
    """
    from unclip_mm.embeddings import Embeddings

    try:
        return Embeddings.load(path)
    except UnclipError:
        raise
    except Exception as error:
        raise InputError(f"--embeddings: {path} cannot be read ({first_line(error)}); give a file from embed") from None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none.

    Example:
        >>> first_line(OSError("no such file\\nlong explanation"))
        'no such file'
    """
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@contextlib.contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """Hide what decoders written in C print about broken files; the error they return says it better."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
