"""The one training loop: four stages give it a model and a loss, and it does the rest.

Counters are optimiser steps. Data order and noise are functions of (seed, rank, step), so nothing random needs to be
stored, and a killed run goes on to bitwise the same losses on a CPU. Checkpoints are safetensors and JSON.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from train.config import LoopConfig
from unclip_mm.distributed import step_seed
from unclip_mm.errors import CheckpointError

Losses = dict[str, Tensor]


@dataclass
class Step:
    """What a loss function is told: where the run is, and the generator for everything random in this step."""

    index: int
    generator: torch.Generator
    batch_size: int


def learning_rate(config: LoopConfig, step: int) -> float:
    """The rate at a step: linear warm-up, constant, then a cosine down to 2% of the peak.

    Example:
        >>> config = LoopConfig(steps=100, warmup_steps=10, learning_rate=1.0, decay_fraction=0.5)
        >>> [round(learning_rate(config, step), 2) for step in (0, 9, 40, 75, 99)]
        [0.1, 1.0, 1.0, 0.51, 0.02]
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    start = config.steps * (1 - config.decay_fraction)
    progress = min(1.0, max(0.0, (step - start) / max(1.0, config.steps - start)))
    return config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    config: LoopConfig,
    model: nn.Module,
    loss: Callable[[nn.Module, Step], Losses],
    run: Path,
    *,
    validate: Callable[[Any], dict[str, float]] | None = None,
    description: str = "train",
) -> Any:
    """Optimise ``model`` for ``config.steps`` steps and return it, holding the averaged weights if there are any.

    Args:
        config: How to optimise.
        model: Its trainable parameters are optimised, and only those are checkpointed.
        loss: ``loss(model, step)`` -> dict; keys that end in ``_loss`` are summed, all are logged.
        run: The stage's folder; checkpoints go to ``run/checkpoint-<step>``, the log to ``run/log.jsonl``.
        validate: Called with the model (averaged weights) every ``validate_every`` steps; its numbers are logged.
        description: The word on the progress bar.

    Raises:
        CheckpointError: The folder holds a checkpoint of another model.
        FloatingPointError: The loss is no longer finite.
    """
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    model.to(accelerator.device)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(_decay_groups(trained, config.weight_decay), lr=0.0, betas=(0.9, 0.99), fused=True)
    ema = EMAModel(list(trained.values()), decay=config.ema_decay, foreach=True) if config.ema_decay else None
    start = _resume(run, trained, optimizer, ema)
    compiled = torch.compile(model) if config.compile else model
    prepared, optimizer_ = accelerator.prepare(compiled, optimizer)
    # On a CPU the fused attention's backward takes 40% of a step at these short sequences; the plain one takes 3%.
    attention = partial(sdpa_kernel, SDPBackend.MATH) if accelerator.device.type == "cpu" else nullcontext
    began = last_save = time.monotonic()
    progress = tqdm(total=config.steps, initial=start, desc=description, disable=not accelerator.is_main_process)
    for index in range(start, config.steps):
        seed = step_seed(config.seed, accelerator.process_index, index)
        torch.manual_seed(seed)  # dropout and whatever else draws from the global generator
        step = Step(index, torch.Generator().manual_seed(seed), config.batch_size)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, index)
        model.train()
        with attention():
            with accelerator.autocast():
                losses = loss(prepared, step)
            total = torch.stack([value.float() for name, value in losses.items() if name.endswith("_loss")]).sum()
            accelerator.backward(total)
        norm = accelerator.clip_grad_norm_(list(trained.values()), config.clip_norm)
        optimizer_.step()
        optimizer_.zero_grad(set_to_none=True)
        if ema:
            ema.step(trained.values())
        progress.update()
        done, now = index + 1, time.monotonic()
        stop = config.max_minutes is not None and now - began > 60 * config.max_minutes
        if done % config.log_every == 0 or done == config.steps or stop:
            values = {name: float(value.detach()) for name, value in losses.items()}
            if not math.isfinite(float(total.detach())):
                raise FloatingPointError(f"{description}: the loss is not finite at step {index}: {values}")
            values |= {"norm": float(norm), "seconds": round(now - began, 1)}
            progress.set_postfix({k: f"{v:.3g}" for k, v in values.items() if k.endswith("_loss")})
            _log(accelerator, run, done, values)
        if validate and (done % config.validate_every == 0 or done == config.steps):
            with averaged(ema, trained), torch.no_grad(), accelerator.autocast():
                model.eval()
                _log(accelerator, run, done, validate(model))
        if accelerator.is_main_process and (done == config.steps or stop or now - last_save > 60 * config.save_minutes):
            _save(run, done, trained, optimizer, ema, config.keep_checkpoints)
            last_save = now
        if stop and done < config.steps:
            progress.close()
            raise SystemExit(f"{description}: stopped at step {done} of {config.steps}; run again to go on")
    progress.close()
    accelerator.wait_for_everyone()
    if ema:
        ema.copy_to(trained.values())
    return model.eval()


def _decay_groups(trained: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed; biases, gains and position embeddings (fewer than 2 dimensions, or named so) are not."""
    decayed = [p for n, p in trained.items() if p.ndim >= 2 and "position" not in n]
    others = [p for n, p in trained.items() if p.ndim < 2 or "position" in n]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class averaged:  # noqa: N801
    """Inside ``with averaged(ema, trained):`` the parameters hold the averaged weights."""

    def __init__(self, ema: EMAModel | None, trained: dict[str, nn.Parameter]):
        self.ema, self.trained = ema, trained

    def __enter__(self) -> None:
        if self.ema:
            self.ema.store(self.trained.values())
            self.ema.copy_to(self.trained.values())

    def __exit__(self, *_: object) -> None:
        if self.ema:
            self.ema.restore(self.trained.values())


def _log(accelerator: Accelerator, run: Path, step: int, values: dict[str, float]) -> None:
    if accelerator.is_main_process:
        run.mkdir(parents=True, exist_ok=True)
        with (run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a stage, oldest first."""
    found = [p for p in run.glob("checkpoint-*") if p.name.rsplit("-", 1)[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, dict[str, Tensor]]]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for position, parameter in enumerate(parameters):
        yield str(position), optimizer.state[parameter]


def _save(
    run: Path,
    step: int,
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: EMAModel | None,
    keep: int,
) -> None:
    """Write to a temporary folder, rename, then prune: a kill at any moment leaves the last complete checkpoint."""
    temporary, final = run / f"incomplete-{step}", run / f"checkpoint-{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file({name: p.detach().contiguous() for name, p in trained.items()}, temporary / "model.safetensors")
    state = {f"{i}.{key}": value for i, values in _optimizer_tensors(optimizer) for key, value in values.items()}
    save_file(state, temporary / "optimizer.safetensors")
    if ema:
        shadow = {name: p.contiguous() for name, p in zip(trained, ema.shadow_params, strict=True)}
        save_file(shadow, temporary / "ema.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step}))
    temporary.rename(final)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)


def _resume(run: Path, trained: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, ema: EMAModel | None) -> int:
    """Load the newest complete checkpoint, if there is one, and return the step to go on from."""
    found = checkpoints(run)
    if not found:
        return 0
    newest = found[-1]
    saved = load_file(newest / "model.safetensors")
    if {n: p.shape for n, p in trained.items()} != {n: t.shape for n, t in saved.items()}:
        raise CheckpointError(f"{newest}: holds another model than the recipe's; choose another --run folder")
    step = int(json.loads((newest / "state.json").read_text())["step"])
    state = load_file(newest / "optimizer.safetensors")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in state.items():  # parameters that have had no gradient yet have no state
        position, key = name.split(".")
        parameter = parameters[int(position)]
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
    if ema:
        shadow = load_file(newest / "ema.safetensors")
        ema.shadow_params = [shadow[name].to(p.device) for name, p in trained.items()]
        ema.optimization_step = step
    return step
