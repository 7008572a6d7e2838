"""What the audio tower hears: the backbone's last states, and, if it is told so, earlier ones and the spectrum itself."""

from __future__ import annotations

import pytest
import torch

from unclip_mm.errors import InputError
from unclip_mm.towers import AudioTower

BACKBONE = {
    "model_type": "whisper",
    "d_model": 8,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "num_mel_bins": 5,
    "max_source_positions": 6,
}


def tower(spectrum: bool = False, layers: tuple[int, ...] = ()) -> AudioTower:
    torch.manual_seed(0)
    return AudioTower(4, BACKBONE, pool=2, width=8, depth=1, dropout=0.0, layers=layers, spectrum=spectrum).eval()


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


def test_earlier_states_lie_beside_the_last(recording: dict[str, torch.Tensor]) -> None:
    listening = tower(spectrum=True, layers=(1,))
    tokens = listening.features(recording)["tokens"]
    with torch.no_grad():
        states = listening.backbone(recording["mel"].flatten(0, 1), output_hidden_states=True).hidden_states
    first = torch.nn.functional.layer_norm(states[1], (8,)).unflatten(1, (3, 2)).mean(dim=2)
    torch.testing.assert_close(tokens[..., 8:16], first.unflatten(0, (2, 2)).flatten(1, 2))
    without = tower(spectrum=True).features(recording)["tokens"]
    torch.testing.assert_close(torch.cat([tokens[..., :8], tokens[..., 16:]], dim=-1), without)
    assert listening(listening.features(recording)).shape == (2, 4)


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_layer_that_is_not_there_is_refused(layer: int) -> None:
    with pytest.raises(InputError, match=f"no layer {layer} to listen to; give 0 to 1"):
        tower(layers=(layer,))
