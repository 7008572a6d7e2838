"""What the audio tower hears: the backbone's states, and beside them, if it is told so, the spectrum itself."""

from __future__ import annotations

import pytest
import torch

from unclip_mm.towers import AudioTower

BACKBONE = {
    "model_type": "whisper",
    "d_model": 8,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "num_mel_bins": 5,
    "max_source_positions": 6,
}


def tower(spectrum: bool) -> AudioTower:
    torch.manual_seed(0)
    return AudioTower(4, BACKBONE, pool=2, width=8, depth=1, dropout=0.0, spectrum=spectrum).eval()


@pytest.fixture
def recording() -> dict[str, torch.Tensor]:
    """Two recordings of two windows of 12 frames; the second lasts 14 frames in all."""
    mel = torch.randn(2, 2, 5, 12, generator=torch.Generator().manual_seed(1))
    return {"mel": mel, "frames": torch.tensor([24, 14])}


def test_the_spectrum_lies_beside_the_states_of_the_same_time(recording: dict[str, torch.Tensor]) -> None:
    without, beside = (tower(spectrum).features(recording) for spectrum in (False, True))
    assert without["tokens"].shape == (2, 6, 8) and beside["tokens"].shape == (2, 6, 13)
    assert torch.equal(without["mask"], beside["mask"]) and beside["mask"][1].tolist() == [True] * 4 + [False] * 2
    torch.testing.assert_close(beside["tokens"][..., :8], without["tokens"])
    frames = recording["mel"].transpose(1, 2).flatten(2)  # (B, bins, all frames)
    for token in range(6):
        expected = frames[:, :, 4 * token : 4 * token + 4].mean(dim=2)
        torch.testing.assert_close(beside["tokens"][:, token, 8:], expected)


def test_the_head_hears_it(recording: dict[str, torch.Tensor]) -> None:
    listening = tower(True)
    heard = listening.features(recording)
    louder = {**heard, "tokens": torch.cat([heard["tokens"][..., :8], heard["tokens"][..., 8:] + 1], dim=-1)}
    assert not torch.allclose(listening(heard), listening(louder), atol=1e-3)
