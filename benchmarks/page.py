"""The page under load: ``python -m benchmarks.page``.

Serves the real page in a process of its own and prints the time to the first picture, the pictures that eight visitors
get in a minute (each checked against what the same prompt and seed give alone), and how the memory grows over 200
pictures. Nothing else should run beside it.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import tyro
from gradio_client import Client
from tqdm import tqdm

PROMPTS = ("a red apple", "a cat", "a blue car", "a house", "a green tree", "a fish", "a flower", "an umbrella")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(checkpoint: str) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the page; gives its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "demo.app", "--checkpoint", checkpoint, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"the page ended with exit code {process.returncode}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def picture(client: Client, text: str, seed: int) -> bytes:
    """Make one picture and return its pixels."""
    from unclip_mm.inputs import load_image

    made, _, _ = client.predict(api_name="/generate", text=text, count=1, seed=seed, keep_seed=True)
    file = Path(made[0]["image"])
    pixels = load_image(file).tobytes()
    file.unlink()
    return pixels


def seconds_to_first(client: Client, repeats: int) -> float:
    """Median seconds from asking for four pictures to the first of them."""
    times = []
    for seed in range(repeats + 1):
        start = time.perf_counter()
        job = client.submit(api_name="/generate", text="a red apple", count=4, seed=seed, keep_seed=True)
        next(iter(job))
        times.append(time.perf_counter() - start)
        job.result()
    return statistics.median(times[1:])


def crowd(url: str, expected: dict[str, bytes], seconds: float) -> tuple[int, list[str]]:
    """Let one visitor a prompt ask again and again; return the pictures made, and what went wrong."""
    made, faults = [0] * len(expected), []
    deadline = time.monotonic() + seconds

    def visit(number: int, text: str) -> None:
        client: Any = Client(url, verbose=False)
        while time.monotonic() < deadline:
            try:
                if picture(client, text, 1) != expected[text]:
                    faults.append(f"{text}: another picture than alone")
                made[number] += 1
            except Exception as error:
                faults.append(f"{text}: {error}")

    visitors = [threading.Thread(target=visit, args=pair) for pair in enumerate(expected)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    return sum(made), faults


def main(checkpoint: str = "pictograms", seconds: float = 60.0, pictures: int = 200) -> None:
    """Print the table.

    Args:
        checkpoint: What the page serves.
        seconds: How long the visitors stay.
        pictures: Made one after the other to see whether the memory grows.
    """
    with served(checkpoint) as (url, process):
        client = Client(url, verbose=False)
        print(f"seconds to the first of four pictures   {seconds_to_first(client, 9):8.2f}", flush=True)
        expected = {text: picture(client, text, 1) for text in PROMPTS}
        made, faults = crowd(url, expected, seconds)
        print(f"{len(PROMPTS)} visitors, {seconds:.0f} s: pictures a second   {made / seconds:8.2f}")
        print(f"  errors or mixed-up answers            {len(faults):8d}  {'; '.join(faults[:3])}", flush=True)
        before = process.memory_info().rss / 2**20
        for number in tqdm(range(pictures), desc="pictures", leave=False):
            picture(client, PROMPTS[number % len(PROMPTS)], number)
        after = process.memory_info().rss / 2**20
        growth = 100 * (after / before - 1)
        print(f"memory before and after {pictures} pictures   {before:.0f} MB, {after:.0f} MB ({growth:+.1f}%)")


if __name__ == "__main__":
    tyro.cli(main)
