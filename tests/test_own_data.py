"""Training on data that is not as the recipes' own: what is missing in it, what is added later, what is in other units."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from train import embed
from train.conditions import Conditions
from train.config import EncoderConfig, LoopConfig
from train.encoder import EncoderLoss, anchored, check_options, train_encoder
from train.encoder_batches import Batches
from train.loop import train
from train.recipes.tiny import TINY
from train.run import prepare_data
from train.stage import Stage
from unclip_mm.data.cache import ModalityCache
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.encoder import MultimodalEncoder, build_encoder
from unclip_mm.errors import InputError, TrainingError
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.processing import MultimodalProcessor

LOOP = LoopConfig(steps=2, batch_size=4, learning_rate=1e-3, log_every=50, validate_every=2)
VECTOR = {"type": "vector", "features": 2, "width": 8}


def cached(run: Path, modality: str, tensors: dict[str, torch.Tensor], splits: str) -> None:
    """Write a cache of one item a concept; ``splits`` has a letter for each: train or validation."""
    names = {"t": "train", "v": "validation"}
    items = [{"row": f"{modality}-{i}", "concept": f"c{i}", "split": names[s]} for i, s in enumerate(splits)]
    ModalityCache(tensors, items).save(run / "cache", modality)


def pixels(count: int) -> dict[str, torch.Tensor]:
    return {"pixels": torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)}


def test_a_tower_is_added_to_an_encoder_that_was_trained_without_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cached(tmp_path, "image", pixels(8), "ttttttvv")
    cached(tmp_path, "imu", {"vector": torch.randn(8, 2)}, "ttttttvv")
    towers = {"image": TINY.encoder.towers["image"], "imu": VECTOR}
    before = build_encoder(TINY.encoder.dim, {"image": towers["image"]})
    before.save_pretrained(tmp_path / "export" / "encoder")
    EmbeddingNormalizer(before.image_embedding_dim, before.dim, ("image",)).save_pretrained(
        tmp_path / "export" / "normalizer"
    )
    config = replace(TINY.encoder, towers=towers, only=("imu",), later_anchor="image", later_loop=LOOP)
    train_encoder(Stage("encoder", replace(TINY, encoder=config), config, tmp_path))
    after = MultimodalEncoder.from_pretrained(tmp_path / "export" / "encoder")
    assert after.modalities == ("image", "imu")
    for name, weight in before.tower("image").state_dict().items():
        torch.testing.assert_close(after.tower("image").state_dict()[name], weight, rtol=0, atol=0)
    assert EmbeddingNormalizer.from_pretrained(tmp_path / "export" / "normalizer").config.modalities == ["image", "imu"]
    with pytest.raises(InputError, match=r"extend: both have a tower of 'image'"):
        after.extend(before)


def test_a_concept_without_a_picture_is_trained_on_where_another_modality_is_the_anchor() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(TINY.encoder.dim, {"image": TINY.encoder.towers["image"], "imu": VECTOR})
    loss = EncoderLoss(replace(TINY.encoder, anchor="imu", objective="unialign"), encoder, TINY.image_size)
    pictured = torch.tensor([True, False, True, True])
    batch = {
        "image": ({"pixels": torch.rand(3, 3, 32, 32)}, pictured),
        "imu": ({"vector": torch.randn(4, 2)}, torch.ones(4, dtype=torch.bool)),
    }
    losses = loss(batch, torch.randn(4, encoder.image_embedding_dim))
    assert all(torch.isfinite(value).all() for value in losses.values()) and "reconstruction_loss" in losses


def test_no_modality_but_the_pictures_needs_to_be_there_for_validation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cached(tmp_path, "image", pixels(4), "tttv")
    cached(tmp_path, "imu", {"vector": torch.randn(3, 2)}, "ttt")
    encoder = build_encoder(TINY.encoder.dim, {"image": TINY.encoder.towers["image"], "imu": VECTOR}).eval()
    normalizer = EmbeddingNormalizer(encoder.image_embedding_dim, encoder.dim, encoder.modalities)
    recipe = replace(TINY, encoder=replace(TINY.encoder, towers={"image": {}, "imu": {}}))
    caches = Stage("prior", recipe, recipe.prior, tmp_path).caches()
    conditions = Conditions(caches, encoder, normalizer, "validation", TINY.prior)
    asked = conditions.draw(["c3"], torch.randn(1, encoder.image_embedding_dim), 0.0, torch.Generator().manual_seed(0))
    assert asked.shape == (1, encoder.dim) and bool(asked.isfinite().all())


def test_pictures_without_any_for_validation_are_one_line(tmp_path: Path) -> None:
    cached(tmp_path, "image", pixels(3), "ttt")
    with pytest.raises(InputError, match=r'of 3 concepts with pictures none .* mark the rows .* "split": "validation"'):
        Stage("decoder", TINY, TINY.decoder, tmp_path).caches("image")


def test_a_modality_that_the_data_lacks_is_one_line(tmp_path: Path) -> None:
    make_synthetic_world(tmp_path / "data", image_size=32, variations=1)
    file = tmp_path / "data" / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows if "sketch" not in row))
    with pytest.raises(InputError, match=r"no row to train on has 'sketch', for which the recipe has a tower"):
        embed.main("tiny", tmp_path / "data", tmp_path / "run", ("sketch",))


def test_a_folder_without_data_is_one_line_and_the_synthetic_world_is_made_where_none_is_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mydta: no metadata.jsonl there; see docs/data.md"):
        prepare_data("synthetic", tmp_path / "mydta", tmp_path)
    with pytest.raises(InputError, match=r"train.pictograms --output"):
        prepare_data("pictograms", tmp_path / "pictograms", tmp_path)
    assert not list(tmp_path.iterdir())
    made = prepare_data("synthetic", None, tmp_path)
    assert (made / "metadata.jsonl").is_file() and prepare_data("synthetic", made, tmp_path / "other") == made


def test_vectors_are_cached_as_they_are(tmp_path: Path) -> None:
    recipe = replace(TINY, encoder=replace(TINY.encoder, towers={"imu": VECTOR}))
    pressure = np.array([101325.0, 1e-7], dtype=np.float32)
    np.save(tmp_path / "pressure.npy", pressure)
    about = {"row": "a", "concept": "a", "split": "train"}
    encoder, processor = build_encoder(8, {"imu": VECTOR}).eval(), embed.build_processor(recipe, [])
    cache = embed.compute(encoder, processor, "imu", [embed.Item(tmp_path / "pressure.npy", about)])
    cache.save(tmp_path, "imu")
    np.testing.assert_array_equal(ModalityCache.load(tmp_path, "imu").features([0])["vector"][0].numpy(), pressure)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["imu.json", "imu.safetensors", "pressure.npy"]


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_not_checkpointed(tmp_path: Path, where: str) -> None:
    layer = torch.nn.Linear(1, 1)

    def loss(model: torch.nn.Module, step: object) -> dict[str, torch.Tensor]:
        made = model(torch.zeros(1, 1)).sum()
        return {"some_loss": made * torch.nan if where == "loss" else (made - made.detach()).abs().sqrt()}

    with pytest.raises(TrainingError, match=r"run: not finite at step 0: .*; try a lower learning rate"):
        train(replace(LOOP, save_minutes=0.0), layer, loss, tmp_path, description="run")
    assert not list(tmp_path.glob("checkpoint-*"))


def test_two_precisions_in_one_process_are_refused_before_anything_is_trained() -> None:
    written = replace(TINY.encoder, later=("audio",), loop=LOOP, later_loop=replace(LOOP, mixed_precision="bf16"))
    with pytest.raises(InputError, match=r"--loop.mixed-precision no: .* give --later-loop.mixed-precision too"):
        check_options(written, written)
    check_options(replace(written, later=()), replace(written, later=()))


def test_a_part_is_exported_whole_or_not_at_all(tmp_path: Path) -> None:
    class Unwritable(EmbeddingNormalizer):
        def save_pretrained(self, *_: object, **__: object) -> None:
            raise OSError("no space left")

    stage = Stage("finetune", TINY, TINY.finetune, tmp_path)
    normalizer = EmbeddingNormalizer(4, 2, ("image",))
    stage.save(decoder=normalizer)
    with pytest.raises(OSError, match="no space left"):
        stage.save(decoder=normalizer, autoencoder=Unwritable(4, 2, ("image",)))
    assert [path.name for path in stage.export.iterdir()] == ["decoder"]  # and what was written is not in the way:
    stage.save(decoder=normalizer, autoencoder=normalizer)
    assert sorted(path.name for path in stage.export.iterdir()) == ["autoencoder", "decoder"]
    assert [path.name for path in stage.export.parent.iterdir()] == ["finetune"]


def test_rows_without_pictures_do_not_keep_others_from_being_shifted_and_redrawn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    cached(tmp_path, "image", pixels(4), "tttt")
    cached(tmp_path, "sketch", {"pixels": torch.full((6, 1, 32, 32), 255, dtype=torch.uint8)}, "tttttt")
    cached(tmp_path, "imu", {"vector": torch.randn(8, 2)}, "tttttttt")
    caches = {name: ModalityCache.load(tmp_path / "cache", name) for name in ("image", "sketch", "imu")}
    batch = Batches(caches, "imu", 50, 0.0, torch.device("cpu")).draw(8, torch.Generator().manual_seed(0))
    (image, pictured), (sketch, drawn), (_, there) = (batch[name] for name in ("image", "sketch", "imu"))
    assert (int(pictured.sum()), int(drawn.sum()), int(there.sum())) == (4, 6, 8) and not (pictured & ~drawn).any()
    assert len(image["pixels"]) == 4 and len(sketch["pixels"]) == 6
    originals = caches["image"].features(range(4))["pixels"]
    assert all(float((one - originals).abs().amax(dim=(1, 2, 3)).min()) > 0.1 for one in image["pixels"])
    edges = (sketch["pixels"] < 1).any(dim=(1, 2, 3))  # the drawings are blank, so what is seen are edges of pictures
    assert 0 < int(edges.sum()) <= 4
    alone = Batches({"sketch": caches["sketch"], "imu": caches["imu"]}, "imu", 50, 0.0, torch.device("cpu"))
    assert int(alone.draw(8, torch.Generator().manual_seed(0))["sketch"][1].sum()) == 6


def test_a_new_modality_leaves_the_tokenizer_as_it_is(tmp_path: Path) -> None:
    make_synthetic_world(tmp_path / "data", image_size=32, variations=1)
    embed.main("tiny", tmp_path / "data", tmp_path / "run", ("text",))
    words = MultimodalProcessor.from_pretrained(tmp_path / "run" / "export" / "processor")({"text": ["a red circle"]})
    file = tmp_path / "data" / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**r, "text": ["zzz qqq zq"]} if "text" in r else r) + "\n" for r in rows))
    embed.main("tiny", tmp_path / "data", tmp_path / "run", ("sketch",))
    again = MultimodalProcessor.from_pretrained(tmp_path / "run" / "export" / "processor")
    assert torch.equal(again({"text": ["a red circle"]})["text"]["input_ids"], words["text"]["input_ids"])


def test_the_anchor_of_a_later_tower_is_its_own() -> None:
    config = EncoderConfig(objective="infonce", objective_options={"anchor": None})
    assert anchored(config) == {"anchor": None}
    assert anchored(replace(config, only=("audio",), anchor="text")) == {"anchor": "text"}
