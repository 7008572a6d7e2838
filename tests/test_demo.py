"""The page: what is read from it, and the page itself through its API, as served to a visitor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from unclip_mm import InputError

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")

from demo import samples
from demo.app import main, parse_arguments
from demo.prompt import (
    MAX_PICTURES,
    choose_seeds,
    drawing_on,
    modalities_in_use,
    read_prompt,
    read_weights,
    real_number,
    whole_number,
)
from unclip_mm.seeds import MAX_SEED


def canvas(background: Image.Image | None = None, stroke: bool = False, colour: str = "black") -> dict[str, Any]:
    """What the sketch editor gives: transparent layers over an optional background."""
    layer = Image.new("RGBA", (64, 64))
    if stroke:
        ImageDraw.Draw(layer).line([(8, 8), (56, 50)], fill=colour, width=4)
    composite = layer if background is None else Image.alpha_composite(background.convert("RGBA"), layer)
    return {"background": background, "layers": [layer], "composite": composite}


def test_an_untouched_canvas_is_no_sketch() -> None:
    white = Image.new("RGBA", (64, 64), "white")
    assert drawing_on(None) is None
    assert drawing_on({"background": None, "layers": [], "composite": None}) is None
    assert drawing_on(canvas()) is None
    assert drawing_on(canvas(background=white)) is None
    assert drawing_on({"background": None, "layers": [], "composite": white}) is None


@pytest.mark.parametrize("colour", ["black", "white", "red"])
def test_a_stroke_of_any_colour_is_a_sketch(colour: str) -> None:
    drawing = drawing_on(canvas(stroke=True, colour=colour))
    assert drawing is not None
    prompt = read_prompt(sketch=canvas(stroke=True, colour=colour))
    assert set(prompt.media) == {"sketch"}
    assert np.asarray(prompt.media["sketch"]).min() < 128


def test_a_sketch_may_be_uploaded_and_drawn_on() -> None:
    fish = Image.open(samples.SKETCHES[0]).convert("RGBA").resize((64, 64))
    for value in (
        canvas(background=fish),
        canvas(background=fish, stroke=True),
        {"background": fish, "layers": [], "composite": None},
        {"background": None, "layers": [], "composite": fish},
    ):
        assert drawing_on(value) is not None
        assert read_prompt(sketch=value).media["sketch"].mode == "L"


def test_all_modalities_are_read_and_named() -> None:
    prompt = read_prompt(
        " a fish ", samples.SOUNDS[0], canvas(stroke=True), samples.IMAGES[0], {"text": 0.5, "audio": 0.25, "sketch": 1}
    )
    assert list(prompt.media) == ["text", "audio", "sketch", "image"]
    assert prompt.media["text"] == "a fish"
    assert prompt.media["audio"].dtype == np.float32
    assert prompt.weights == {"text": 0.5, "audio": 0.25, "sketch": 1.0, "image": 1.0}
    assert prompt.description["audio"] == "red-apple-spoken.ogg"
    assert not any("/" in words for words in prompt.description.values())


def test_what_counts_nothing_is_left_out() -> None:
    prompt = read_prompt("a fish", image=samples.IMAGES[0], weights={"text": 0, "image": 0.5})
    assert list(prompt.media) == list(prompt.description) == ["image"] and prompt.weights == {"image": 0.5}
    with pytest.raises(InputError, match="text: has 1001 characters"):
        read_prompt("a" * 1001, image=samples.IMAGES[0], weights={"text": 0})


def test_modalities_in_use() -> None:
    assert modalities_in_use("", None, None, None) == []
    assert modalities_in_use(" ", None, canvas(), None) == []
    assert modalities_in_use("a", "b.wav", canvas(stroke=True), "c.png") == ["text", "audio", "sketch", "image"]


def test_weights() -> None:
    assert read_weights({"text": 0.2}, ["text"]) is None
    assert read_weights({"text": 1.0, "image": 1}, ["text", "image"]) is None
    assert read_weights({"text": 0.5, "image": 0.5, "audio": 9}, ["text", "image"]) == {"text": 0.5, "image": 0.5}
    for bad in ({"text": -1.0}, {"text": float("nan")}, {"text": float("inf")}, {"text": 0, "image": 0}):
        with pytest.raises(InputError, match="weight"):
            read_weights(bad, ["text", "image"])


def test_seeds() -> None:
    assert choose_seeds(MAX_SEED, True, 2) == [MAX_SEED, 0]
    assert len(set(choose_seeds(5, False, MAX_PICTURES))) == MAX_PICTURES
    for seed, count in ((1.5, 1), (MAX_SEED + 1, 1), ("x", 1), (0, 0), (0, MAX_PICTURES + 1), (0, 1.5), (0, None)):
        with pytest.raises(InputError):
            choose_seeds(seed, True, count)


@pytest.mark.parametrize("value", [None, True, "3", float("nan"), float("inf"), 0, 11])
def test_numbers_out_of_range_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="steps"):
        whole_number(value, "steps", 1, 10)
    with pytest.raises(InputError, match="guidance"):
        real_number(value, "guidance", 1, 10)


def test_examples_are_there_small_and_usable() -> None:
    for path in (*samples.SOUNDS, *samples.SKETCHES, *samples.IMAGES):
        assert 0 < Path(path).stat().st_size < 20_000
    for sound in samples.SOUNDS:
        read_prompt(audio=sound)
    for image in samples.IMAGES:
        read_prompt(image=image)


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    args = parse_arguments(["--port", "1234", "--host", "0.0.0.0", "--checkpoint", "x", "--share"])
    assert (args.port, args.host, args.checkpoint, args.share) == (1234, "0.0.0.0", ["x"], True)
    assert main(["--checkpoint", "no such thing"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("demo: error: checkpoint: ") and error.count("\n") == 1


@pytest.fixture(scope="module")
def client(pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of the real page, served with a small untrained pipeline."""
    from gradio_client import Client

    from demo.app import build_page, launch
    from demo.studio import Studio
    from unclip_mm.commands.loading import load_pipeline

    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
    page = build_page([Studio(load_pipeline(str(pipeline_folder)), str(pipeline_folder))])
    _, url, _ = launch(page, prevent_thread_lock=True, quiet=True)
    yield Client(url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
    page.close()
    patch.undo()


def generate(client: Any, **values: Any) -> tuple[list[dict[str, str]], int, str]:
    """Call the endpoint as a script would: what is left out keeps the page's default."""
    return client.predict(api_name="/generate", **{"count": 1, "steps": 2, **values})


def pixels(picture: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(picture["image"]))


def test_text_gives_pictures_with_seeds_and_metadata(client: Any, pipeline_folder: Path) -> None:
    from unclip_mm.png import read_png_metadata

    pictures, seed, status = generate(client, text="a red circle", count=3, seed=7, keep_seed=True)
    assert [picture["caption"] for picture in pictures] == ["seed 7", "seed 8", "seed 9"]
    assert seed == 7 and status.startswith("3 pictures in ")
    facts = read_png_metadata(pictures[1]["image"])
    assert facts["prompt"] == {"text": "a red circle"} and facts["seed"] == 8
    assert facts["model"] == pipeline_folder.name and facts["num_inference_steps"] == 2 and facts["use_prior"] is True
    again, _, _ = generate(client, text="a red circle", seed=8, keep_seed=True)
    assert (pixels(again[0]) == pixels(pictures[1])).all()


def test_pictures_are_made_twice_as_large(client: Any) -> None:
    from unclip_mm.png import read_png_metadata

    pictures, _, _ = generate(client, text="a red circle", upsample=True)
    assert pixels(pictures[0]).shape == (64, 64, 3) and read_png_metadata(pictures[0]["image"])["upsample"] is True
    pictures, _, _ = generate(client, text="a red circle")
    assert pixels(pictures[0]).shape == (32, 32, 3) and read_png_metadata(pictures[0]["image"])["upsample"] is False


def test_pictures_come_in_one_style_after_the_other(client: Any) -> None:
    from demo.studio import EACH_STYLE
    from unclip_mm.png import read_png_metadata

    pictures, _, _ = generate(client, text="a red circle", count=4, seed=7, keep_seed=True, style=EACH_STYLE)
    told = [read_png_metadata(picture["image"])["style"] for picture in pictures]
    assert told == ["outlined", "shaded", "filled", "outlined"]  # by the seed, so that it gives the same one alone
    assert [picture["caption"] for picture in pictures] == [f"{name} {7 + n}" for n, name in enumerate(told)]
    alone, _, _ = generate(client, text="a red circle", seed=9, keep_seed=True, style="filled")
    assert np.array_equal(pixels(alone[0]), pixels(pictures[2]))


def test_pictures_come_in_a_style(client: Any) -> None:
    from unclip_mm.png import read_png_metadata

    made = {}
    for style in ("", "filled", "shaded"):
        pictures, _, _ = generate(client, text="a red circle", seed=7, keep_seed=True, style=style)
        made[style] = pixels(pictures[0])
        assert read_png_metadata(pictures[0]["image"])["style"] == (style or None)
    assert (made["filled"] != made["shaded"]).any() and (made["filled"] != made[""]).any()


def test_a_new_seed_is_drawn_unless_it_is_kept(client: Any) -> None:
    seeds = {generate(client, text="a red circle", seed=7)[1] for _ in range(2)}
    assert len(seeds | {7}) == 3


def test_every_modality_and_a_mix(client: Any) -> None:
    from gradio_client import handle_file

    from unclip_mm.png import read_png_metadata

    inputs = {
        "audio": handle_file(samples.SOUNDS[0]),
        "sketch": {"background": handle_file(samples.SKETCHES[0]), "layers": [], "composite": None},
        "image": handle_file(samples.IMAGES[0]),
    }
    for name, value in inputs.items():
        pictures, _, _ = generate(client, **{name: value}, text="a circle", text_weight=0)
        facts = read_png_metadata(pictures[0]["image"])
        assert list(facts["prompt"]) == [name]
        assert facts["use_prior"] is (name != "image") and (facts["prior_steps"] is None) is (name == "image")
    pictures, _, _ = generate(
        client,
        text="a circle",
        **inputs,
        text_weight=0.3,
        audio_weight=0.7,
        negative_text="red",
        use_prior=False,
        guidance=2,
    )
    facts = read_png_metadata(pictures[0]["image"])
    assert facts["weights"] == {"text": 0.3, "audio": 0.7, "sketch": 1.0, "image": 1.0}
    assert facts["negative"] == {"text": "red"} and facts["use_prior"] is False and facts["guidance_scale"] == 2
    assert facts["prompt"]["audio"] == "red-apple-spoken.ogg"


def test_what_cannot_be_used_is_a_message(client: Any, tmp_path: Path) -> None:
    import soundfile
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    broken, silent, empty = tmp_path / "broken.png", tmp_path / "silent.wav", tmp_path / "empty.wav"
    broken.write_bytes(b"no image")
    soundfile.write(silent, np.zeros(16000), 16000)
    soundfile.write(empty, np.zeros(0), 16000)
    for values, words in (
        ({}, "Nothing to make a picture from"),
        ({"text": "x" * 5000}, "text: has 5000 characters"),
        ({"audio": handle_file(str(silent))}, "sound: is silent"),
        ({"audio": handle_file(str(empty))}, "sound: holds no sound"),
        ({"image": handle_file(str(broken))}, "image: is not an image that can be read"),
        ({"text": "🍎"}, "text: '🍎' has what this model's tokenizer does not know: 🍎"),
        ({"text": "a", "negative_text": "🍎"}, "Away from: '🍎' has what"),
        (
            {"text": "a", "negative_text": "b", "use_prior": False, "guidance": 1},
            "Away from: has no say at Guidance 1; give more",
        ),
        ({"text": "a", "count": 99}, "99"),
        ({"text": "a", "steps": 0}, " 0"),
        ({"text": "a", "guidance": -1}, " -1"),
        ({"text": "a", "seed": -1, "keep_seed": True}, " -1"),
    ):
        with pytest.raises(AppError) as caught:
            generate(client, **values)
        message = str(caught.value)
        assert words in message and "\n" not in message and "Traceback" not in message and "/" not in message


def test_what_is_offered_by_name(client: Any) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert list(endpoints["named_endpoints"]) == ["/generate", "/slide", "/add", "/look_up", "/cosines"]
    assert not endpoints["unnamed_endpoints"]


def test_a_slide_starts_and_ends_at_its_prompts(client: Any) -> None:
    from gradio_client import handle_file

    ends = {"from_text": "a red circle", "to_image": handle_file(samples.IMAGES[0]), "to_text": ""}
    strip, moving = client.predict(api_name="/slide", **ends, stops=4, seed=5)
    assert [picture["caption"] for picture in strip] == ["0%", "33%", "67%", "100%"]
    shown = [pixels(picture).astype(int) for picture in strip]
    steps = client.predict(api_name="/generate", text="a red circle", count=1, seed=5, keep_seed=True)
    assert abs(shown[0] - pixels(steps[0][0])).max() <= 1
    assert all((a != b).any() for a, b in itertools.pairwise(shown))
    with Image.open(moving) as animation:
        assert animation.format == "GIF" and animation.n_frames == 2 * 4 - 2


def test_a_sum_changes_the_picture(client: Any) -> None:
    before, after = client.predict(api_name="/add", text="a red circle", minus="red", plus="blue", seed=3)
    assert [picture["caption"] for picture in before] == ["seed 3", "seed 4", "seed 5", "seed 6"]
    assert all((pixels(a) != pixels(b)).any() for a, b in zip(before, after, strict=True))
    same, unchanged = client.predict(api_name="/add", text="a red circle", minus="", plus="", seed=3)
    assert all((pixels(a) == pixels(b)).all() for a, b in zip(same, unchanged, strict=True))


def test_cosines_of_several_ways(client: Any) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    table = client.predict(api_name="/cosines", text="a fish", audio=handle_file(samples.SOUNDS[0]))
    [[first, second, cosine, moved]] = table["data"]
    assert (first, second) == ("text", "audio") and -1 <= cosine <= 1 and -1 <= moved <= 1
    with pytest.raises(AppError, match="Only the text is given"):
        client.predict(api_name="/cosines", text="a fish")


def test_logins(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_arguments(["--auth", "a:b:c"]).auth == [("a", "b:c")]
    with pytest.raises(SystemExit):
        parse_arguments(["--auth", "ada"])
    assert "NAME:PASSWORD" in capsys.readouterr().err


def test_what_the_bundled_model_remembers_are_its_words() -> None:
    from demo.studio import Studio
    from unclip_mm.commands.loading import load_pipeline

    studio = Studio(load_pipeline("pictograms"), "pictograms")
    assert studio.word_vectors.shape == (len(studio.words), studio.pipeline.encoder.dim)
    for word in ("apple", "guitar", "umbrella"):
        [(nearest, cosine)] = studio.recognise(read_prompt(word), most=1)
        assert nearest == word and cosine > 0.99


def test_words_and_training_pictures_are_looked_up(pipeline_folder: Path, tmp_path: Path) -> None:
    import shutil

    from demo.studio import Studio
    from demo.training_pictures import TrainingPictures
    from unclip_mm.checkpoints import VOCABULARY
    from unclip_mm.commands.loading import load_pipeline
    from unclip_mm.data.synthetic import make_synthetic_world

    folder = tmp_path / "taught"
    shutil.copytree(pipeline_folder, folder)
    (folder / VOCABULARY).write_text("a red circle\na blue square\n")
    studio = Studio(load_pipeline(str(folder)), str(folder))
    [(word, cosine), _] = studio.recognise(read_prompt("a blue square"))
    assert word == "a blue square" and cosine == pytest.approx(1, abs=1e-3)
    world = make_synthetic_world(tmp_path / "world", image_size=32, variations=1)
    library = TrainingPictures.from_manifest(tmp_path / "world", studio)
    row = world.select(modality="image", split="train")[3]
    own = studio.embed_images([world.path(row, "image")])[0]
    nearest = library.nearest(own, most=2)
    assert nearest[0].cosine == pytest.approx(1, abs=1e-3) and nearest[0].caption == row.text[0]
    assert len(nearest) == 2


def test_eight_visitors_get_each_their_own(client: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from gradio_client import Client

    seeds = list(range(8))
    alone = [pixels(generate(client, text="a red circle", seed=seed, keep_seed=True)[0][0]) for seed in seeds]

    def visit(seed: int) -> list[np.ndarray]:
        own = Client(client.src, verbose=False, download_files=client.download_files)
        return [pixels(generate(own, text="a red circle", seed=seed, keep_seed=True)[0][0]) for _ in range(3)]

    with ThreadPoolExecutor(len(seeds)) as pool:
        for seed, made in enumerate(pool.map(visit, seeds)):
            assert all((picture == alone[seed]).all() for picture in made)
