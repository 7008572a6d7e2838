"""Checkpoints of a loop: what is trained, the optimiser and the weight average, as safetensors and JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import nn

from unclip_mm.errors import CheckpointError


@dataclass
class Trained:
    """What a loop changes.

    Attributes:
        parameters: Name -> what is optimised.
        optimizer: Of these.
        ema: Their average, if one is kept.
    """

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    ema: EMAModel | None

    def _ordered(self) -> list[nn.Parameter]:
        """The parameters as the optimiser counts them."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def save(self, run: Path, step: int, decided: int | None, keep: int) -> None:
        """Write to a temporary folder, rename, then prune: a kill at any moment leaves the last complete checkpoint.

        Args:
            run: The stage's folder.
            step: Steps that are done.
            decided: Steps that the loop takes in all, if it was time that decided so.
            keep: How many checkpoints are kept.
        """
        temporary, final = run / f"incomplete-{step}", run / f"checkpoint-{step}"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(
            {name: p.detach().contiguous() for name, p in self.parameters.items()}, temporary / "model.safetensors"
        )
        state = {
            f"{position}.{key}": value
            for position, parameter in enumerate(self._ordered())
            for key, value in self.optimizer.state[parameter].items()
        }
        save_file(state, temporary / "optimizer.safetensors")
        if self.ema:
            shadow = {name: p.contiguous() for name, p in zip(self.parameters, self.ema.shadow_params, strict=True)}
            save_file(shadow, temporary / "ema.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step, "decided": decided}))
        temporary.rename(final)
        for old in checkpoints(run)[:-keep]:
            shutil.rmtree(old)

    def resume(self, run: Path) -> tuple[int, int | None]:
        """Load the newest complete checkpoint, if there is one, and return its ``step`` and ``decided``.

        Raises:
            CheckpointError: It holds another model.
        """
        found = checkpoints(run)
        if not found:
            return 0, None
        newest = found[-1]
        saved = load_file(newest / "model.safetensors")
        if {n: p.shape for n, p in self.parameters.items()} != {n: t.shape for n, t in saved.items()}:
            raise CheckpointError(f"{newest}: holds another model than the recipe's; choose another --run folder")
        at = json.loads((newest / "state.json").read_text())
        state = load_file(newest / "optimizer.safetensors")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(saved[name])
        ordered = self._ordered()
        for name, value in state.items():  # parameters that have had no gradient yet have no state
            position, key = name.split(".")
            parameter = ordered[int(position)]
            # The count of steps as well: the fused optimiser wants it there.
            self.optimizer.state[parameter][key] = value.to(parameter.device)
        if self.ema:
            shadow = load_file(newest / "ema.safetensors")
            self.ema.shadow_params = [shadow[name].to(p.device) for name, p in self.parameters.items()]
            self.ema.optimization_step = at["step"]
        return at["step"], at.get("decided")


class averaged:  # noqa: N801
    """Inside ``with averaged(trained):`` the parameters hold the averaged weights, if an average is kept."""

    def __init__(self, trained: Trained):
        self.parameters, self.ema = trained.parameters, trained.ema

    def __enter__(self) -> None:
        if self.ema:
            self.ema.store(self.parameters.values())
            self.ema.copy_to(self.parameters.values())

    def __exit__(self, *_: object) -> None:
        if self.ema:
            self.ema.restore(self.parameters.values())


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a stage, oldest first."""
    found = [p for p in run.glob("checkpoint-*") if p.name.rsplit("-", 1)[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))
