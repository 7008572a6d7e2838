"""What every training script starts with: the recipe, the folders, and the caches."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import tyro

from train.config import Recipe
from train.recipes import RECIPES
from unclip_mm.data.cache import ModalityCache, set_aside_validation
from unclip_mm.errors import InputError

Config = TypeVar("Config")


@dataclass(frozen=True)
class Stage(Generic[Config]):
    """One stage of one run.

    Attributes:
        name: ``autoencoder``, ``encoder``, ``prior`` or ``decoder``.
        recipe: The recipe as written.
        config: This stage's part of it, with what the command line changed.
        run: The folder of the run: every stage has a subfolder, and exports to ``run/export/<stage>``.
    """

    name: str
    recipe: Recipe
    config: Config
    run: Path

    @property
    def folder(self) -> Path:
        """Checkpoints and the log of this stage."""
        return self.run / self.name

    @property
    def device(self) -> torch.device:
        """The device that accelerate chooses."""
        from accelerate import PartialState

        return PartialState().device

    def exported(self, stage: str) -> Path:
        """Return the folder that a stage exports its trained part to."""
        return self.run / "export" / stage

    @property
    def export(self) -> Path:
        """Where this stage's trained part goes."""
        return self.exported(self.name)

    def caches(self, *modalities: str) -> dict[str, ModalityCache]:
        """Read the cached features of some modalities (all of the recipe's by default)."""
        names = modalities or tuple(self.recipe.encoder.towers)
        caches = {name: ModalityCache.load(self.run / "cache", name) for name in names}
        set_aside_validation(caches)
        return caches


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: There is no such recipe.

    Example:
        >>> find_recipe("tiny").image_size
        32
    """
    if name not in RECIPES:
        raise InputError(f"recipe {name!r}: not known; give one of {', '.join(RECIPES)}")
    return RECIPES[name]


def default_run(recipe: str) -> Path:
    """Return the folder of a recipe's run when none is given."""
    return Path("runs") / recipe


def parse_stage(name: str, description: str | None, arguments: list[str] | None = None) -> Stage[Any]:
    """Read the command line of a training script: ``--recipe``, ``--run``, and any field of the stage's config."""
    arguments = sys.argv[1:] if arguments is None else arguments

    @dataclass(frozen=True)
    class Options:
        """The options that are not the stage's own."""

        recipe: str = "pictograms"
        """Name of a recipe: its file in train/recipes."""
        run: Path | None = None
        """Folder of the run; runs/RECIPE by default. Running again goes on where it stopped."""

    try:
        wants_help = {"-h", "--help"} & set(arguments)
        options, rest = tyro.cli(Options, args=[a for a in arguments if a not in wants_help], return_unknown_args=True)
        recipe = find_recipe(options.recipe)
        config = getattr(recipe, name)
        about = f"{description}\n\n(also: --recipe NAME, --run DIR)"
        changed = tyro.cli(type(config), args=[*rest, *wants_help], default=config, description=about)
    except InputError as error:
        print(f"train.{name}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    return Stage(name, replace(recipe, **{name: changed}), changed, options.run or default_run(options.recipe))
