"""What every training script starts with: the recipe, the folders, and the caches."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import tyro
from diffusers import ModelMixin

from train.command import one_line_errors
from train.config import Recipe
from train.recipes import RECIPES
from unclip_mm.data.cache import ModalityCache, set_aside_validation
from unclip_mm.errors import CheckpointError, InputError

Config = TypeVar("Config")
Part = TypeVar("Part", bound=ModelMixin)
TRAINED_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Stage(Generic[Config]):
    """One stage of one run.

    Attributes:
        name: What it trains: ``autoencoder``, ``encoder``, ``prior``, ``complete``, ``decoder``, ``distill``,
            ``renderer``, ``finetune``, ``prefer`` or ``upsampler``.
        recipe: The recipe as written.
        config: This stage's part of it, with what the command line changed.
        run: The folder of the run: every stage has a subfolder, and exports to ``run/export/<stage>``.
        start: The folder of a trained part to go on from, if one was given.
    """

    name: str
    recipe: Recipe
    config: Config
    run: Path
    start: Path | None = None

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

    def initial(self, kind: type[Part], build: Callable[[], Part], **sizes: int) -> Part:
        """Return the part to train, in single precision: the one in ``start``, or a new one where none was given.

        Args:
            kind: Its class.
            build: Makes a new one; the recipe's architecture has a say there alone.
            sizes: What its configuration must say for it to fit the other parts of the run.

        Raises:
            CheckpointError: ``start`` holds no such part.
            InputError: It does not fit.
        """
        if self.start is None:
            return build()
        part = load_part(self.start, kind)
        for name, size in sizes.items():
            if part.config[name] != size:
                raise InputError(f"{self.start}: its {name} is {part.config[name]}, the run's is {size}")
        return part

    def trained(self, stage: str, kind: type[Part]) -> Part:
        """Return what an earlier stage exported, ready to be used on this stage's device.

        Raises:
            CheckpointError: It exported nothing yet.
        """
        folder = self.exported(stage)
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: not there yet; run train.{stage} first")
        return load_part(folder, kind).to(self.device).eval()

    def save(self, part: ModelMixin | None = None, /, **parts: ModelMixin) -> None:
        """Export what was trained to ``RUN/export/STAGE`` itself, or several parts to its subfolders."""
        save_whole(self.export, {**({} if part is None else {".": part}), **parts})

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The splits that this stage trains on."""
        return TRAINED_SPLITS if getattr(self.config, "everything", False) else TRAINED_SPLITS[:1]

    def caches(self, *modalities: str) -> dict[str, ModalityCache]:
        """Read the cached features of some modalities (all of the recipe's by default).

        Raises:
            CheckpointError: One is not cached.
            InputError: No picture is left for validation.
        """
        names = modalities or tuple(self.recipe.encoder.towers)
        caches = {name: ModalityCache.load(self.run / "cache", name) for name in names}
        set_aside_validation(caches)
        if "image" in caches and not caches["image"].where(split="validation"):
            pictured = len({caches["image"].items[row]["concept"] for row in caches["image"].where(split="train")})
            raise InputError(
                f"data: of {pictured} concepts with pictures none happens to be set aside for validation; mark the rows of "
                'one or more with "split": "validation" in metadata.jsonl, and run train.embed into a new --run folder'
            )
        return caches


def save_whole(folder: Path, parts: Mapping[str, ModelMixin]) -> None:
    """Write parts to subfolders of a folder, all of them or none: what was there before stays until they are written.

    Of several processes one writes, and the others wait.
    """
    from accelerate import PartialState

    processes = PartialState()
    if processes.is_main_process:
        scratch = folder.with_name(f"incomplete-{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        for name, part in parts.items():
            part.save_pretrained(scratch / name)
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)
        scratch.rename(folder)
    processes.wait_for_everyone()


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


def load_part(folder: Path, kind: type[Part]) -> Part:
    """Load a part in single precision.

    Raises:
        CheckpointError: The folder holds another part, none, or a broken one.
    """
    file = folder / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("_class_name") if file.is_file() else "nothing"
        if found == kind.__name__:
            return kind.from_pretrained(folder, torch_dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: not readable ({' '.join(str(error).split())})") from error
    raise CheckpointError(f"{folder}: {found} is there; give the folder of a {kind.__name__}")


def final_decoder(recipe: Recipe, run: Path) -> tuple[Path, dict[str, float]]:
    """Return the folder of the distilled decoder of a run, or of the one it learns from, and how that is sampled."""
    config = recipe.distill
    if (run / "export" / "distill").is_dir():
        return run / "export" / "distill", {"num_inference_steps": config.steps, "guidance_scale": 1.0}
    sampling = {"num_inference_steps": config.teacher_steps, "guidance_scale": config.guidance_scale}
    return run / "export" / "decoder", sampling


def final_prior(run: Path) -> Path:
    """Return the folder of the prior of a run that was trained last; it need not be there."""
    preferred = run / "export" / "prefer"
    return preferred if preferred.is_dir() else run / "export" / "prior"


def parse_stage(name: str, description: str | None, arguments: list[str]) -> Stage[Any]:
    """Read the command line of a training script: ``--recipe``, ``--run``, ``--start``, and any field of its config.

    Raises:
        InputError: There is no such recipe.
    """

    @dataclass(frozen=True)
    class Options:
        """The options that are not the stage's own."""

        recipe: str = "pictograms"
        """Name of a recipe: its file in train/recipes."""
        run: Path | None = None
        """Folder of the run; runs/RECIPE by default. Running again goes on where it stopped."""
        start: Path | None = None
        """Folder of a trained part to go on from instead of from nothing: another run's, or a model's."""

    wants_help = {"-h", "--help"} & set(arguments)
    options, rest = tyro.cli(Options, args=[a for a in arguments if a not in wants_help], return_unknown_args=True)
    recipe = find_recipe(options.recipe)
    config = getattr(recipe, name)
    about = f"{description}\n\n(also: --recipe NAME, --run DIR, --start FOLDER of a trained part to go on from)"
    changed = tyro.cli(type(config), args=[*rest, *wants_help], default=config, description=about)
    run = options.run or default_run(options.recipe)
    return Stage(name, replace(recipe, **{name: changed}), changed, run, options.start)


def run_stage(name: str, description: str | None, work: Callable[[Stage[Any]], None]) -> None:
    """Do what a training script does with its command line; bad input ends it with one line and exit code 2."""
    with one_line_errors(f"train.{name}"):
        work(parse_stage(name, description, sys.argv[1:]))
