"""Objectives: what pulls the modalities of a row together and pushes rows apart.

Each takes `Embeddings` (and optional group numbers) and returns a dict of scalars; those named `..._loss` are summed.
"""

from __future__ import annotations

from typing import Any

from unclip_mm.errors import InputError
from unclip_mm.objectives.common import Objective
from unclip_mm.objectives.cs_aligner import CSAligner
from unclip_mm.objectives.gram import GRAM, TRIANGLE
from unclip_mm.objectives.infonce import InfoNCE
from unclip_mm.objectives.pmrl import PMRL
from unclip_mm.objectives.symile import Symile
from unclip_mm.objectives.unialign import UniAlign

__all__ = [
    "CSAligner",
    "GRAM",
    "InfoNCE",
    "OBJECTIVES",
    "Objective",
    "PMRL",
    "Symile",
    "TRIANGLE",
    "UniAlign",
    "build_objective",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "pmrl": PMRL,
    "unialign": UniAlign,
    "infonce": InfoNCE,
    "gram": GRAM,
    "triangle": TRIANGLE,
    "symile": Symile,
    "cs-aligner": CSAligner,
}


def build_objective(name: str, **options: Any) -> Objective:
    """Make an objective by name, as recipes do.

    Args:
        name: a key of `OBJECTIVES`.
        options: arguments of its class.

    Raises:
        InputError: no such objective, or an option it does not have or cannot use.

    Example:
        >>> build_objective("pmrl", tau1=0.01).tau1
        0.01
        >>> build_objective("pmrl", tau1=0.0)
        Traceback (most recent call last):
        ...
        unclip_mm.errors.InputError: tau1: 0.0 is too small; give a number of 1e-06 or more
    """
    if name not in OBJECTIVES:
        raise InputError(f"objective {name!r}: unknown; give one of {', '.join(OBJECTIVES)}")
    kind = OBJECTIVES[name]
    try:
        return kind(**options)
    except TypeError as error:
        raise InputError(f"objective {name!r}: {error}") from error
