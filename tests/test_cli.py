"""What the commands make, with a small trained pipeline: real classes of every part at tiny size."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_cases import Capture, failure
from PIL import Image

from unclip_mm import __version__
from unclip_mm.cli import main
from unclip_mm.embedding_pipeline import AWAY_GUIDANCE
from unclip_mm.png import read_png_metadata


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
    assert metadata["prior_guidance_scale"] == AWAY_GUIDANCE


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
