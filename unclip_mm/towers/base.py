"""What every tower is: an optional backbone, frozen or trainable, and a trained head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from unclip_mm.errors import CheckpointError, InputError, first_line
from unclip_mm.towers.quantized import quantize

Features = dict[str, Tensor]
"""Named tensors whose first dimension is the batch B."""


class Tower(nn.Module):
    """Turns one modality's tensors into vectors (B, D), not yet normalised.

    ``features`` is the part worth caching: with a frozen backbone its outputs, unless its inputs are augmented; otherwise
    the inputs as they are.
    ``forward`` is the part that is trained. A subclass says how its backbone runs and what its head is.

    Attributes:
        backbone: A network of transformers, or None.
        frozen: Whether the backbone is left as it came.
        quantized: Whether what is frozen is in 8 bits.
        augmented: Whether training changes the inputs, so that a frozen backbone has to see them anew each time.
    """

    backbone: Any
    augmented = False
    quantized = False
    parts: ClassVar[tuple[str, ...]] = ("backbone",)
    """The options that are networks, each of which may come pretrained."""

    def __init__(self, backbone: nn.Module | None = None, frozen: bool = False):
        super().__init__()
        self.backbone, self.frozen = backbone, frozen
        if backbone is not None and frozen:
            backbone.requires_grad_(False)

    def quantize(self) -> None:
        """Round the matrices of the frozen backbone to 8 bits (:mod:`unclip_mm.towers.quantized`).

        Raises:
            InputError: There is no backbone, or it is trained.
        """
        if self.backbone is None or not self.frozen:
            raise InputError(
                f"{type(self).__name__}: only a frozen backbone can be put in 8 bits; what is trained cannot"
            )
        quantize(self.backbone)
        self.quantized = True

    def run_backbone(self, inputs: Features) -> Features:
        """Turn processed inputs into the features that the head takes; without a backbone, the inputs themselves."""
        return inputs

    def head(self, features: Features) -> Tensor:
        """Turn features into vectors (B, D)."""
        raise TypeError(f"{type(self).__name__} has no head")

    @classmethod
    def options_of(cls, source: str) -> dict[str, Any]:
        """Return options of the tower that a pretrained network asks for, beside what the recipe says."""
        return {}

    @classmethod
    def load_backbone(cls, source: str) -> nn.Module:
        """Load a pretrained network from a local folder or a hub id, in float32.

        Raises:
            CheckpointError: There is no such network, or its weights do not fit.
        """
        return loading_from(source, lambda: AutoModel.from_pretrained(source, dtype=torch.float32))

    def features(self, inputs: Features) -> Features:
        """Return what ``forward`` takes: outputs of a frozen backbone (no gradient), or the inputs."""
        return self._seen(inputs) if self.frozen and not self.augmented else inputs

    def forward(self, features: Features) -> Tensor:
        """Turn ``features`` into vectors (B, D)."""
        return self.head(features if self.frozen and not self.augmented else self._seen(features))

    def _seen(self, inputs: Features) -> Features:
        """Run the backbone; a frozen one as in use, without a gradient."""
        if self.frozen and self.backbone is not None:
            self.backbone.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.run_backbone(inputs)


def build_backbone(config: dict[str, Any]) -> nn.Module:
    """Build a transformers network of random weights from its configuration, as saved beside its weights.

    Args:
        config: The dict of ``PretrainedConfig.to_dict()``; ``model_type`` names the architecture.

    Raises:
        InputError: ``config`` names no architecture.
    """
    return AutoModel.from_config(backbone_config(config))


def backbone_config(config: dict[str, Any]) -> PretrainedConfig:
    """Turn a plain dict back into the configuration of a transformers network."""
    if "model_type" not in config:
        raise InputError("backbone: the configuration has no model_type; give a transformers config as a dict")
    return AutoConfig.for_model(**config)


def loading_from(source: str, load: Callable[[], nn.Module]) -> nn.Module:
    """Run ``load`` and turn what goes wrong into one line that names the source."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"backbone {source}: cannot be loaded ({first_line(error)})") from error
