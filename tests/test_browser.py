"""The page as a person uses it: a browser clicks through it, with the bundled model behind."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs the extra 'demo'")
pytest.importorskip("playwright", reason="clicking needs the extra 'dev'")

from demo import samples

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

LONG = 120_000
"""Milliseconds to wait for what the model makes: the machine may be busy."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real page; the synthetic world stands in for the training pictures."""
    from demo.app import build_page, launch
    from demo.studio import Studio
    from demo.training_pictures import TrainingPictures
    from unclip_mm.commands.loading import load_pipeline
    from unclip_mm.data.synthetic import make_synthetic_world

    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
    studio = Studio(load_pipeline("pictograms"), "pictograms")
    world = tmp_path_factory.mktemp("world")
    make_synthetic_world(world, image_size=32, variations=1)
    page = build_page([studio], TrainingPictures.from_manifest(world, studio))
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True)
    yield address
    page.close()
    patch.undo()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(url: str, browser: Any) -> Iterator[Any]:
    """A visitor who has just come; an error in the browser's console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    visitor = context.new_page()
    visitor.set_default_timeout(LONG)
    faults: list[str] = []
    visitor.on("pageerror", lambda error: faults.append(str(error)))
    visitor.goto(url)
    visitor.locator("#make").wait_for()
    yield visitor
    context.close()
    assert not faults


def make(page: Any, count: int) -> list[bytes]:
    """Click, wait until all pictures are there, and return their bytes; take another count than the time before."""
    choose(page, "count", count)
    page.locator("#make").click()
    page.locator("#status", has_text=f"{count} picture{'s' if count > 1 else ''} in").wait_for()
    return pictures(page, "#gallery")


def pictures(page: Any, where: str) -> list[bytes]:
    """The bytes of the pictures in a gallery, as the browser got them."""
    script = """async (images) => Promise.all(images.map(async (image) => {
        const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        return btoa(String.fromCharCode(...bytes));
    }))"""
    found = page.locator(f"{where} .grid-container img, {where} .preview > button img")
    found.first.wait_for()
    return [base64.b64decode(text) for text in found.evaluate_all(script)]


def choose(page: Any, label: str, value: int) -> None:
    page.locator(f"#{label} input[type=number]").fill(str(value))
    page.locator(f"#{label} input[type=number]").blur()


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def keep_seed(page: Any, seed: int) -> None:
    page.locator("#seed input").fill(str(seed))
    page.locator("#keep input").check()


def test_words_become_pictures_that_differ_by_prompt(page: Any) -> None:
    keep_seed(page, 3)
    page.locator("#text textarea").fill("a red apple")
    apples = make(page, 2)
    assert len(apples) == 2 and apples[0] != apples[1]
    assert all(picture.startswith(b"\x89PNG") for picture in apples)
    more_apples = make(page, 3)
    assert more_apples[:2] == apples
    page.locator("#text textarea").fill("a blue car")
    cars = make(page, 1)
    assert not set(cars) & set(more_apples)


def test_pictures_are_made_twice_as_large(page: Any) -> None:
    page.get_by_role("button", name="More settings").click()
    page.locator("#upsample input").check()
    page.locator("#text textarea").fill("a red apple")
    assert [Image.open(BytesIO(picture)).size for picture in make(page, 2)] == [(256, 256)] * 2


def test_a_picture_that_is_chosen_shows_what_it_is_near_to(page: Any) -> None:
    page.locator("#text textarea").fill("a red circle")
    make(page, 2)
    page.locator("#gallery .grid-container button").first.click()
    page.wait_for_function("document.querySelectorAll('#origins .grid-container img').length == 6")
    page.locator("#origins", has_text="circle").wait_for()
    make(page, 1)
    page.wait_for_function("document.querySelectorAll('#origins img').length == 0")


def test_stop_ends_it_and_pictures_can_be_made_again(page: Any) -> None:
    page.get_by_role("button", name="More settings").click()
    choose(page, "steps", 50)
    choose(page, "count", 8)
    page.locator("#text textarea").fill("a red apple")
    page.locator("#make").click()
    page.wait_for_function("document.querySelectorAll('#gallery .grid-container img').length > 0")
    page.locator("#stop").click()
    page.locator("#status", has_text="Stopped.").wait_for()
    assert len(pictures(page, "#gallery")) < 8
    page.wait_for_timeout(3000)  # the step that was running when it was stopped
    choose(page, "steps", 4)
    assert len(make(page, 1)) == 1


def test_a_sound_a_drawn_sketch_and_an_image(page: Any) -> None:
    box = page.locator("#sketch canvas").last.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    for x, y in ((0.7, 0.3), (0.7, 0.7), (0.3, 0.7), (0.3, 0.3)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
    page.mouse.up()
    page.get_by_role("tab", name="Sketch ●").wait_for()
    drawn = make(page, 1)
    tab(page, "Sound")
    page.locator("#audio input[type=file]").set_input_files(samples.SOUNDS[0])
    page.locator("#weight-audio").wait_for()
    page.locator("#weight-sketch").wait_for()
    mixed = make(page, 2)
    tab(page, "Image")
    page.locator("#image input[type=file]").set_input_files(samples.IMAGES[0])
    page.locator("#weight-image").wait_for()
    all_three = make(page, 3)
    assert len({drawn[0], *mixed, *all_three}) == 6


def test_what_is_wrong_is_a_message(page: Any) -> None:
    page.locator("#make").click()
    page.locator(".toast-body", has_text="Nothing to make a picture from").wait_for()
    page.locator("#text textarea").fill("x" * 3000)
    page.locator("#make").click()
    page.locator(".toast-body", has_text="text: has 3000 characters").wait_for()


def test_explore(page: Any) -> None:
    tab(page, "Explore")
    choose(page, "stops", 3)
    page.locator("button#slide").click()
    page.locator("#moving img").wait_for()
    assert len(set(pictures(page, "#strip"))) == 3
    tab(page, "Add and take away")
    page.locator("#work-out").click()
    page.wait_for_function("document.querySelectorAll('#after .grid-container img').length == 4")
    assert not set(pictures(page, "#before")) & set(pictures(page, "#after"))
    tab(page, "Look up")
    words = page.locator("#asked-text textarea")
    words.fill("a doggy")
    page.wait_for_timeout(1000)  # a tab that has just come is still being set up, and may be emptied
    words.fill("a doggy")
    page.locator("button#look-up").click()
    page.locator("#words", has_text="dog").wait_for()


def test_understand(page: Any) -> None:
    tab(page, "Understand")
    page.locator("#space img").wait_for()
    tab(page, "How near")
    page.locator("#ways-other button").first.click()
    page.locator("#ways-audio input[type=file]").set_input_files(samples.SOUNDS[0])
    page.locator("#ways-audio [aria-label='Play'], #ways-audio button[aria-label*='lay']").first.wait_for()
    page.locator("#compare").click()
    page.locator("#cosines", has_text="audio").wait_for()
    tab(page, "Figures")
    page.locator("#card", has_text="R@1").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(url: str, browser: Any, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.locator("#make").wait_for()
    for name in ("Create", "Explore", "Understand"):
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab(page, "Create")
    page.locator("#text textarea").fill("star")
    page.locator("#make").click()
    page.locator("#status", has_text="4 pictures in").wait_for(timeout=LONG)
    page.wait_for_function("document.querySelector('#gallery').getBoundingClientRect().top < window.innerHeight / 2")
    context.close()
