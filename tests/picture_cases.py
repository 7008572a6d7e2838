"""What tests of benchmarks have pictures judged by."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


def colours(pictures: list[Image.Image]) -> torch.Tensor:
    """A simple judge: the colours of a 4 x 4 grid."""
    small = [np.asarray(picture.convert("RGB").resize((4, 4)), dtype=np.float32) for picture in pictures]
    return torch.from_numpy(np.stack(small)).flatten(1) / 255 + 0.1
