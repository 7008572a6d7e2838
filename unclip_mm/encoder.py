"""The multimodal encoder: one tower a modality, all into one space."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError
from unclip_mm.towers import TOWERS, Features, TextTower, Tower


class MultimodalEncoder(ModelMixin, ConfigMixin):
    """Towers for any set of modalities into one space of dimension D.

    Args:
        dim: D.
        towers: Modality -> ``{"type": ..., **options}``; types are the keys of ``TOWERS``. A ``backbone`` is the
            configuration of a transformers network as a dict; :func:`build_encoder` takes pretrained ones by name.
            ``"quantized": True`` keeps a frozen one in 8 bits.

    Example:
        >>> towers = {"a": {"type": "vector", "features": 3, "width": 8}, "b": {"type": "vector", "features": 5}}
        >>> encoder = MultimodalEncoder(4, towers).eval()
        >>> embeddings = encoder({"a": {"vector": torch.randn(2, 3)}, "b": {"vector": torch.randn(2, 5)}})
        >>> embeddings.vectors.shape, embeddings.modalities
        (torch.Size([2, 2, 4]), ('a', 'b'))
    """

    @register_to_config
    def __init__(self, dim: int, towers: dict[str, dict[str, Any]]):
        super().__init__()
        self.dim = dim
        self.branches = nn.ModuleDict({name: _build_tower(name, dim, options) for name, options in towers.items()})

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return tuple(self.branches)

    @property
    def detail(self) -> int:
        """Free dimensions of the image embedding beside the D aligned ones."""
        return dict(self.config.towers.get("image", {})).get("detail", 0)

    @property
    def image_embedding_dim(self) -> int:
        """Dimensions of the image embedding that the decoder takes: D + detail."""
        return self.dim + self.detail

    def tower(self, modality: str) -> Tower:
        """Return a modality's tower.

        Raises:
            InputError: There is no such modality.
        """
        if modality not in self.branches:
            raise InputError(f"modality {modality!r}: not known to this model; it takes {', '.join(self.branches)}")
        return cast(Tower, self.branches[modality])

    def extend(self, other: MultimodalEncoder) -> None:
        """Take in the towers of another encoder into the same space, which this one lacks; its own stay as they are.

        Raises:
            InputError: The spaces have other dimensions, or both have a tower of a modality.
        """
        both = [name for name in other.branches if name in self.branches]
        if both or other.dim != self.dim:
            wrong = f"both have a tower of {both[0]!r}" if both else f"dimensions {self.dim} and {other.dim} differ"
            raise InputError(f"extend: {wrong}; give an encoder of other modalities and the same dimension")
        self.branches.update(dict(other.branches.items()))
        self.register_to_config(towers={**self.config.towers, **other.config.towers})

    def quantize(self) -> None:
        """Round the matrices of frozen backbones to 8 bits; the configuration says so, and once is enough."""
        towers = dict(self.config.towers)
        for name in self.branches:
            tower = self.tower(name)
            if tower.backbone is not None and tower.frozen and not towers[name].get("quantized"):
                tower.quantize()
                towers[name] = {**towers[name], "quantized": True}
        self.register_to_config(towers=towers)

    def smooth(
        self,
        modality: str,
        features: Features,
        vectors: Tensor,
        width: float,
        ridge: float,
        aside: Tensor | None = None,
    ) -> None:
        """Let the head of a text tower be the regression of what it said (:mod:`unclip_mm.towers.kernel`).

        Args:
            modality: The tower's.
            features: Of N captions, as they are cached.
            vectors: What it said of them, unit vectors (N, D).
            width, ridge, aside: Of the regression.

        Raises:
            InputError: The tower takes no text, or trains its backbone; or a number is not allowed.
        """
        tower = self.tower(modality)
        if not isinstance(tower, TextTower):
            raise InputError(f"smooth: the tower of {modality!r} is none of texts")
        options = tower.smooth(features, vectors, width, ridge, aside)
        towers = dict(self.config.towers)
        self.register_to_config(towers={**towers, modality: {**towers[modality], **options}})

    def features(self, modality: str, inputs: Features) -> Features:
        """Return the part of a tower's work that no training changes, for the cache."""
        return self.tower(modality).features(inputs)

    def embed(self, modality: str, features: Features) -> Tensor:
        """Return the aligned unit vectors (B, D) of cached features."""
        return F.normalize(self.tower(modality)(features)[:, : self.dim].float(), dim=-1)

    def image_embedding(self, features: Features) -> Tensor:
        """Return the image embedding (B, D + detail) that the decoder is conditioned on.

        Both parts lie on spheres whose radius is the root of their dimension, so that a coordinate has about unit
        variance: ``[sqrt(D) * aligned, sqrt(detail) * free]``.
        """
        aligned, free = self.tower("image")(features).float().split([self.dim, self.detail], dim=-1)
        parts = [F.normalize(part, dim=-1) * part.shape[-1] ** 0.5 for part in (aligned, free) if part.shape[-1]]
        return torch.cat(parts, dim=-1)

    def forward(self, inputs: dict[str, Features], present: dict[str, Tensor] | None = None) -> Embeddings:
        """Encode processed inputs.

        Args:
            inputs: Modality -> the tensors of its tower, of one batch size B.
            present: Modality -> bool (B,), where a row lacks it; by default all are there.
        """
        vectors = {name: self.embed(name, self.features(name, tensors)) for name, tensors in inputs.items()}
        return Embeddings.from_dict(vectors, present)


def aligned_part(image_embedding: Tensor, dim: int) -> Tensor:
    """Return the aligned unit vectors (B, D) inside image embeddings (B, D + detail)."""
    return F.normalize(image_embedding[..., :dim], dim=-1)


def build_encoder(dim: int, towers: dict[str, dict[str, Any]]) -> MultimodalEncoder:
    """Build an encoder to be trained, its pretrained backbones loaded.

    Args:
        dim: D.
        towers: As for :class:`MultimodalEncoder`; a ``backbone`` may also be a local folder or a hub id.

    Raises:
        CheckpointError: A backbone cannot be loaded.
    """
    pretrained: dict[tuple[str, str], nn.Module] = {}
    resolved: dict[str, dict[str, Any]] = {}
    for name, given in towers.items():
        options = dict(given)
        kind = _tower_class(name, options)
        if isinstance(options.get("backbone"), str) and not {"mean", "std"} <= options.keys():
            options = {**kind.options_of(options["backbone"]), **options}
        for part in kind.parts:
            if isinstance(options.get(part), str):
                pretrained[name, part] = kind.load_backbone(options[part])
                options[part] = _plain_config(pretrained[name, part].config)
        resolved[name] = options
    encoder = MultimodalEncoder(dim, resolved)
    for (name, part), network in pretrained.items():
        own = getattr(encoder.branches[name], part)
        missing = own.load_state_dict(network.state_dict(), strict=False).missing_keys
        if missing:
            raise InputError(f"tower {name}: the {part} {towers[name][part]} lacks {missing[0]}")
    return encoder


def _plain_config(config: Any) -> dict[str, Any]:
    kept = {key: value for key, value in config.to_diff_dict().items() if key not in {"dtype", "transformers_version"}}
    return {"model_type": config.model_type, **kept}


def _tower_class(name: str, options: dict[str, Any]) -> type[Tower]:
    kind = options.get("type")
    if kind not in TOWERS:
        raise InputError(f"tower {name}: type {kind!r} is not known; give one of {', '.join(TOWERS)}")
    return TOWERS[kind]


def _build_tower(name: str, dim: int, options: dict[str, Any]) -> Tower:
    kind: Any = _tower_class(name, options)
    tower: Tower = kind(dim, **{key: value for key, value in options.items() if key not in ("type", "quantized")})
    if options.get("quantized"):
        tower.quantize()
    return tower
