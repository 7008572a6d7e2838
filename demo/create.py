"""Create: words, a sound, a sketch, an image or a mix of them become pictures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo import samples
from demo.media import CANVAS, Media, build_image, build_neighbours, build_sketchpad, build_sound
from demo.prompt import (
    MAX_PICTURES,
    MODALITIES,
    NAMES,
    PARAMETERS,
    choose_seeds,
    modalities_in_use,
    read_prompt,
    real_number,
    whole_number,
)
from demo.studio import EACH_STYLE, Settings, Studio
from demo.training_pictures import TrainingPictures
from unclip_mm import InputError, inputs
from unclip_mm.errors import renamed
from unclip_mm.seeds import MAX_SEED

MAX_STEPS = 50
MAX_GUIDANCE = 10.0
ANY_STYLE, IN_TURN = "any", "another one each time"
PIPELINE_QUEUE = "pipeline"
"""The concurrency id of every event that uses the pipeline: they run one after the other."""

TAKE_THE_BRUSH = """() => {
  const wait = setInterval(() => {
    const brush = document.querySelector('#sketch button[aria-label="Brush"]');
    if (brush) { clearInterval(wait); brush.click(); }
  }, 200);
}"""
"""Runs in the browser when the page is there: the sketchpad starts with the brush in hand."""

SHOW_THE_PICTURES = """() => {
  const gallery = document.querySelector('#gallery');
  const { top, bottom } = gallery.getBoundingClientRect();
  if (top < 0 || bottom > window.innerHeight) gallery.scrollIntoView({ block: 'center' });
}"""
"""Runs in the browser when pictures were asked for and when they are there: on a phone they lie far below the prompt."""

DESCRIPTION = (
    "Make pictures from a text, a sound, a sketch, an image, or any mix of them. Gives the pictures with their seeds as "
    "captions, the seed of the first one, and a line that says how it went."
)


def build(studio: Studio, library: TrainingPictures | None = None) -> None:
    """Put the whole tab into the block that is open."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            given, weights = _build_inputs()
            options = _build_options(studio)
        with gr.Column(scale=5, min_width=320):
            with gr.Row(elem_id="actions"):
                make = gr.Button("Make pictures", variant="primary", size="lg", scale=3, elem_id="make")
                stop = gr.Button("Stop", size="lg", scale=1, min_width=80, elem_id="stop")
            gallery = gr.Gallery(
                label="Pictures",
                format="png",
                type="filepath",
                columns=2,
                object_fit="contain",
                height="auto",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="gallery",
            )
            status = gr.Markdown("", elem_id="status")
            origins = _build_origins(studio, library, gallery) if library is not None else None
    running = gr.on(
        [make.click, given.text.submit],
        _handler(studio),
        [*given.components, *weights, *options],
        [gallery, options[1], status],
        api_name="generate",
        api_description=DESCRIPTION,
        concurrency_id=PIPELINE_QUEUE,
        concurrency_limit=1,
        show_progress_on=status,
        trigger_mode="once",
    )
    show: dict[str, Any] = {"fn": None, "js": SHOW_THE_PICTURES, "queue": False, "api_visibility": "private"}
    gr.on([make.click, given.text.submit], **show)
    if origins is not None:  # what was there belongs to the pictures before
        asked = [make.click, given.text.submit]
        gr.on(asked, lambda: [], None, origins, queue=False, show_progress="hidden", api_visibility="private")
    running.then(**show)
    stop.click(lambda: "Stopped.", None, status, cancels=[running], queue=False, api_visibility="private")


def _build_origins(studio: Studio, library: TrainingPictures, gallery: gr.Gallery) -> gr.Gallery:
    """Show the training pictures nearest to the picture that is chosen, so that a copy shows."""
    gr.Markdown("Choose a picture to see which training pictures are nearest to it.")
    neighbours = build_neighbours("origins")

    def nearest(pictures: list[tuple[str, str]], chosen: gr.SelectData) -> list[tuple[Image.Image, str]]:
        vector = studio.embed_images([pictures[chosen.index][0]])[0]
        return [(inputs.load_image(one.file), one.label) for one in library.nearest(vector)]

    gallery.select(nearest, gallery, neighbours, api_visibility="private", concurrency_id=PIPELINE_QUEUE)
    return neighbours


def _build_inputs() -> tuple[Media, list[gr.Slider]]:
    text = gr.Textbox(
        label="Words",
        placeholder="a red apple",
        lines=1,
        max_lines=3,
        elem_id="text",
        autofocus=True,
        info="English works best: things that could be on a sticker",
    )
    gr.Examples(samples.TEXTS, text, label="Try", examples_per_page=12)
    with gr.Tabs():
        with gr.Tab("Sketch", id="sketch") as sketch_tab:
            sketch = build_sketchpad("Draw with the mouse or a finger", "sketch", 380)
            upload = gr.UploadButton("Upload a drawing", file_types=["image"], size="sm", elem_id="upload-sketch")
            gr.Examples(samples.SKETCHES, sketch, label="Or take one of these")
        with gr.Tab("Sound", id="audio") as audio_tab:
            audio = build_sound("Say it, or upload a voice or a sound", "audio")
        with gr.Tab("Image", id="image") as image_tab:
            image = build_image("A picture to vary", "image", 300)
    with gr.Group(visible=False) as mix:
        gr.Markdown("**Mix**: how much each of them counts (all at 1: all count alike)", container=True)
        weights = [
            gr.Slider(0, 1, value=1, step=0.05, label=NAMES[name].capitalize(), visible=False, elem_id=f"weight-{name}")
            for name in MODALITIES
        ]
    upload.upload(_put_on_canvas, upload, sketch, api_visibility="private")
    gr.on(None, fn=None, js=TAKE_THE_BRUSH, api_visibility="private")
    given = Media(text, audio, sketch, image)
    tabs = {"sketch": (sketch_tab, "Sketch"), "audio": (audio_tab, "Sound"), "image": (image_tab, "Image")}
    gr.on(
        [component.change for component in given.components],
        lambda *values: _show_mix(modalities_in_use(*values), tabs),
        given.components,
        [mix, *weights, *[tab for tab, _ in tabs.values()]],
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",
    )
    return given, weights


def _put_on_canvas(path: str) -> Image.Image:
    """Put an uploaded drawing on the canvas, small enough to draw on."""
    try:
        drawing = inputs.load_image(path, name=NAMES["sketch"])
    except InputError as error:
        raise as_message(error) from None
    drawing.thumbnail((CANVAS, CANVAS))
    return drawing


def as_message(error: InputError) -> gr.Error:
    """Turn what is wrong with an input into a message on the page."""
    return gr.Error(renamed(str(error), PARAMETERS), title="That does not work", print_exception=False)


def _show_mix(used: list[str], tabs: dict[str, tuple[gr.Tab, str]]) -> list[Any]:
    mixed = len(used) > 1
    sliders = [gr.update(visible=mixed and name in used) for name in MODALITIES]
    labels = [gr.update(label=f"{label} ●" if name in used else label) for name, (_, label) in tabs.items()]
    return [gr.update(visible=mixed), *sliders, *labels]


def _build_options(studio: Studio) -> list[Any]:
    count = gr.Slider(1, MAX_PICTURES, value=4, step=1, label="Pictures", elem_id="count")
    with gr.Row():
        seed = gr.Number(value=0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", min_width=120, elem_id="seed")
        keep = gr.Checkbox(
            value=False, label="Keep this seed", info="else every click draws a new one", min_width=120, elem_id="keep"
        )
    style = gr.Dropdown(
        [(ANY_STYLE, ""), *([(IN_TURN, EACH_STYLE)] if studio.styles else []), *studio.styles],
        value="",
        visible=bool(studio.styles),
        label="Style",
        info="what was never taught in a style is guessed; an image alone has its own",
        elem_id="style",
    )
    with gr.Accordion("More settings", open=False):
        negative = gr.Textbox(label="Away from", placeholder="words the picture should not be like", elem_id="negative")
        with gr.Row():
            steps = gr.Slider(
                1,
                MAX_STEPS,
                value=studio.defaults["num_inference_steps"],
                step=1,
                label="Steps",
                info="fewer than the model's own are worse, more are slower and seldom better",
                elem_id="steps",
            )
            guidance = gr.Slider(
                1,
                MAX_GUIDANCE,
                value=studio.defaults["guidance_scale"],
                step=0.1,
                label="Guidance",
                info="how closely the picture follows",
                elem_id="guidance",
            )
        prior = gr.Checkbox(
            value=studio.has_prior,
            interactive=studio.has_prior,
            label="Use the prior",
            info="off: each prompt means one picture, whatever the seed; an image alone needs none",
            elem_id="prior",
        )
    upsample = gr.Checkbox(
        value=False,
        visible=studio.has_upsampler,
        label="Twice as large",
        info="by the upsampler; takes a little longer",
        elem_id="upsample",
    )
    return [count, seed, keep, negative, steps, guidance, prior, upsample, style]


def _handler(studio: Studio) -> Any:
    def generate(
        text: str | None = None,
        audio: str | None = None,
        sketch: dict[str, Any] | None = None,
        image: str | None = None,
        text_weight: float = 1,
        audio_weight: float = 1,
        sketch_weight: float = 1,
        image_weight: float = 1,
        count: float = 1,
        seed: float | None = None,
        keep_seed: bool = False,
        negative_text: str | None = None,
        steps: float = studio.defaults["num_inference_steps"],
        guidance: float = studio.defaults["guidance_scale"],
        use_prior: bool = studio.has_prior,
        upsample: bool = False,
        style: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (how gradio finds it)
    ) -> Iterator[tuple[list[tuple[str, str]], int, str]]:
        started = time.perf_counter()
        progress(0, desc="Reading the prompt")
        weights = dict(zip(MODALITIES, (text_weight, audio_weight, sketch_weight, image_weight), strict=True))
        try:
            prompt = read_prompt(text, audio, sketch, image, weights)
            seeds = choose_seeds(seed, keep_seed, count)
            settings = Settings(
                steps=whole_number(steps, "steps", 1, MAX_STEPS),
                guidance=real_number(guidance, "guidance", 1, MAX_GUIDANCE),
                use_prior=use_prior,
                upsample=upsample,
                negative_text=negative_text or "",
                style=style or None,
            )
            pictures: list[tuple[str, str]] = []
            with tempfile.TemporaryDirectory(prefix="unclip-mm-") as folder:  # gradio copies the files to its own cache
                made = studio.paint(
                    prompt, seeds, settings, on_step=lambda done, of: progress((done, of), unit="steps")
                )
                for picture in made:
                    called = picture.metadata["style"] if style == EACH_STYLE else "seed"
                    pictures.append((str(picture.save(Path(folder))), f"{called} {picture.seed}"))
                    yield pictures, seeds[0], _status(len(pictures), len(seeds), time.perf_counter() - started)
        except InputError as error:
            raise as_message(error) from None

    return generate


def _status(done: int, of: int, seconds: float) -> str:
    if done < of:
        return f"{done} of {of} pictures, {seconds:.1f} s"
    return f"{done} picture{'s' if done > 1 else ''} in {seconds:.1f} s. Each file carries its prompt and seed."
