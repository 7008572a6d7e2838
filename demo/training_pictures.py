"""The training pictures behind a model, to see what a picture is near to, and whether it is a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.studio import BATCH, Studio
from unclip_mm.data.manifest import read_manifest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Neighbour:
    """A training picture, what it shows, and its cosine to what was asked about."""

    file: Path
    caption: str
    cosine: float

    @property
    def label(self) -> str:
        """What a gallery writes below it."""
        return f"{self.caption} ({self.cosine:.2f})"


class TrainingPictures:
    """Training pictures and their embeddings.

    Args:
        files: The pictures.
        captions: What each shows.
        vectors: Unit vectors (N, D).
    """

    def __init__(self, files: Sequence[Path], captions: Sequence[str], vectors: Tensor) -> None:
        self.files, self.captions, self.vectors = list(files), list(captions), vectors

    @classmethod
    def from_manifest(cls, folder: Path, studio: Studio) -> TrainingPictures:
        """Embed the training pictures of a manifest folder, some hundred a second.

        Raises:
            InputError: The folder holds no manifest, or no training picture.
        """
        import torch
        from tqdm import tqdm

        from unclip_mm import InputError

        manifest = read_manifest(folder)
        rows = manifest.select(modality="image", split="train")
        if not rows:
            raise InputError(f"{folder}: holds no training pictures")
        files = [manifest.path(row, "image") for row in rows]
        starts = tqdm(range(0, len(files), BATCH), desc="training pictures", unit="batch")
        vectors = torch.cat([studio.embed_images(files[start : start + BATCH]) for start in starts])
        return cls(files, [(row.text or (row.concept,))[0] for row in rows], vectors)

    def nearest(self, vector: Any, most: int = 6) -> list[Neighbour]:
        """Return the pictures nearest to a unit vector (D,), the nearest first."""
        cosines, rows = (self.vectors @ vector).topk(min(most, len(self.files)))
        return [
            Neighbour(self.files[row], self.captions[row], cosine)
            for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
        ]
