"""What the commands share once they run: checked media and the pipeline. torch is imported with the pipeline only."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from unclip_mm import inputs
from unclip_mm.checkpoints import is_bundled
from unclip_mm.commands.checks import MODALITIES, as_path, parameters_as_options
from unclip_mm.commands.prompt import Prompt, option
from unclip_mm.errors import CheckpointError, UnclipError, first_line

if TYPE_CHECKING:
    from unclip_mm.embeddings import Embeddings
    from unclip_mm.pipeline import UnCLIPMultimodalPipeline

Media = dict[str, list[Any]]
"""Modality -> one checked value a row, or one for all rows."""

SAMPLING_RATE = 16_000
BATCH_SIZE = 32
"""Prompts encoded, and pictures made, at a time: bounds the memory; results do not depend on it."""


def check_media(modality: str, value: str, called: str) -> Any:
    """Check one prompt value by decoding it, which needs no model.

    Args:
        modality: text, audio, sketch, image, or one of the model's own, which is a vector or a sequence.
        value: the text, or the name of a file.
        called: what an error calls a text; a file is called by its name.

    Returns:
        What the pipeline is given: a text or a path as it is, sounds as ``(rate, samples)``.

    Raises:
        InputError: the text is blank; the file is missing, damaged, silent, blank, too long or too large.
    """
    if modality == "text":
        inputs.check_text(value, name=called)
        return value
    path = as_path(called, value)
    if modality == "audio":
        with _native_messages_hidden():
            return SAMPLING_RATE, inputs.load_audio(path, sampling_rate=SAMPLING_RATE)
    {"sketch": inputs.load_sketch, "image": inputs.load_image}.get(modality, inputs.load_vector)(path)
    return path


def check_prompt(prompt: Prompt, called: Callable[[str], str] = option) -> Media:
    """All values of a prompt, checked as by :func:`check_media`; ``called`` names the option of a modality."""
    return {
        modality: [check_media(modality, value, called(modality)) for value in values]
        for modality, values in prompt.values.items()
    }


def rows_of(media: Media, rows: Sequence[int]) -> dict[str, Any]:
    """Some rows of a prompt as the pipeline takes them; values that were given once are repeated.

    Example:
        >>> rows_of({"text": ["a cat", "a dog"], "imu": ["walk.npy"]}, [1, 1])
        {'text': ['a dog', 'a dog'], 'inputs': {'imu': ['walk.npy', 'walk.npy']}}
    """
    chosen = {name: [values[row if len(values) > 1 else 0] for row in rows] for name, values in media.items()}
    others = {name: chosen.pop(name) for name in set(chosen) - set(MODALITIES)}
    return {**chosen, "inputs": others} if others else chosen


def load_pipeline(checkpoint: str, dtype: str = "float32") -> UnCLIPMultimodalPipeline:
    """The pipeline of a bundled name, a folder or a hub id; its progress bars show only on a terminal.

    Args:
        checkpoint: which.
        dtype: the name of the numbers that it computes with.

    Raises:
        CheckpointError: it is missing, damaged, or not such a pipeline.
    """
    if is_bundled(checkpoint):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with _nothing_collected():
        import torch
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        from unclip_mm.pipeline import UnCLIPMultimodalPipeline

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            kind: Any = UnCLIPMultimodalPipeline  # diffusers' types hide its methods
            pipeline = kind.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
        except UnclipError:
            raise
        except Exception as error:
            raise CheckpointError(f"checkpoint: {checkpoint} cannot be loaded ({first_line(error)})") from error
    pipeline.set_progress_bar_config(disable=not sys.stderr.isatty(), leave=False)
    return pipeline


def encode(pipeline: UnCLIPMultimodalPipeline, media: Media, rows: int) -> Embeddings:
    """Embeddings ``(rows, M, D)`` of a checked prompt, a batch at a time."""
    from unclip_mm.embeddings import Embeddings

    starts = range(0, rows, BATCH_SIZE)
    with parameters_as_options():
        return Embeddings.cat(
            [pipeline.encode(**rows_of(media, range(start, min(start + BATCH_SIZE, rows)))) for start in starts]
        )


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Search for no garbage while millions of objects are made that all stay: a tenth of the time to load."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


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
