"""What the audio tower hears: the backbone's last states, and, if told so, earlier ones, the spectrum, and sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, WhisperFeatureExtractor

from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import InputError
from unclip_mm.inputs.spectrogram import sound_spectrogram
from unclip_mm.processing import AudioProcessor, MultimodalProcessor
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


SOUNDS = {"model_type": "mobilenet_v1", "num_channels": 1, "depth_multiplier": 0.25, "hidden_act": "relu"}
HEARING = {"type": "audio", "backbone": BACKBONE, "width": 8, "depth": 1, "dropout": 0.0, "sounds": SOUNDS}
STATES = 256
"""Of the last layer of such a network."""


def hearing() -> AudioTower:
    torch.manual_seed(0)
    return AudioTower(4, **{name: value for name, value in HEARING.items() if name != "type"}).eval()


@pytest.fixture
def noisy(recording: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The recordings with what a network of sounds is given of them."""
    return recording | {"sound": torch.randn(2, 2, 64, 12, generator=torch.Generator().manual_seed(2))}


def test_what_a_network_of_sounds_knows_lies_beside_the_speech_of_the_same_time() -> None:
    torch.manual_seed(0)
    backbone = {**BACKBONE, "max_source_positions": 48}
    listening = AudioTower(4, backbone, pool=2, width=8, depth=1, dropout=0.0, sounds=SOUNDS).eval()
    windows = {"mel": torch.randn(2, 2, 5, 96), "frames": torch.tensor([192, 100]), "sound": torch.randn(2, 2, 64, 96)}
    tokens = listening.features(windows)["tokens"]
    assert tokens.shape == (2, 48, 8 + STATES)  # of a window 24 tokens of 4 frames, 3 states of 32
    with torch.no_grad():
        states = listening.sounds(windows["sound"].flatten(0, 1).mT[:, None]).last_hidden_state
    assert states.shape[:3] == (4, STATES, 3)
    expected = torch.nn.functional.layer_norm(states.mean(dim=3).mT, (STATES,)).repeat_interleave(8, dim=1)
    torch.testing.assert_close(tokens[..., 8:], expected.unflatten(0, (2, 2)).flatten(1, 2))


def test_what_comes_after_a_recording_in_a_batch_changes_nothing() -> None:
    listening = hearing()
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 1600).astype(np.float32)
    processor = AudioProcessor(WhisperFeatureExtractor(5, chunk_length=1), sounds=True)
    alone, beside = (processor(waves, ["a", "b"][: len(waves)]) for waves in ([wave], [wave, np.tile(wave, 20)]))
    torch.testing.assert_close(alone["sound"][0, 0], beside["sound"][0, 0])
    heard = [listening._hear(made["sound"].flatten(0, 1), 50)[0] for made in (alone, beside)]
    torch.testing.assert_close(*heard)


def test_the_network_of_sounds_is_never_trained(noisy: dict[str, torch.Tensor]) -> None:
    listening = AudioTower(4, BACKBONE, frozen=False, width=8, depth=1, sounds=SOUNDS).train()
    before = {name: value.clone() for name, value in listening.sounds.state_dict().items()}
    listening(listening.features(noisy)).square().sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in listening.sounds.state_dict().items())
    assert all(weight.grad is None for weight in listening.sounds.parameters())
    assert listening.backbone.conv1.weight.grad is not None  # that of speech is


@pytest.mark.parametrize("wrong", [{"num_channels": 3}, {"model_type": "vit"}])
def test_another_network_for_sounds_is_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=r"sounds is a network .*; give a 'mobilenet_v1' of 1 channel"):
        AudioTower(4, BACKBONE, sounds={**SOUNDS, **wrong})


def test_a_pretrained_network_of_sounds_is_loaded_and_kept_in_8_bits(tmp_path: Path, noisy: dict) -> None:
    listening = hearing()
    for bias in (layer.normalization.bias for layer in listening.sounds.layer):
        torch.nn.init.uniform_(bias, -0.2, 0.2)
    listening.sounds.save_pretrained(tmp_path / "sounds")
    assert isinstance(AutoModel.from_pretrained(tmp_path / "sounds"), type(listening.sounds))
    encoder = build_encoder(4, {"audio": {**HEARING, "sounds": str(tmp_path / "sounds")}}).eval()
    whole = encoder.features("audio", noisy)["tokens"]
    torch.testing.assert_close(whole[..., 8:], listening.features(noisy)["tokens"][..., 8:])
    encoder.quantize()
    encoder.save_pretrained(tmp_path / "encoder")
    rounded = MultimodalEncoder.from_pretrained(tmp_path / "encoder").features("audio", noisy)["tokens"]
    torch.testing.assert_close(rounded, encoder.features("audio", noisy)["tokens"])
    assert 0 < (rounded - whole)[..., 8:].norm() < 0.1 * whole[..., 8:].norm()


def test_the_processor_makes_what_both_networks_are_given(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    processor = MultimodalProcessor({"audio": AudioProcessor(WhisperFeatureExtractor(chunk_length=1), sounds=True)})
    processor.save_pretrained(tmp_path)
    for made in (processor, MultimodalProcessor.from_pretrained(tmp_path)):
        features = made({"audio": [wave, wave[:8000]]})["audio"]
        assert features["mel"].shape == (2, 2, 80, 100) and features["sound"].shape == (2, 2, 64, 100)
        silence = float(np.log(1e-3))
        frames = features["sound"][1].transpose(0, 1).flatten(1)
        assert (frames[:, 51:] - silence).abs().max() < 1e-4 and frames[:, :49].min() > silence


def test_a_frame_is_what_its_samples_say() -> None:
    wave = torch.randn(1, 1600, generator=torch.Generator().manual_seed(0))
    frame = sound_spectrogram(wave)[0, :, 3]
    samples = wave[0, 480:880] * torch.hann_window(400)
    magnitudes = torch.fft.rfft(samples.double(), 512).abs()
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (125, 7500))
    edges = torch.linspace(low, high, 66, dtype=torch.float64)
    for band in (5, 30, 60):  # triangles in Hz, as transformers makes them
        hertz = 700 * (10 ** (edges[band : band + 3] / 2595) - 1)
        x = torch.arange(257).double() * 16000 / 512
        triangle = torch.minimum((x - hertz[0]) / (hertz[1] - hertz[0]), (hertz[2] - x) / (hertz[2] - hertz[1])).clamp(
            min=0
        )
        torch.testing.assert_close(
            frame[band].double(), ((triangle * magnitudes).sum() + 1e-3).log(), atol=1e-3, rtol=0
        )
