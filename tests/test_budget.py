"""A loop that has so many minutes takes the steps that fit, lets the rate fall to its end, and remembers that it did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from train.budget import StepBudget
from train.checkpoint import checkpoints
from train.config import LoopConfig
from train.loop import Step, train
from unclip_mm.errors import InputError

CONFIG = LoopConfig(steps=10**6, batch_size=2, warmup_steps=1, learning_rate=1.0, fit_minutes=0.05)


class Slow(nn.Module):
    """A parameter whose loss falls by its learning rate, a few milliseconds a step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        for _ in range(10):
            rows = rows @ rows / 300
        return {"slope_loss": self.weight.sum() + 0 * rows.sum()}


def run(config: LoopConfig, folder: Path) -> list[int]:
    taken: list[int] = []

    def loss(model: nn.Module, step: Step) -> dict[str, Tensor]:
        taken.append(step.index)
        return model(torch.randn(300, 300, generator=step.generator))

    train(config, Slow(), loss, folder)
    return taken


def test_a_loop_takes_the_steps_that_fit_and_decides_once(tmp_path: Path) -> None:
    taken = run(CONFIG, tmp_path)
    assert taken == list(range(len(taken))) and 1 < len(taken) < CONFIG.steps
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == len(taken)
    state = json.loads((checkpoints(tmp_path)[-1] / "state.json").read_text())
    assert state == {"step": len(taken), "decided": len(taken)}
    assert run(replace(CONFIG, fit_minutes=10.0), tmp_path) == []
    more = len(taken) + 2
    assert run(replace(CONFIG, fit_minutes=None, steps=more), tmp_path) == [len(taken), len(taken) + 1]
    assert json.loads((checkpoints(tmp_path)[-1] / "state.json").read_text()) == {"step": more, "decided": None}


def test_the_rate_falls_to_its_end_in_the_steps_that_fit(tmp_path: Path) -> None:
    """Adam moves the parameter by the rate in every step: of a million steps' schedule it would move by one each."""
    config = replace(CONFIG, decay_fraction=1.0, weight_decay=0.0)
    moved: list[float] = []

    def loss(model: nn.Module, step: Step) -> dict[str, Tensor]:
        losses = model(torch.randn(300, 300, generator=step.generator))
        moved.append(-float(losses["slope_loss"].detach()))
        return losses

    train(config, Slow(), loss, tmp_path)
    assert moved[2] - moved[1] > 0.9
    assert moved[-1] - moved[-2] < 0.1


def test_less_time_than_measuring_takes_ends_at_once() -> None:
    budget = StepBudget(minutes=1.0, most=1000)
    assert budget.steps(1, 5.0) is None
    assert budget.steps(2, 80.0) == 2
    assert StepBudget(minutes=1.0, most=3).steps(2, 30.0) == 2 + int((54 - 30) / 30)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(minutes: float) -> None:
    with pytest.raises(InputError, match=f"--loop.fit-minutes: {minutes} is not allowed; give a number above 0"):
        StepBudget(minutes, 10)
