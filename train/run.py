"""Run all stages of a recipe, one after the other: ``python -m train.run --recipe tiny``.

Each stage is a process of its own and goes on where it stopped, so the same command again continues a broken run. The
pipeline is written to ``RUN/pipeline``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tyro

from train.command import one_line_errors
from train.embed import LARGE
from train.stage import default_run, find_recipe
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.errors import InputError

STAGES = ("autoencoder", "encoder", "prior", "complete", "decoder", "distill", "renderer", "finetune", "prefer")


def prepare_data(kind: str, data: Path | None, run: Path) -> Path:
    """Return the manifest folder: the given one, that of the recipe's name for it, or the synthetic world, made here.

    Raises:
        InputError: There is no data.
    """
    folder = data or Path("data") / kind
    if (folder / "metadata.jsonl").is_file():
        return folder
    if kind == "synthetic" and data is None:
        make_synthetic_world(run / "data")
        return run / "data"
    how = f"run `python -m train.pictograms --output {folder}` first" if kind == "pictograms" else "see docs/data.md"
    raise InputError(f"{folder}: no metadata.jsonl there; {how}")


def main(recipe: str = "tiny", run: Path | None = None, data: Path | None = None) -> None:
    """Train every part and assemble the pipeline.

    Args:
        recipe: Name of a recipe.
        run: Folder of the run; runs/RECIPE by default.
        data: The manifest folder; data/RECIPE'S DATA by default, or, of a recipe for the synthetic world, one made here.
    """
    chosen = find_recipe(recipe)
    folder = run or default_run(recipe)
    manifest = prepare_data(chosen.data, data, folder)
    common = ["--recipe", recipe, "--run", str(folder)]
    commands = [["embed", *common, "--data", str(manifest)]]
    commands += [[stage, *common] for stage in STAGES if not (folder / "export" / stage).is_dir()]
    if (folder / "cache" / f"{LARGE}.safetensors").is_file() and not (folder / "export" / "upsampler").is_dir():
        commands.append(["upsampler", *common])
    commands += [["assemble", *common, "--output", str(folder / "pipeline")]]
    for command in commands:
        print(f"== {command[0]}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"train.{command[0]}", *command[1:]], check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    with one_line_errors("train.run"):
        tyro.cli(main)
