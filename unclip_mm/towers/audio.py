"""Audio: a Whisper encoder over windows of a few seconds, a network that knows sounds, and a head over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from unclip_mm.errors import InputError
from unclip_mm.towers.base import Features, Tower, backbone_config, build_backbone, loading_from
from unclip_mm.towers.heads import SequenceHead
from unclip_mm.towers.quantized import quantize

_SOUND_STRIDE = 32
"""Frames between the states of a MobileNet."""


class AudioTower(Tower):
    """Log-mel windows ``mel`` (B, W, bins, frames) and valid ``frames`` (B,) -> (B, D).

    Speech and sound go through the same tower. Windows are encoded one by one and their states put in a row, so a
    recording may be longer than the backbone's window.

    Args:
        dim: D.
        backbone: Configuration of a ``whisper`` model, of which the encoder is kept; ``max_source_positions`` is
            the window: 250 states of 20 ms are 5 s.
        frozen: Leave the backbone as it came.
        pool: Neighbouring states averaged into one (Whisper's states are 20 ms apart).
        width, depth, dropout: Of the head.
        layers: Lay the states after these layers beside the last ones, normalised (1 is the first; 0 is what enters it).
            What the last layer of a backbone that was taught to read speech keeps is speech; what an instrument or an
            animal sounds like is heard better after the first.
        spectrum: Lay the mel bins beside them as well.
        sounds: Configuration of a ``mobilenet_v1`` of one channel that was taught to tell sounds apart (YAMNet). It runs
            over the log-mel windows ``sound`` (B, W, 64, frames), and its states, a third of a second apart, are laid
            beside, normalised. It stays as it came.

    Raises:
        InputError: The backbone has no such layer, or ``sounds`` is another kind of network.
    """

    parts: ClassVar[tuple[str, ...]] = ("backbone", "sounds")

    def __init__(
        self,
        dim: int,
        backbone: dict[str, Any],
        frozen: bool = True,
        pool: int = 2,
        width: int = 256,
        depth: int = 3,
        dropout: float = 0.1,
        layers: Sequence[int] = (),
        spectrum: bool = False,
        sounds: dict[str, Any] | None = None,
    ):
        super().__init__(WhisperEncoder(backbone_config(backbone)), frozen)
        self.pool, self.layers, self.spectrum = pool, tuple(layers), spectrum
        config = self.backbone.config
        unknown = [layer for layer in self.layers if not 0 <= layer < config.encoder_layers]
        if unknown:
            raise InputError(f"audio tower: no layer {unknown[0]} to listen to; give 0 to {config.encoder_layers - 1}")
        features = config.d_model * (1 + len(self.layers)) + (config.num_mel_bins if spectrum else 0)
        self.sounds: Any = None if sounds is None else _sound_network(sounds)
        if self.sounds is not None:
            features += self.sounds.layer[-1].convolution.out_channels
        self.sequence = SequenceHead(features, width, depth, dim, dropout=dropout)

    @classmethod
    def load_backbone(cls, source: str) -> nn.Module:
        """Load the encoder of a Whisper checkpoint, a whole model or an encoder saved alone, or a network of sounds."""

        def load() -> nn.Module:
            if AutoConfig.from_pretrained(source).model_type == "mobilenet_v1":
                return super(AudioTower, cls).load_backbone(source)
            config = WhisperConfig.from_pretrained(source)
            if config.architectures == ["WhisperEncoder"]:
                return WhisperEncoder.from_pretrained(source, dtype=torch.float32)
            return WhisperModel.from_pretrained(source, dtype=torch.float32).encoder

        return loading_from(source, load)

    def run_backbone(self, inputs: Features) -> Features:
        """Return ``tokens`` (B, T, F) and ``mask`` (B, T), True where the recording lasts."""
        mel, frames = inputs["mel"], inputs["frames"]
        output = self.backbone(mel.flatten(0, 1), output_hidden_states=bool(self.layers))
        earlier = [output.hidden_states[layer] for layer in self.layers]
        states = [output.last_hidden_state, *(F.layer_norm(state, state.shape[-1:]) for state in earlier)]
        pooled = F.avg_pool1d(torch.cat(states, dim=-1).transpose(1, 2), self.pool)
        if self.spectrum:
            pooled = torch.cat([pooled, F.adaptive_avg_pool1d(mel.flatten(0, 1), pooled.shape[2]).to(pooled)], dim=1)
        if self.sounds is not None:
            pooled = torch.cat([pooled, self._hear(inputs["sound"].flatten(0, 1), pooled.shape[2]).to(pooled)], dim=1)
        tokens = pooled.transpose(1, 2).unflatten(0, mel.shape[:2]).flatten(1, 2)
        stride = mel.shape[-1] * mel.shape[1] / tokens.shape[1]
        starts = torch.arange(tokens.shape[1], device=tokens.device) * stride
        return {"tokens": tokens, "mask": starts[None] < frames[:, None]}

    def _hear(self, sound: Tensor, steps: int) -> Tensor:
        """Return the states (B, F, T) of the network of sounds at T times: the mean over its bands, normalised."""
        states = self.sounds.eval()(sound.transpose(1, 2)[:, None]).last_hidden_state.mean(dim=3)
        known = F.layer_norm(states.transpose(1, 2).float(), states.shape[1:2]).transpose(1, 2)
        times = torch.arange(steps, device=sound.device) * (sound.shape[2] / steps / _SOUND_STRIDE)
        return known[:, :, times.long()]

    def quantize(self) -> None:
        """Round the matrices of both networks to 8 bits."""
        super().quantize()
        if self.sounds is not None:
            quantize(self.sounds)

    def head(self, features: Features) -> Tensor:
        """Map the states over time to (B, D)."""
        return self.sequence(features["tokens"], features["mask"])


def _sound_network(config: dict[str, Any]) -> Any:
    """Build a network of sounds, frozen.

    Raises:
        InputError: It is no MobileNet of one channel.
    """
    if config.get("model_type") != "mobilenet_v1" or config.get("num_channels") != 1:
        found = f"{config.get('model_type')!r} of {config.get('num_channels', 3)} channels"
        raise InputError(f"audio tower: sounds is a network {found}; give a 'mobilenet_v1' of 1 channel")
    network = build_backbone(config)
    network.requires_grad_(False)
    return network
