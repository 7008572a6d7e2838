"""Time and memory of making pictures: ``python -m benchmarks.generation --checkpoint pictograms``.

Prints the warm time of one picture and of batches, where it goes, the cold time of the command line, and the peak memory
of a process that made pictures. Nothing else should run beside it.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import tyro

from unclip_mm.pipeline import UnCLIPMultimodalPipeline


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(checkpoint: str = "pictograms", repeats: int = 9) -> None:
    """Print the tables.

    Args:
        checkpoint: The pipeline.
        repeats: Timed calls a figure, of which the median counts.
    """
    pipe = UnCLIPMultimodalPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    one = median_seconds(lambda: pipe(text="a red apple", seeds=0), repeats)
    print(f"one picture, warm                 {one:7.3f} s")
    encode = median_seconds(lambda: pipe.encode(text="a red apple"), repeats)
    print(f"  of which encoding the text      {encode:7.3f} s")
    direct = median_seconds(lambda: pipe(text="a red apple", seeds=0, use_prior=False), repeats)
    print(f"one picture, without the prior    {direct:7.3f} s   ratio {one / direct:5.2f}")
    if pipe.upsampler is not None:
        large = median_seconds(lambda: pipe(text="a red apple", seeds=0, upsample=True), repeats)
        print(f"one picture, upsampled            {large:7.3f} s   ratio {large / one:5.2f}")
    for steps in (4, 8, 25, 50):
        timed = median_seconds(lambda n=steps: pipe(text="a red apple", seeds=0, num_inference_steps=n), repeats)
        print(f"one picture, {steps:2d} decoder steps     {timed:7.3f} s   ratio {timed / one:5.2f}")
    for count in (4, 16):
        timed = median_seconds(lambda n=count: pipe(text="a red apple", seeds=0, num_images_per_prompt=n), repeats)
        print(f"{count:2d} pictures of one prompt         {timed:7.3f} s   rate x {count * one / timed:5.2f}")
    print(f"peak memory of this process       {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:7.2f} GB")
    narrow = UnCLIPMultimodalPipeline.from_pretrained(checkpoint, dtype=torch.bfloat16)
    narrow.set_progress_bar_config(disable=True)
    for count in (1, 16):
        both = [
            median_seconds(lambda p=p, n=count: p(text="a red apple", seeds=0, num_images_per_prompt=n), repeats)
            for p in (narrow, pipe)
        ]
        print(f"{count:2d} in bfloat16                    {both[0]:7.3f} s   ratio {both[0] / both[1]:5.2f}")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "unclip_mm", "generate", "--checkpoint", checkpoint, "--text", "a red apple"]
        command += ["--output", str(Path(folder) / "apple.png")]
        cold = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), 3)
    print(f"command line, from cold           {cold:7.3f} s")


if __name__ == "__main__":
    tyro.cli(main)
