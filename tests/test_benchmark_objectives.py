"""What the objectives are measured against is what they compute."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from objective_cases import vectors

from benchmarks import objectives
from benchmarks.objectives import DECOMPOSITION, PLAIN, SIZES, main, ours, plain_gigabytes
from unclip_mm.objectives import OBJECTIVES


@pytest.mark.parametrize(
    ("name", "modalities"), [(name, m) for name in PLAIN for m in (2, 3, 4, 5) if name != "triangle" or m == 3]
)
def test_plain_formulas_are_the_objectives(name, modalities):
    assert set(PLAIN) == {DECOMPOSITION, *OBJECTIVES}
    ways = []
    for loss in (ours(name), ours(name, 4), PLAIN[name]):
        leaf = vectors(12, modalities, 16).float().requires_grad_()
        value = loss(leaf)
        value.backward()
        tangent = leaf.grad - (leaf.grad * leaf.detach()).sum(dim=-1, keepdim=True) * leaf.detach()
        ways.append((value.detach(), tangent))
    torch.testing.assert_close(ways[0], ways[1], rtol=1e-4, atol=1e-5)
    if name not in (DECOMPOSITION, "pmrl"):  # whose directions have the signs that the decomposition gives
        torch.testing.assert_close(ways[0], ways[2], rtol=1e-4, atol=2e-5)
    if name == DECOMPOSITION:
        torch.testing.assert_close(ways[0][0], ways[2][0], rtol=1e-4, atol=1e-5)


def test_the_gradient_counts_and_what_makes_the_inputs_does_not():
    code = (
        "from benchmarks.objectives import measure; print(measure(lambda z: z.sum(), 32_768, 3, 256, 1)['gigabytes'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # a peak of its own
    assert float(done.stdout) == pytest.approx(4 * 32_768 * 3 * 256 / 2**30, rel=0.1)


def test_every_objective_is_measured_with_as_many_modalities_as_it_needs(capsys, monkeypatch):
    monkeypatch.setattr(objectives, "in_a_process", fake := Measured())
    main(large_batch=True, rows=64, dim=8, chunk_size=16)
    assert [(call[0], call[3]) for call in fake.calls] == [
        (name, 3 if name in ("triangle", "symile") else 2) for name in OBJECTIVES
    ]
    printed = capsys.readouterr().out
    assert "symile     3 modalities" in printed and "pmrl       2 modalities" in printed
    fake.calls.clear()
    main(("gram", "triangle", "symile"), large_batch=True, rows=64, modalities=5)
    assert [call[3] for call in fake.calls] == [5, 3, 5]


def test_the_table_measures_both_ways_alike(capsys, monkeypatch):
    monkeypatch.setattr(objectives, "in_a_process", fake := Measured())
    main(repeats=2, dim=8)
    for name in PLAIN:
        sizes = [(rows, count) for rows, count in SIZES if name != "triangle" or count == 3]
        for package in (True, False):
            mine = [call[2:4] for call in fake.calls if call[:2] == (name, package)]
            assert mine == [size for size in sizes if package or size in mine]
    assert {call[5] for call in fake.calls} == {2}  # repeats
    fake.calls.clear()
    main(("symile",), repeats=2, dim=8, modalities=4)
    assert {call[3] for call in fake.calls} == {4}
    assert capsys.readouterr().out.count("symile") == len(SIZES) + 3
    assert all(plain_gigabytes(name, 256, 3, 512) > 0 for name in PLAIN)


def test_wrong_options_are_named():
    with pytest.raises(SystemExit, match="names: 'nonesuch' is not among decomposition, pmrl"):
        main(("nonesuch",))
    with pytest.raises(SystemExit, match="modalities: 6 is not from 2 to 5"):
        main(modalities=6)


def test_a_figure_comes_from_a_process_of_its_own():
    result = objectives.in_a_process("symile", False, 16, 3, 8, 1, None)
    assert result["seconds"] > 0 and result["value"] > 0


class Measured:
    """Notes what is to be measured, in place of a process."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return {"seconds": 1.0, "gigabytes": 1.0, "value": 0.0}
