"""Two processes must be one process with the whole batch. One spawn serves all the checks: starting it is the cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from objective_cases import NAMES, mask, total, vectors

from unclip_mm.distributed import gather_with_grad, process_count, step_seed
from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import GradientError, InputError
from unclip_mm.objectives import OBJECTIVES, InfoNCE, UniAlign, build_objective

ROWS = 8  # four on each of two processes


class Towers(torch.nn.Module):
    """A linear map a modality."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = torch.nn.ModuleList([torch.nn.Linear(8, 6, dtype=torch.float64) for _ in range(3)])

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return torch.stack([layer(views[:, m]) for m, layer in enumerate(self.maps)], dim=1)


def objectives() -> dict[str, torch.nn.Module]:
    built = {name: build_objective(name).double() for name in OBJECTIVES}
    built["unialign literal"] = UniAlign.literal(lambda_vol=0.1)
    built["infonce anchor"] = InfoNCE("image").double()
    return built


def step(
    towers: torch.nn.Module, objective: torch.nn.Module, rows: slice, grouped: bool, missing: float
) -> dict[str, torch.Tensor]:
    """Run forward and backward on some rows; give the terms and every gradient."""
    views, present = vectors(ROWS, 3, 8), mask(ROWS, 3, missing=missing)
    groups = torch.tensor([0, 1, 2, 3, 0, 1, 4, 5])[rows] if grouped else None
    towers.zero_grad()
    objective.zero_grad()
    batch = Embeddings(F.normalize(towers(views[rows]), dim=-1), present[rows], NAMES[:3])
    terms = objective(batch, groups)
    total(terms).backward()
    if process_count() > 1:  # what DistributedDataParallel does, without the two seconds it takes to start
        for p in towers.parameters():
            dist.all_reduce(p.grad)
            p.grad /= process_count()
    gradients = {f"grad {k}": p.grad.clone() for k, p in enumerate([*towers.parameters(), *objective.parameters()])}
    return {**terms, **gradients}


def steps(rows: slice) -> dict[tuple[str, bool, float], dict[str, torch.Tensor]]:
    """Each objective, with groups and without, with modalities that are missing and with the same everywhere."""
    return {
        (name, grouped, missing): step(Towers(), objective, rows, grouped, missing)
        for name, objective in objectives().items()
        for grouped in (False, True)
        for missing in (0.0, 0.3)
    }


def check_two_are_one(rank: int, whole: dict[tuple[str, bool, float], dict[str, torch.Tensor]]) -> None:
    for case, ours in steps(slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)).items():
        assert ours.keys() == whole[case].keys()
        for key in ours:
            torch.testing.assert_close(ours[key], whole[case][key], msg=lambda text, at=(*case, key): f"{at}: {text}")


def check_gather(rank: int) -> None:
    x = torch.full((2, 3), float(rank + 1), requires_grad=True)
    gathered = gather_with_grad(x)
    assert gathered[:, 0].tolist() == [1, 1, 2, 2]
    (gathered.sum(dim=1) * torch.arange(4) * (rank + 1)).sum().backward()
    assert x.grad[:, 0].tolist() == ([0, 3] if rank == 0 else [6, 9])  # what both processes ask, summed
    with pytest.raises(GradientError, match="create_graph"):
        torch.autograd.grad(gather_with_grad(x).sum(), x, create_graph=True)
    assert gather_with_grad(torch.tensor([rank == 0])).tolist() == [True, False]
    assert not gather_with_grad(torch.ones(1)).requires_grad


def check_errors(rank: int) -> None:
    objective = InfoNCE()
    batch = Embeddings(vectors(4, 3, 8), torch.ones(4, 3, dtype=torch.bool), NAMES[:3])
    renamed = Embeddings(batch.vectors, batch.present, NAMES[1:4])
    for wrong in (
        batch.rows(slice(0, 3 + rank)),
        (batch, renamed)[rank],
        batch.to((torch.float32, torch.float64)[rank]),
    ):
        with pytest.raises(InputError, match=r"on rank 1.* on rank 0; make it equal"):
            objective(wrong)
    with pytest.raises(InputError, match="on rank 1"):
        objective(batch, torch.arange(4) if rank == 0 else None)
    for wrong, message in (
        (torch.zeros(3, dtype=torch.long), r"groups: torch.int64 \(3,\)"),
        (torch.zeros(4), r"groups: torch.float32 \(4,\)"),
        ([0, 1, 2, 3], "groups: list"),
    ):  # on one process, and the other does not wait for it
        with pytest.raises(InputError, match=message if rank == 1 else "rank 1 cannot use what it was given"):
            objective(batch, torch.arange(4) if rank == 0 else wrong)
    broken = Embeddings(vectors(4, 3, 8), batch.present, NAMES[:3])
    if rank == 1:
        broken.vectors[0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="not all values are finite"):  # on both, so that none waits for the other
        objective(broken)
    one_row_each = objective(Embeddings(vectors(2, 3, 8), batch.present[:2], NAMES[:3]).rows(rank))
    assert one_row_each["contrastive_loss"] > 0


def work(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    whole = steps(slice(None))
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    try:
        assert process_count() == 2
        check_gather(rank)
        check_two_are_one(rank, whole)
        check_errors(rank)
    finally:
        dist.destroy_process_group()


def test_two_processes_give_the_loss_and_the_gradient_of_one(tmp_path: Path):
    torch.multiprocessing.spawn(work, args=((tmp_path / "rendezvous").as_uri(),), nprocs=2)


def test_one_process_gathers_nothing():
    x = torch.ones(2)
    assert process_count() == 1
    assert gather_with_grad(x) is x


def test_seeds_depend_on_seed_rank_and_step_alone():
    seeds = {step_seed(s, r, k) for s in range(5) for r in range(5) for k in range(40)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(0, 0, 0) == 728534652295568042  # the same on every machine and in every version
    low = torch.tensor([seed % 2 for seed in seeds]).float().mean()
    assert 0.4 < low < 0.6


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0.5, 0, 0)])
def test_wrong_seeds_are_refused(wrong):
    with pytest.raises(InputError, match="int of 0 or more"):
        step_seed(*wrong)
