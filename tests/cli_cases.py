"""Commands that must fail, for the tests of the command line."""

from __future__ import annotations

import pytest

from unclip_mm.cli import main

Capture = pytest.CaptureFixture[str]
GENERATE = ("generate", "--checkpoint", "first-look", "--output", "out.png")


def failure(capsys: Capture, *arguments: str) -> str:
    """Run a command that must fail, and return its one line."""
    code = main(arguments)
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("unclip-mm: error: "), captured.err
    return lines[0].removeprefix("unclip-mm: error: ")
