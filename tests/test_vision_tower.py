"""What the vision tower takes as its backbone: networks of tokens, and networks of maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, ConvNextConfig, ConvNextModel, SiglipConfig, SiglipModel

from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.towers import VisionTower
from unclip_mm.towers.vision import thicker

VIT = {
    "model_type": "vit",
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 1,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
CONVNEXT = {
    "model_type": "convnext",
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 1,
    "num_stages": 2,
    "hidden_sizes": [4, 8],
    "depths": [1, 1],
}


@pytest.mark.parametrize(("backbone", "tokens"), [(VIT, 17), (CONVNEXT, 4)])
def test_every_place_is_a_token_and_every_weight_is_trained(backbone: dict[str, Any], tokens: int) -> None:
    torch.manual_seed(0)
    tower = VisionTower(4, backbone, detail=2, channels=3)
    drawings = {"pixels": torch.randn(3, 1, 16, 16)}
    assert tower.run_backbone(drawings)["tokens"].shape == (3, tokens, 8)
    embedded = tower(drawings)
    assert embedded.shape == (3, 6)
    embedded.square().sum().backward()
    assert all(weight.grad is not None for weight in tower.parameters())


def test_layout_is_kept() -> None:
    torch.manual_seed(0)
    tower = VisionTower(4, CONVNEXT, channels=3).eval()
    drawing = torch.ones(1, 1, 16, 16)
    drawing[..., :4, :4] = -1
    with torch.no_grad():
        here, there = tower({"pixels": drawing}), tower({"pixels": drawing.flip(-1)})
    assert not torch.allclose(here, there, atol=1e-3)


def test_a_folder_of_a_convolutional_network_is_a_frozen_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ConvNextModel(ConvNextConfig(**{k: v for k, v in CONVNEXT.items() if k != "model_type"})).eval()
    network.save_pretrained(tmp_path / "network")
    options = {"type": "vision", "backbone": str(tmp_path / "network"), "frozen": True, "channels": 3}
    encoder = build_encoder(4, {"sketch": options}).eval()
    drawings = {"pixels": torch.randn(2, 1, 16, 16)}
    seen = network(pixel_values=drawings["pixels"]).last_hidden_state
    torch.testing.assert_close(encoder.tower("sketch").run_backbone(drawings)["tokens"], seen.flatten(2).mT)
    encoder.train().embed("sketch", encoder.features("sketch", drawings)).sum().backward()
    gradients = {name: weight.grad is not None for name, weight in encoder.tower("sketch").named_parameters()}
    assert all(there == name.startswith("grid") for name, there in gradients.items())
    encoder.eval()
    encoder.save_pretrained(tmp_path / "encoder")
    again = MultimodalEncoder.from_pretrained(tmp_path / "encoder").eval()
    torch.testing.assert_close(again({"sketch": drawings}).vectors, encoder({"sketch": drawings}).vectors)


def test_lines_are_thicker_in_use_and_not_in_training() -> None:
    torch.manual_seed(0)
    tower = VisionTower(4, VIT, channels=3, thicken=0.4)
    as_it_is = VisionTower(4, VIT, channels=3)
    as_it_is.load_state_dict(tower.state_dict())
    drawing = torch.ones(1, 1, 16, 16)
    drawing[..., 6, 3:12] = -1
    wide = thicker(drawing, 0.4)
    assert (wide[0, 0, 5:8, 7] < 1).all() and (wide[0, 0, [4, 8], 7] == 1).all()
    with torch.no_grad():
        torch.testing.assert_close(tower.train()({"pixels": drawing}), as_it_is({"pixels": drawing}))
        torch.testing.assert_close(tower.eval()({"pixels": drawing}), as_it_is({"pixels": wide}))
        assert not torch.allclose(tower({"pixels": drawing}), as_it_is({"pixels": drawing}), atol=1e-3)


@pytest.mark.parametrize("thicken", [-0.1, 1.1])
def test_how_much_thicker_is_a_share(thicken: float) -> None:
    with pytest.raises(InputError, match="thicken: lines cannot be thicker by"):
        VisionTower(4, VIT, thicken=thicken)


def test_a_pretrained_network_sees_what_it_was_trained_on(tmp_path: Path) -> None:
    """Its size, its channels, its mean and deviation; of a network of pictures and texts the half that sees."""
    torch.manual_seed(0)
    seeing = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = CLIPConfig(
        text_config={**seeing, "vocab_size": 9}, vision_config={**seeing, "image_size": 24, "patch_size": 8}
    )
    network = CLIPModel(both).eval()
    network.save_pretrained(tmp_path)
    mean, std = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
    settings = {"image_processor_type": "CLIPImageProcessor", "image_mean": mean, "image_std": std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    encoder = build_encoder(4, {"sketch": {"type": "vision", "backbone": str(tmp_path), "channels": 3}}).eval()
    drawing = torch.rand(2, 1, 24, 24) * 2 - 1
    wanted = ((drawing.expand(-1, 3, -1, -1) + 1) / 2 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    with torch.no_grad():
        seen = encoder.tower("sketch").run_backbone({"pixels": drawing})["tokens"]
        torch.testing.assert_close(seen, network.vision_model(pixel_values=wanted).last_hidden_state)
        larger = drawing.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        again = encoder.tower("sketch").run_backbone({"pixels": larger})["tokens"]
    assert float(F.cosine_similarity(again, seen, dim=-1).min()) > 0.9
    (tmp_path / "preprocessor_config.json").write_text("no JSON")
    with pytest.raises(
        CheckpointError, match=r"preprocessor_config.json cannot be read .* give the tower's mean and std"
    ):
        VisionTower.options_of(str(tmp_path))
    with torch.no_grad():
        half = encoder.to(torch.bfloat16).embed("sketch", {"pixels": larger.bfloat16()})
    assert bool(half.isfinite().all())


@pytest.mark.parametrize("kind", ["convnext", "siglip"])
def test_a_frozen_network_that_sees_is_kept_in_eight_bits(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    if kind == "convnext":
        network: Any = ConvNextModel(ConvNextConfig(**{k: v for k, v in CONVNEXT.items() if k != "model_type"}))
    else:
        seeing = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        vision = {**seeing, "image_size": 16, "patch_size": 8}
        network = SiglipModel(SiglipConfig(text_config={**seeing, "vocab_size": 9}, vision_config=vision))
    network.save_pretrained(tmp_path / "network")
    options = {"type": "vision", "backbone": str(tmp_path / "network"), "frozen": True, "channels": 3}
    encoder = build_encoder(4, {"sketch": options}).eval()
    drawings = {"pixels": torch.rand(2, 1, 16, 16) * 2 - 1}
    with torch.no_grad():
        before = encoder.embed("sketch", drawings)
        encoder.quantize()
        encoder.save_pretrained(tmp_path / "encoder")
        again = MultimodalEncoder.from_pretrained(tmp_path / "encoder").eval().embed("sketch", drawings)
    assert float(F.cosine_similarity(again, before, dim=-1).min()) > 0.98


@pytest.mark.parametrize(("size", "side"), [((24, 24), 24), ([16, 24], None)])
def test_sizes_of_pictures_are_squares(size: Any, side: int | None) -> None:
    if side is None:
        with pytest.raises(InputError, match="backbone: sees pictures of 16 x 24; give one that sees squares"):
            VisionTower(4, {**CONVNEXT, "image_size": size})
    else:
        assert VisionTower(4, {**CONVNEXT, "image_size": size}).side == side
