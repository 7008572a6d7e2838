"""Explore: slide between two prompts, add and take away, and see what the model takes something for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo import samples
from demo.create import PIPELINE_QUEUE, as_message
from demo.media import build_compact, build_neighbours
from demo.prompt import choose_seeds, read_prompt, whole_number
from demo.studio import OnStep, Picture, Settings, Studio
from demo.training_pictures import TrainingPictures
from unclip_mm import InputError, inputs
from unclip_mm.seeds import MAX_SEED

MAX_STOPS = 12
SUM_SEEDS = 4
GIF_SIDE = 256
GIF_MILLISECONDS = 160

SLIDE = (
    "Every stop is a picture of a point between the two, made from the same noise. Give an end words, a sound, a sketch, an "
    "image, or several of them."
)
SUM = "Embeddings can be added and taken away like numbers: what is an *umbrella* without *purple* and with *red*?"
LOOK_UP = (
    "Whatever you give lies somewhere among all that the model was taught to draw. These are the words nearest to it: what "
    "it takes it for."
)
NO_WORDS = "This checkpoint does not say what it was taught."
NO_TRAINING_PICTURES = (
    "Start the page with `--data FOLDER`, the pictures that the model was trained on (`python -m train.pictograms` prepares "
    "those of the bundled one), to see which of them are nearest, also to a picture that was made here."
)


def build(studio: Studio, library: TrainingPictures | None) -> None:
    """Put the whole tab into the block that is open."""
    with gr.Tabs():
        with gr.Tab("Slide", id="slide"):
            _build_slide(studio)
        with gr.Tab("Add and take away", id="sum"):
            _build_sum(studio)
        with gr.Tab("Look up", id="look-up"):
            _build_look_up(studio, library)


def _build_slide(studio: Studio) -> None:
    gr.Markdown(SLIDE)
    with gr.Row():
        with gr.Column(min_width=280):
            start = build_compact("From", "from", "a red apple")
        with gr.Column(min_width=280):
            end = build_compact("To", "to", "star")
    with gr.Row():
        stops = gr.Slider(3, MAX_STOPS, value=7, step=1, label="Pictures", elem_id="stops")
        seed = gr.Number(value=0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", elem_id="slide-seed")
    button = gr.Button("Slide", variant="primary", elem_id="slide")
    strip = gr.Gallery(
        label="From left to right",
        format="png",
        columns=MAX_STOPS,
        height="auto",
        object_fit="contain",
        interactive=False,
        elem_id="strip",
    )
    moving = gr.Image(label="As a GIF", format="gif", type="filepath", interactive=False, height=300, elem_id="moving")

    def slide(
        from_text: str | None = None,
        from_audio: str | None = None,
        from_sketch: dict[str, Any] | None = None,
        from_image: str | None = None,
        to_text: str | None = None,
        to_audio: str | None = None,
        to_sketch: dict[str, Any] | None = None,
        to_image: str | None = None,
        stops: float = 7,
        seed: float = 0,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (how gradio finds it)
    ) -> Iterator[tuple[list[tuple[str, str]], str | None]]:
        try:
            ends = (
                read_prompt(from_text, from_audio, from_sketch, from_image),
                read_prompt(to_text, to_audio, to_sketch, to_image),
            )
            count, chosen = whole_number(stops, "pictures", 3, MAX_STOPS), whole_number(seed, "seed", 0, MAX_SEED)
            made: list[Picture] = []
            shown: list[tuple[str, str]] = []
            with tempfile.TemporaryDirectory(prefix="unclip-mm-") as folder:  # gradio copies the files to its own cache
                for picture in studio.slide(*ends, count, chosen, Settings(), on_step=_reporting(progress)):
                    made.append(picture)
                    percent = round(100 * (len(made) - 1) / (count - 1))
                    shown.append((str(picture.save(Path(folder), f"{chosen}-{percent}")), f"{percent}%"))
                    yield shown, None
                yield shown, str(write_gif([picture.image for picture in made], Path(folder) / "slide.gif"))
        except InputError as error:
            raise as_message(error) from None

    button.click(
        slide,
        [*start.components, *end.components, stops, seed],
        [strip, moving],
        api_name="slide",
        api_description="Pictures of evenly spaced points between two prompts, and the same as a GIF.",
        concurrency_id=PIPELINE_QUEUE,
        trigger_mode="once",
    )


def write_gif(images: list[Image.Image], file: Path) -> Path:
    """Write an endless animation there and back again, enlarged to ``GIF_SIDE`` pixels."""
    frames = [image.resize((GIF_SIDE, GIF_SIDE), Image.Resampling.LANCZOS) for image in images]
    frames += frames[-2:0:-1]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=GIF_MILLISECONDS, loop=0)
    return file


def _reporting(progress: gr.Progress, run: int = 0, runs: int = 1) -> OnStep:
    """Show the steps of one of several runs of equal length as those of the whole."""
    return lambda done, of: progress((run * of + done, runs * of), unit="steps")


def _build_sum(studio: Studio) -> None:
    gr.Markdown(SUM)
    start = build_compact("Start with", "start", samples.SUMS[0][0])
    with gr.Row():
        minus = gr.Textbox(label="Take away", value=samples.SUMS[0][1], max_lines=1, elem_id="minus")
        plus = gr.Textbox(label="Add", value=samples.SUMS[0][2], max_lines=1, elem_id="plus")
        seed = gr.Number(value=0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", elem_id="sum-seed")
    gr.Examples(samples.SUMS, [start.text, minus, plus], label="Try")
    button = gr.Button("Work it out", variant="primary", elem_id="work-out")
    with gr.Row():
        before, after = (
            gr.Gallery(
                label=label,
                format="png",
                columns=2,
                height="auto",
                object_fit="contain",
                interactive=False,
                elem_id=name,
            )
            for label, name in (("Before", "before"), ("After", "after"))
        )

    def add(
        text: str | None = None,
        audio: str | None = None,
        sketch: dict[str, Any] | None = None,
        image: str | None = None,
        minus: str = "",
        plus: str = "",
        seed: float = 0,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (how gradio finds it)
    ) -> Iterator[tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
        try:
            start = read_prompt(text, audio, sketch, image)
            seeds = choose_seeds(seed, True, SUM_SEEDS)
            shown: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
            with tempfile.TemporaryDirectory(prefix="unclip-mm-") as folder:
                made = (
                    studio.add(start, "", "", seeds, Settings(), on_step=_reporting(progress, 0, 2)),
                    studio.add(start, minus or "", plus or "", seeds, Settings(), on_step=_reporting(progress, 1, 2)),
                )
                for side, pictures in enumerate(made):
                    for picture in pictures:
                        file = picture.save(Path(folder), f"{('before', 'after')[side]}-{picture.seed}")
                        shown[side].append((str(file), f"seed {picture.seed}"))
                        yield shown
        except InputError as error:
            raise as_message(error) from None

    button.click(
        add,
        [*start.components, minus, plus, seed],
        [before, after],
        api_name="add",
        api_description="Pictures of a prompt, and of the same prompt with some words taken away and others added.",
        concurrency_id=PIPELINE_QUEUE,
        trigger_mode="once",
    )


def _build_look_up(studio: Studio, library: TrainingPictures | None) -> None:
    gr.Markdown(LOOK_UP if studio.words else NO_WORDS)
    with gr.Row():
        with gr.Column(min_width=280):
            asked = build_compact("What is this?", "asked")
            button = gr.Button("Look it up", variant="primary", elem_id="look-up")
        with gr.Column(min_width=280):
            words = gr.Label(
                label="Nearest words (cosine, in percent)", num_top_classes=8, elem_id="words", show_heading=False
            )
    neighbours = build_neighbours("neighbours", visible=library is not None)
    if library is None:
        gr.Markdown(NO_TRAINING_PICTURES)

    def look_up(
        text: str | None = None,
        audio: str | None = None,
        sketch: dict[str, Any] | None = None,
        image: str | None = None,
    ) -> tuple[dict[str, float], list[tuple[Image.Image, str]]]:
        try:
            prompt = read_prompt(text, audio, sketch, image)
            near = [] if library is None else library.nearest(studio.locate(prompt))
            words = dict(studio.recognise(prompt)) if studio.words else {}
            return words, [(inputs.load_image(one.file), one.label) for one in near]
        except InputError as error:
            raise as_message(error) from None

    button.click(
        look_up,
        asked.components,
        [words, neighbours],
        api_name="look_up",
        api_description="The words, and where the page has them the training pictures, nearest to a prompt: with cosines.",
        concurrency_id=PIPELINE_QUEUE,
        trigger_mode="once",
    )
