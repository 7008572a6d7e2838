"""The one training loop: every stage gives it a model and a loss, and it does the rest.

Counters are optimiser steps. Data order and noise are functions of (seed, rank, step), so nothing random needs to be
stored, and a killed run goes on to bitwise the same losses on a CPU (one that is fitted into minutes: once that is
decided).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from train.budget import StepBudget
from train.checkpoint import Trained, averaged
from train.config import LoopConfig
from unclip_mm.distributed import step_seed
from unclip_mm.errors import TrainingError

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
    """Optimise ``model`` for ``config.steps`` steps, or for as many as fit into ``config.fit_minutes``, and return it.

    What is returned holds the averaged weights if there are any. How many steps fit is decided once, and stays so when the
    run goes on.

    Args:
        config: How to optimise.
        model: Its trainable parameters are optimised, and only those are checkpointed.
        loss: ``loss(model, step)`` -> dict; keys that end in ``_loss`` are summed, all are logged.
        run: The stage's folder; checkpoints go to ``run/checkpoint-<step>``, the log to ``run/log.jsonl``.
        validate: Called with the model (averaged weights) every ``validate_every`` steps; its numbers are logged.
        description: The word on the progress bar.

    Raises:
        CheckpointError: The folder holds a checkpoint of another model.
        InputError: It is to fit into no time.
        TrainingError: The loss, or its gradient, is no longer finite. What is not is never checkpointed.
    """
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    model.to(accelerator.device)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(_decay_groups(parameters, config.weight_decay), lr=0.0, betas=(0.9, 0.99), fused=True)
    ema = EMAModel(list(parameters.values()), decay=config.ema_decay, foreach=True) if config.ema_decay else None
    trained = Trained(parameters, optimizer, ema)
    start, decided = trained.resume(run)
    budget = None
    if config.fit_minutes is None:
        decided = None
    elif decided is None:
        budget = StepBudget(config.fit_minutes, config.steps - start)
    else:
        config = replace(config, steps=decided)
    compiled = torch.compile(model) if config.compile else model
    prepared, optimizer_ = accelerator.prepare(compiled, optimizer)
    # On a CPU the fused attention's backward takes 40% of a step at these short sequences; the plain one takes 3%.
    attention = partial(sdpa_kernel, SDPBackend.MATH) if accelerator.device.type == "cpu" else nullcontext
    began = last_save = time.monotonic()
    progress = tqdm(total=config.steps, initial=start, desc=description, disable=not accelerator.is_main_process)
    for index in count(start):
        if index >= config.steps:
            break
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
        norm = accelerator.clip_grad_norm_(list(parameters.values()), config.clip_norm)
        optimizer_.step()
        optimizer_.zero_grad(set_to_none=True)
        if ema:
            ema.step(parameters.values())
        progress.update()
        done = index + 1
        if budget:
            total.item()  # waits for the device
            [spent] = broadcast_object_list([time.monotonic() - began])
            fitting = budget.steps(done - start, spent)
            if fitting is not None:
                decided, budget = start + fitting, None
                config = replace(config, steps=decided)
                progress.total = decided
        now = time.monotonic()
        stop = False
        if config.max_minutes is not None:
            [stop] = broadcast_object_list([now - began > 60 * config.max_minutes])
        saves = done == config.steps or stop or now - last_save > 60 * config.save_minutes
        if done % config.log_every == 0 or saves:
            values = {name: float(value.detach()) for name, value in losses.items()} | {"norm": float(norm)}
            if not all(math.isfinite(value) for value in (float(total.detach()), values["norm"])):
                raise TrainingError(f"{description}: not finite at step {index}: {values}; try a lower learning rate")
            values |= {"seconds": round(now - began, 1)}
            progress.set_postfix({k: f"{v:.3g}" for k, v in values.items() if k.endswith("_loss")})
            _log(accelerator, run, done, values)
        if validate and (done % config.validate_every == 0 or done == config.steps):
            with averaged(trained), torch.no_grad(), accelerator.autocast():
                model.eval()
                _log(accelerator, run, done, validate(model))
        if saves:
            last_save = now
            if accelerator.is_main_process:
                trained.save(run, done, decided, config.keep_checkpoints)
        if stop and done < config.steps:
            progress.close()
            raise SystemExit(f"{description}: stopped at step {done} of {config.steps}; run again to go on")
    progress.close()
    accelerator.wait_for_everyone()
    if ema:
        ema.copy_to(parameters.values())
    return model.eval()


def _decay_groups(trained: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed; biases, gains and position embeddings (fewer than 2 dimensions, or named so) are not."""
    decayed = [p for n, p in trained.items() if p.ndim >= 2 and "position" not in n]
    others = [p for n, p in trained.items() if p.ndim < 2 or "position" in n]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _log(accelerator: Accelerator, run: Path, step: int, values: dict[str, float]) -> None:
    if accelerator.is_main_process:
        run.mkdir(parents=True, exist_ok=True)
        with (run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
