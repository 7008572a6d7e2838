"""Audio: a Whisper encoder over windows of a few seconds, and a transformer head over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from unclip_mm.errors import InputError
from unclip_mm.towers.base import Features, Tower, backbone_config, loading_from
from unclip_mm.towers.heads import SequenceHead


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

    Raises:
        InputError: The backbone has no such layer.
    """

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
    ):
        super().__init__(WhisperEncoder(backbone_config(backbone)), frozen)
        self.pool, self.layers, self.spectrum = pool, tuple(layers), spectrum
        config = self.backbone.config
        unknown = [layer for layer in self.layers if not 0 <= layer < config.encoder_layers]
        if unknown:
            raise InputError(f"audio tower: no layer {unknown[0]} to listen to; give 0 to {config.encoder_layers - 1}")
        features = config.d_model * (1 + len(self.layers)) + (config.num_mel_bins if spectrum else 0)
        self.sequence = SequenceHead(features, width, depth, dim, dropout=dropout)

    @classmethod
    def load_backbone(cls, source: str) -> nn.Module:
        """Load the encoder of a Whisper checkpoint: a whole model, or an encoder saved alone."""

        def load() -> nn.Module:
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
        tokens = pooled.transpose(1, 2).unflatten(0, mel.shape[:2]).flatten(1, 2)
        stride = mel.shape[-1] * mel.shape[1] / tokens.shape[1]
        starts = (tokens.new_ones(tokens.shape[1]).cumsum(0) - 1) * stride
        return {"tokens": tokens, "mask": starts[None] < frames[:, None]}

    def head(self, features: Features) -> Tensor:
        """Map the states over time to (B, D)."""
        return self.sequence(features["tokens"], features["mask"])
