"""Take the pictures of the page for the documentation: ``python -m demo.screenshots --output docs/pictures``.

Needs the extra ``dev`` and Chromium. Everything on the pictures is made while they are taken.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from demo import samples
from demo.app import build_page, launch
from demo.studio import Studio
from unclip_mm.checkpoints import DEFAULT_CHECKPOINT
from unclip_mm.commands.loading import load_pipeline

DESKTOP = {"width": 1280, "height": 940}
PHONE = {"width": 390, "height": 844}


def create(page: Any) -> None:
    """Make four apples."""
    page.locator("#seed input").fill("3")
    page.locator("#keep input").check()
    page.locator("#text textarea").fill("a red apple")
    page.locator("#make").click()
    page.locator("#status", has_text="4 pictures in").wait_for()


def explore(page: Any) -> None:
    """Slide from an apple to a star."""
    page.get_by_role("tab", name="Explore", exact=True).click()
    page.locator("button#slide").click()
    page.locator("#moving img").wait_for()


def look_up(page: Any) -> None:
    """Ask what a spoken word is taken for."""
    page.get_by_role("tab", name="Explore", exact=True).click()
    page.get_by_role("tab", name="Look up", exact=True).click()
    page.locator("#asked-other button").first.click()
    page.locator("#asked-audio input[type=file]").set_input_files(samples.SOUNDS[0])
    page.locator("#asked-audio button[aria-label*='lay']").first.wait_for()
    page.locator("button#look-up").click()
    page.locator("#words", has_text="apple").wait_for()


def understand(page: Any) -> None:
    """Show the space."""
    page.get_by_role("tab", name="Understand", exact=True).click()
    page.locator("#space img").wait_for()


def main() -> None:
    """Serve the page, and take every picture."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m demo.screenshots", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the pictures go")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    served = build_page([Studio(load_pipeline(DEFAULT_CHECKPOINT), DEFAULT_CHECKPOINT)])
    _, url, _ = launch(served, prevent_thread_lock=True, quiet=True)
    shots: list[tuple[str, Any, Any, Any]] = [
        ("page-create", create, DESKTOP, "light"),
        ("page-explore", explore, DESKTOP, "light"),
        ("page-look-up", look_up, DESKTOP, "light"),
        ("page-understand", understand, DESKTOP, "dark"),
        ("page-phone", create, PHONE, "light"),
        ("page-phone-dark", look_up, PHONE, "dark"),
    ]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, act, size, scheme in shots:
            context = browser.new_context(viewport=size, color_scheme=scheme)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(url)
            page.locator("#make").wait_for()
            act(page)
            page.wait_for_timeout(1500)
            if size is DESKTOP:
                page.evaluate("window.scrollTo(0, 0)")  # the page has gone to its pictures, which a phone is to show
            page.screenshot(path=output / f"{name}.png")
            print(output / f"{name}.png", flush=True)
            context.close()
        browser.close()
    served.close()


if __name__ == "__main__":
    main()
