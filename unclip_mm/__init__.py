"""unclip-mm: text, voice, sound, sketch, image, a mix of them, or any embedding, turned into pictures.

The public names are loaded on first use, so that ``import unclip_mm`` stays fast:

    >>> import unclip_mm
    >>> unclip_mm.Embeddings.__name__
    'Embeddings'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unclip_mm.embeddings import Embeddings, arithmetic, slerp
    from unclip_mm.encoder import MultimodalEncoder
    from unclip_mm.errors import CheckpointError, InputError
    from unclip_mm.objectives import build_objective
    from unclip_mm.pipeline import UnCLIPMultimodalPipeline

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Embeddings",
    "InputError",
    "MultimodalEncoder",
    "UnCLIPMultimodalPipeline",
    "arithmetic",
    "build_objective",
    "slerp",
]

_MODULES = {
    "CheckpointError": "errors",
    "Embeddings": "embeddings",
    "InputError": "errors",
    "MultimodalEncoder": "encoder",
    "UnCLIPMultimodalPipeline": "pipeline",
    "arithmetic": "embeddings",
    "build_objective": "objectives",
    "slerp": "embeddings",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"unclip_mm.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
