"""The command line: bad input in one line before any model is loaded, and what the commands make."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from unclip_mm import __version__
from unclip_mm.cli import main
from unclip_mm.png import read_png_metadata

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test, with good and bad files in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("empty.png").touch()
    Path("noise.bin").write_bytes(rng.bytes(5000))
    Path("broken.mp3").write_bytes(b"\xff\xfb\x90\x00" + rng.bytes(5000))
    Path("words.png").write_text("not a picture")
    Image.new("RGB", (32, 32), "white").save("blank.png")
    Image.new("RGBA", (32, 32)).save("clear.png")
    drawing = Image.new("L", (64, 64), "white")
    ImageDraw.Draw(drawing).ellipse((12, 12, 52, 52), outline="black", width=3)
    drawing.save("circle.png")
    Image.new("RGB", (48, 32), "white").save("wide.png")
    picture = Image.new("RGB", (48, 32), "white")
    ImageDraw.Draw(picture).ellipse((8, 4, 36, 28), fill="red")
    picture.save("red.png")
    time = np.arange(8000) / 8000
    write_wave("tone.wav", (np.sin(2 * np.pi * 440 * time) * 20000).astype("<i2"), 8000)
    write_wave("silence.wav", np.zeros(8000, "<i2"), 8000)
    write_wave("nothing.wav", np.zeros(0, "<i2"), 8000)
    write_wave("hour.wav", np.zeros(3600 * 1000, "<i2"), 1000)
    folder = Path("first-look")  # enough for the first look at a checkpoint; loading it would fail
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "UnCLIPMultimodalPipeline"}')
    return tmp_path


def write_wave(name: str, samples: np.ndarray, rate: int) -> None:
    with wave.open(name, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def failure(capsys: Capture, *arguments: str) -> str:
    """Run a command that must fail, and return its one line."""
    code = main(arguments)
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("unclip-mm: error: "), captured.err
    return lines[0].removeprefix("unclip-mm: error: ")


GENERATE = ("generate", "--checkpoint", "first-look", "--output", "out.png")


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


# From here on with a small trained pipeline: real classes of every part at tiny size.


def generate(pipeline_folder: Path, *arguments: str) -> int:
    return main(["generate", "--checkpoint", str(pipeline_folder), *arguments])


def pixels(name: str | Path) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def assert_same_picture(a: str | Path, b: str | Path) -> None:
    assert np.abs(pixels(a) - pixels(b)).max() <= 1


def test_text_to_picture(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    assert generate(pipeline_folder, "--text", "a red circle", "--seed", "7", "--steps", "2", "--output", "a.png") == 0
    captured = capsys.readouterr()
    assert captured.out == "a.png  seed 7\n"
    assert captured.err == ""
    metadata = read_png_metadata("a.png")
    assert metadata["prompt"] == {"text": "a red circle"}
    assert metadata["seed"] == 7
    assert metadata["model"] == str(pipeline_folder)
    assert metadata["num_inference_steps"] == 2
    assert metadata["version"] == __version__
    for setting in ("prior_steps", "guidance_scale", "prior_guidance_scale"):
        assert metadata[setting] is not None


@pytest.mark.parametrize(
    "prompt", [("--audio", "tone.wav"), ("--sketch", "circle.png"), ("--image", "red.png"), ("--text", "circle")]
)
def test_every_modality_with_and_without_the_prior(place: Path, pipeline_folder: Path, prompt: tuple[str, ...]) -> None:
    assert generate(pipeline_folder, *prompt, "--output", "with.png") == 0
    assert generate(pipeline_folder, *prompt, "--no-prior", "--output", "without.png") == 0
    assert read_png_metadata("without.png")["use_prior"] is False


def test_twice_as_large(place: Path, pipeline_folder: Path) -> None:
    assert generate(pipeline_folder, "--text", "circle", "--upsample", "--output", "large.png") == 0
    assert Image.open("large.png").size == (64, 64) and read_png_metadata("large.png")["upsample"] is True
    assert generate(pipeline_folder, "--text", "circle", "--output", "small.png") == 0
    assert Image.open("small.png").size == (32, 32) and read_png_metadata("small.png")["upsample"] is False


def test_a_style_by_name(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    assert generate(pipeline_folder, "--text", "circle", "--style", "shaded", "--output", "shaded.png") == 0
    assert read_png_metadata("shaded.png")["style"] == "shaded"
    assert generate(pipeline_folder, "--text", "circle", "--style", "baroque", "--output", "baroque.png") == 2
    assert "style: 'baroque' is not known to this model; it has filled, outlined" in capsys.readouterr().err


def test_mix_with_weights_and_negatives(place: Path, pipeline_folder: Path) -> None:
    mix = ("--text", "a circle", "--sketch", "circle.png", "--weights", "text=0.3,sketch=0.7", "--seed", "1")
    assert generate(pipeline_folder, *mix, "--negative-text", "blue", "--output", "mix.png") == 0
    metadata = read_png_metadata("mix.png")
    assert metadata["prompt"] == {"text": "a circle", "sketch": "circle.png"}
    assert metadata["weights"] == {"text": 0.3, "sketch": 0.7}
    assert metadata["negative"] == {"text": "blue"}


def test_each_prompt_is_led_away_from_its_own(place: Path, pipeline_folder: Path) -> None:
    batch = (
        "--text",
        "a circle",
        "--text",
        "a star",
        "--negative-text",
        "red",
        "--negative-text",
        "blue",
        "--seed",
        "1",
    )
    assert generate(pipeline_folder, *batch, "--output", "away.png") == 0
    assert [read_png_metadata(f"away-{i}.png")["negative"] for i in (1, 2)] == [{"text": "red"}, {"text": "blue"}]
    alone = ("--text", "a star", "--negative-text", "blue", "--seed", "2", "--output", "alone.png")
    assert generate(pipeline_folder, *alone) == 0
    assert_same_picture("alone.png", "away-2.png")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--text", "a 🍎"), "--text: 'a 🍎' has what this model's tokenizer does not know: 🍎"),
        (("--text", "a", "--text", "яблоко"), "--text of row 1: 'яблоко' has what"),
        (("--text", "a", "--negative-text", "🍎"), "--negative-text: '🍎' has what"),
        (
            ("--text", "a", "--negative-text", "b", "--no-prior", "--guidance-scale", "1"),
            "--negative-text: has no say at --guidance-scale 1; give more",
        ),
        (("--text", "a", "--no-prior", "--prior-steps", "4"), "--prior-steps: has no say where the prior is not asked"),
        (("--image", "red.png", "--prior-guidance-scale", "2"), "--prior-guidance-scale: has no say where"),
        (("--text", "a", "--no-prior", "--style", "flat"), "with --no-prior"),
    ],
)
def test_what_the_pipeline_refuses_is_named_by_its_option(
    place: Path, pipeline_folder: Path, capsys: Capture, arguments: tuple[str, ...], expected: str
) -> None:
    given = ("--checkpoint", str(pipeline_folder), *arguments, "--output", "out.png")
    assert expected in failure(capsys, "generate", *given)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--text", "a circle", "--no-prior"),
        ("--image", "red.png"),
        ("--image", "red.png", "--text", "a circle", "--weights", "image=1,text=0"),
    ],
)
def test_a_prior_that_was_not_asked_is_not_told_of(
    place: Path, pipeline_folder: Path, arguments: tuple[str, ...]
) -> None:
    assert generate(pipeline_folder, *arguments, "--seed", "1", "--output", "out.png") == 0
    facts = read_png_metadata("out.png")
    assert (facts["use_prior"], facts["prior_steps"], facts["prior_guidance_scale"]) == (False, None, None)
    if "--image" in arguments:
        assert generate(pipeline_folder, "--image", "red.png", "--seed", "1", "--output", "alone.png") == 0
        assert_same_picture("out.png", "alone.png")


def test_pictures_and_embeddings_in_half_precision(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    half = ("--text", "a circle", "--dtype", "bfloat16")
    assert generate(pipeline_folder, *half, "--seed", "1", "--output", "half.png") == 0
    assert read_png_metadata("half.png")["dtype"] == "bfloat16"
    assert generate(pipeline_folder, "--text", "a circle", "--seed", "1", "--output", "full.png") == 0
    assert read_png_metadata("full.png")["dtype"] == "float32"
    assert 0 < np.abs(pixels("half.png") - pixels("full.png")).mean() < 10
    capsys.readouterr()
    assert main(["embed", "--checkpoint", str(pipeline_folder), *half, "--output", "e.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "bfloat16"


def test_embeddings_that_cannot_be_written_are_named(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    Path("e.safetensors.partial").mkdir()
    given = ("--checkpoint", str(pipeline_folder), "--text", "a circle", "--output", "e.safetensors")
    assert "e.safetensors: cannot be written" in failure(capsys, "embed", *given)


def test_several_pictures_are_numbered_and_seeded(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    several = ("--text", "a circle", "--num-images", "3", "--seed", "5", "--json", "--output", "new/folder/")
    assert generate(pipeline_folder, *several) == 0
    result = json.loads(capsys.readouterr().out)
    assert [picture["seed"] for picture in result["pictures"]] == [5, 6, 7]
    assert [picture["path"] for picture in result["pictures"]] == [f"new/folder/image-{i}.png" for i in (1, 2, 3)]
    assert generate(pipeline_folder, "--text", "a circle", "--seed", "6", "--output", "one.png") == 0
    assert_same_picture("one.png", "new/folder/image-2.png")


def test_batch_of_prompts(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    batch = ("--text", "a circle", "--text", "a square", "--sketch", "circle.png", "--seed", "1", "--json")
    assert generate(pipeline_folder, *batch, "--output", "b.png") == 0
    prompts = [picture["prompt"] for picture in json.loads(capsys.readouterr().out)["pictures"]]
    assert prompts == [{"text": text, "sketch": "circle.png"} for text in ("a circle", "a square")]
    assert generate(pipeline_folder, *batch, "--num-images", "2", "--output", "c.png") == 0
    assert_same_picture("b-1.png", "c-1.png")
    assert sorted(path.name for path in Path().glob("c-*.png")) == [f"c-{i}.png" for i in (1, 2, 3, 4)]


def test_stored_embeddings_make_the_same_picture(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    embed = ["embed", "--checkpoint", str(pipeline_folder), "--text", "a circle", "--text", "a square"]
    assert main([*embed, "--output", "e.safetensors", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["rows"], facts["modalities"]) == (2, ["text"])
    assert generate(pipeline_folder, "--embeddings", "e.safetensors", "--seed", "4", "--output", "e.png") == 0
    assert generate(pipeline_folder, "--text", "a circle", "--seed", "4", "--output", "t.png") == 0
    assert_same_picture("e-1.png", "t.png")
    assert read_png_metadata("e-2.png")["prompt"] == {"embeddings": "e.safetensors row 1"}


def test_embeddings_of_another_size_are_refused(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    import torch

    from unclip_mm import Embeddings

    Embeddings.from_dict({"text": torch.ones(1, 3)}).save("three.safetensors")
    arguments = ("--checkpoint", str(pipeline_folder), "--embeddings", "three.safetensors", "--output", "out.png")
    assert "3" in failure(capsys, "generate", *arguments)
    assert not Path("out.png").exists()


def test_modality_that_the_model_does_not_take(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    np.save("walk.npy", np.ones((5, 3), np.float32))
    arguments = ("--checkpoint", str(pipeline_folder), "--input", "imu=walk.npy", "--output", "out.png")
    assert "'imu'" in failure(capsys, "generate", *arguments)


def test_damaged_checkpoint_is_one_line(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    shutil.copytree(pipeline_folder, "damaged")
    for weights in Path("damaged").rglob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:100])
    given = ("--checkpoint", "damaged", "--text", "a cat", "--output", "out.png")
    assert "damaged" in failure(capsys, "generate", *given)


def test_info_describes_the_pipeline(pipeline_folder: Path, capsys: Capture) -> None:
    assert main(["info", "--checkpoint", str(pipeline_folder), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert {"encoder", "prior", "decoder"} <= set(described["components"])
    assert described["components"]["decoder"]["parameters"] > 0
    assert set(described["modalities"]) == {"text", "audio", "image", "sketch"}
    assert described["styles"] == ["filled", "outlined", "shaded"]
    assert main(["info", "--checkpoint", str(pipeline_folder)]) == 0
    assert "decoder" in capsys.readouterr().out


def test_interrupt_ends_with_130(place: Path, pipeline_folder: Path, capsys: Capture) -> None:
    if not hasattr(signal, "setitimer"):
        pytest.skip("no timers here")
    generate(pipeline_folder, "--text", "a circle", "--output", "warm.png")  # imports done: the alarm comes in the work
    capsys.readouterr()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        code = generate(pipeline_folder, "--text", "a circle", "--num-images", "10000", "--output", "many")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert code == 130
    assert capsys.readouterr().err == "unclip-mm: interrupted\n"


def test_fresh_process_is_silent_on_stderr(place: Path, pipeline_folder: Path) -> None:
    command = ["generate", "--checkpoint", str(pipeline_folder), "--text", "a circle", "--output", "fresh.png"]
    ran = subprocess.run([sys.executable, "-m", "unclip_mm", *command], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("fresh.png  seed ")
