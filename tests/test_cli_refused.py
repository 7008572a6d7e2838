"""The command line: bad input is told in one line, before any model is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_cases import GENERATE, Capture, failure

from unclip_mm import __version__
from unclip_mm.cli import main


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "nothing to make a picture from"),
        (("--text", ""), "--text: is blank"),
        (("--text", " \t"), "--text: is blank"),
        (("--text", "a" * 5000), "--text: has 5000 characters"),
        (("--audio", "nowhere.wav"), "nowhere.wav: "),
        (("--audio", "."), "is a folder"),
        (("--audio", ""), "--audio: "),
        (("--audio", "noise.bin"), "noise.bin: "),
        (("--audio", "broken.mp3"), "broken.mp3: "),
        (("--audio", "silence.wav"), "silent"),
        (("--audio", "nothing.wav"), "nothing.wav: "),
        (("--audio", "hour.wav"), "60 seconds"),
        (("--image", "empty.png"), "empty.png: is empty"),
        (("--image", "words.png"), "words.png: is not an image"),
        (("--image", "blank.png"), "blank"),
        (("--sketch", "blank.png"), "blank"),
        (("--sketch", "clear.png"), "blank"),
        (("--sketch", "nowhere.png"), "nowhere.png: "),
        (("--text", "a cat", "--negative-audio", "silence.wav"), "silent"),
        (("--text", "a cat", "--negative-text", ""), "--negative-text: is blank"),
        (("--embeddings", "nowhere.safetensors"), "there is no such file"),
        (("--embeddings", "noise.bin"), "noise.bin: "),
        (("--embeddings", "noise.bin", "--text", "a cat"), "cannot be joined with --text"),
        (("--input", "imu"), "--input: 'imu' is not NAME=FILE"),
        (("--input", "image=red.png"), "give it with --image"),
        (("--input", "imu=nowhere.npy"), "nowhere.npy: "),
        (("--input", "imu=words.png"), "words.png: "),
        (("--smell", "roses"), "unrecognized arguments: --smell"),
        (("--text",), "--text: expected one argument"),
    ],
)
def test_bad_prompts(place: Path, capsys: Capture, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in failure(capsys, *GENERATE, *arguments)
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--num-images", "0"), "--num-images: '0' is not a whole number from 1"),
        (("--num-images", "-3"), "--num-images: '-3'"),
        (("--num-images", "many"), "--num-images: 'many'"),
        (("--steps", "0"), "--steps: '0'"),
        (("--prior-steps", "2.5"), "--prior-steps: '2.5'"),
        (("--seed", "-1"), "--seed: '-1'"),
        (("--guidance-scale", "nan"), "--guidance-scale: 'nan' is not a number from 0"),
        (("--prior-guidance-scale", "-1"), "--prior-guidance-scale: '-1'"),
        (("--weights", ""), "--weights: '' is not NAME=NUMBER"),
        (("--weights", "text"), "--weights: 'text' is not NAME=NUMBER"),
        (("--weights", "text=1,"), "--weights: '' is not NAME=NUMBER"),
        (("--weights", "text=1,text=2"), "--weights: text is given twice"),
        (("--weights", "text=-1"), "--weights: text=-1 is not a number of zero or more"),
        (("--weights", "text=nan"), "--weights: text=nan is not a number of zero or more"),
        (("--weights", "text=inf"), "--weights: text=inf is not a number of zero or more"),
        (("--weights", "text=0"), "--weights: all weights are zero"),
        (("--weights", "audio=1"), "--weights: 'audio' is not in the prompt"),
        (("--guidance-scale", "101"), "--guidance-scale: '101' is not a number from 0 to 100"),
        (("--seed", "1", "--seed", "1"), "--seed: is given twice; give it once"),
        (("--weights", "text=1", "--weights", "text=2"), "--weights: is given twice"),
        (("--embeddings", "a", "--embeddings", "b"), "--embeddings: is given twice"),
        (("--checkpoint", "b"), "--checkpoint: is given twice"),
        (("--output", "b.png"), "--output: is given twice"),
        (("--dtype", "int8"), "--dtype: invalid choice: 'int8'"),
        (
            ("--negative-text", "a", "--negative-text", "b"),
            "--negative-text: 2 for 1 prompts; give one for all of them",
        ),
        (("--text", "b", "--image", "red.png", "--image", "red.png", "--image", "red.png"), "--text: given 2 times"),
    ],
)
def test_bad_options(place: Path, capsys: Capture, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in failure(capsys, *GENERATE, "--text", "a cat", *arguments)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out.jpg", "out.jpg is not a PNG name"),
        ("", "not a file name"),
        ("red.png/out.png", "red.png is a file, not a folder"),
        ("noise.bin", "noise.bin is not a PNG name"),
        ("/proc/out.png", "/proc/out.png cannot be written"),
        ("/dev/null/out.png", "is a file, not a folder"),
    ],
)
def test_bad_outputs(place: Path, capsys: Capture, output: str, expected: str) -> None:
    if output.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("there is no /proc here")
    given = ("generate", "--checkpoint", "first-look", "--text", "a cat", "--output", output)
    assert expected in failure(capsys, *given)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ("nowhere", "'nowhere' is not a bundled pipeline"),
        ("./nowhere/at/all", "is not a bundled pipeline"),
        (".", "has no model_index.json"),
        ("red.png", "is a file"),
        ("first-look", "first-look"),
    ],
)
def test_bad_checkpoints(place: Path, capsys: Capture, checkpoint: str, expected: str) -> None:
    given = ("generate", "--text", "a cat", "--output", "out.png", "--checkpoint", checkpoint)
    assert expected in failure(capsys, *given)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "COMMAND"),
        (("paint",), "invalid choice: 'paint'"),
        (("generate", "--text", "a cat"), "required: --output"),
        (("embed", "--output", "e.safetensors"), "nothing to embed"),
        (("embed", "--text", "a cat", "--output", "e.npz"), "not a safetensors name"),
        (("embed", "--text", "a cat", "--output", "red.png/e.safetensors"), "is a file, not a folder"),
        (("info", "--checkpoint", "."), "has no model_index.json"),
    ],
)
def test_bad_commands(place: Path, capsys: Capture, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in failure(capsys, *arguments)


def test_bad_input_is_found_without_torch(place: Path) -> None:
    code = "import sys; from unclip_mm.cli import main; code = main(sys.argv[1:]); assert 'torch' not in sys.modules"
    program = [sys.executable, "-c", f"{code}; sys.exit(code)"]
    ran = subprocess.run([*program, *GENERATE, "--audio", "silence.wav"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("unclip-mm: error: silence.wav: ") and ran.stderr.count("\n") == 1


def test_decoders_written_in_c_are_kept_quiet(place: Path) -> None:
    program = [sys.executable, "-m", "unclip_mm", *GENERATE, "--audio", "broken.mp3"]
    ran = subprocess.run(program, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("unclip-mm: error: broken.mp3: ") and ran.stderr.count("\n") == 1


def test_damaged_weights_are_named(place: Path, capsys: Capture) -> None:
    part = Path("first-look/prior")
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"\x10\x00")
    Path("first-look/model_index.json").write_text('{"prior": ["unclip_mm.prior", "MultimodalPrior"]}')
    assert "model.safetensors" in failure(capsys, "info", "--checkpoint", "first-look")


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["embed", "--help"], ["info", "--help"]])
def test_help(capsys: Capture, arguments: list[str]) -> None:
    assert main(arguments) == 0
    assert "usage: unclip-mm" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"unclip-mm {__version__}\n"


def test_debug_shows_the_stack(place: Path, capsys: Capture) -> None:
    assert main([*GENERATE, "--text", "", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
