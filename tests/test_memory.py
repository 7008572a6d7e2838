"""What a model remembers of its captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from train.conditions import Conditions
from train.memorise import meant_by, memorise
from train.recipes.tiny import TINY
from unclip_mm import UnCLIPMultimodalPipeline
from unclip_mm.data.cache import ModalityCache
from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.memory import EmbeddingMemory

DIM = 32
VOICE = (16_000, np.sin(np.arange(9600) / 6).astype(np.float32))


def unit(rows: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture(scope="module")
def captions() -> torch.Tensor:
    return unit(50)


@pytest.fixture(scope="module")
def memory(captions: torch.Tensor) -> EmbeddingMemory:
    return EmbeddingMemory.of({"text": captions, "image": unit(30, 7)})


@pytest.fixture
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_what_is_near_a_caption_becomes_it(memory: EmbeddingMemory, captions: torch.Tensor) -> None:
    heard = F.normalize(captions + 0.3 * unit(50, 1), dim=-1)
    recalled = memory.recall(heard, "text", 0.005)
    assert float((recalled * captions).sum(dim=-1).min()) > 0.999
    assert float((heard * captions).sum(dim=-1).max()) < 0.999


def test_the_temperature_is_how_widely_it_looks(memory: EmbeddingMemory, captions: torch.Tensor) -> None:
    far = memory.recall(unit(4, 2), "text", 1e4)
    torch.testing.assert_close(far, F.normalize(captions.mean(dim=0), dim=0).expand(4, -1), atol=0.02, rtol=0)
    middle = memory.recall(unit(4, 2), "text", 0.1)
    attention = (unit(4, 2) @ captions.mT / 0.1).softmax(dim=-1)
    torch.testing.assert_close(middle, F.normalize(attention @ captions, dim=-1), atol=0.02, rtol=0)
    torch.testing.assert_close(middle.norm(dim=-1), torch.ones(4))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_greater_than_zero(memory: EmbeddingMemory, temperature: float) -> None:
    with pytest.raises(InputError, match="recall: a temperature of"):
        memory.recall(unit(2), "text", temperature)


def test_there_is_no_memory_without_captions(pipe: UnCLIPMultimodalPipeline, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no captions of pictures"):
        memorise(TINY, tmp_path, pipe.encoder, pipe.normalizer)
    with pytest.raises(InputError, match="nothing is looked up among 'audio'"):
        memorise(replace(TINY, recall={"text": ("audio", 0.1)}), tmp_path, pipe.encoder, pipe.normalizer)
    assert memorise(replace(TINY, recall={}, examples={}), tmp_path, pipe.encoder, pipe.normalizer) is None


def test_nothing_is_found_among_what_is_not_remembered(memory: EmbeddingMemory) -> None:
    with pytest.raises(InputError, match="no point of 'audio' is remembered; this memory has text, image"):
        memory.recall(unit(2), "audio", 0.1)


def test_only_what_has_a_temperature_is_recalled(memory: EmbeddingMemory) -> None:
    present = {"audio": torch.tensor([True, False, True])}
    given = Embeddings.from_dict({"text": unit(3, 3), "audio": unit(3, 4), "sketch": unit(3, 5)}, present)
    recalled = memory.recall_each(given, {"audio": ("text", 0.05), "sketch": ("image", 0.05), "smell": ("text", 0.05)})
    assert torch.equal(recalled.present, given.present) and recalled.modalities == given.modalities
    torch.testing.assert_close(recalled["text"], given["text"])
    torch.testing.assert_close(recalled["audio"][[0, 2]], memory.recall(given["audio"][[0, 2]], "text", 0.05))
    torch.testing.assert_close(recalled["sketch"], memory.recall(given["sketch"], "image", 0.05))
    assert not recalled["audio"][1].any()


def test_examples_lead_to_what_they_mean(captions: torch.Tensor, tmp_path: Path) -> None:
    sounds, meant = unit(6, 9), torch.tensor([3, 3, 10, 11, 12, 49])
    memory = EmbeddingMemory.of({"text": captions}, {"audio": (sounds, meant)})
    given = {"text": F.normalize(sounds + 0.1 * unit(6, 10), dim=-1)}
    given["audio"] = given["text"]
    recalled = memory.recall_each(Embeddings.from_dict(given), {"audio": ("text", 0.01), "text": ("text", 0.01)})
    torch.testing.assert_close(recalled["audio"], captions[meant], atol=0.02, rtol=0)
    torch.testing.assert_close(recalled["text"], memory.recall(given["text"], "text", 0.01))  # it has no examples
    keys, values = torch.cat([captions, sounds]), torch.cat([captions, captions[meant]])
    attention = (unit(4, 2) @ keys.mT / 0.1).softmax(dim=-1)
    expected = F.normalize(attention @ values, dim=-1)
    torch.testing.assert_close(memory.recall(unit(4, 2), "text", 0.1, "audio"), expected, atol=0.02, rtol=0)
    memory.save_pretrained(tmp_path)
    again = EmbeddingMemory.from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert torch.equal(again.recall(unit(4, 2), "text", 0.1, "audio"), memory.recall(unit(4, 2), "text", 0.1, "audio"))


def test_an_example_of_several_things_is_of_the_nearest(captions: torch.Tensor) -> None:
    concepts = [f"thing {number}" for number in range(50)]
    neigh, bark = F.normalize(captions[7] + 0.5 * captions[8], dim=0), captions[20]
    examples = torch.stack([neigh, neigh, bark, bark])
    kept, meant = meant_by(examples, ["thing 8", "thing 7", "unheard of", "thing 20"], captions, concepts)
    assert torch.equal(kept, torch.stack([neigh, bark])) and meant.tolist() == [7, 20]
    two_pictures = meant_by(examples[:1], ["thing"], captions[6:9], ["other", "thing", "thing"])
    assert two_pictures[1].tolist() == [1]  # of several points of its thing the nearest
    assert [len(part) for part in meant_by(examples, ["unheard of"] * 4, captions, concepts)] == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_it_is_saved_in_eight_bits(memory: EmbeddingMemory, tmp_path: Path, dtype: torch.dtype) -> None:
    memory.save_pretrained(tmp_path)
    again = EmbeddingMemory.from_pretrained(tmp_path, torch_dtype=dtype)
    assert {known.dtype for known in again.buffers()} == {torch.int8}
    assert all(torch.equal(again.vectors(name), memory.vectors(name)) for name in ("text", "image"))
    assert again.recall(unit(2, 5).to(dtype), "text", 0.1).dtype == dtype
    assert (tmp_path / "diffusion_pytorch_model.safetensors").stat().st_size < 80 * DIM + 300


def test_a_voice_is_taken_to_what_it_means_with_and_without_the_prior(pipe: UnCLIPMultimodalPipeline) -> None:
    both = pipe.encode(text=["a red circle", None], audio=[None, VOICE])
    meant = pipe.normalizer.moved(both)
    known = torch.cat([unit(20, 6)[:, : pipe.encoder.dim], meant["text"][:1]])
    call = {"audio": VOICE, "seeds": 0, "output_type": "pt"}
    before, plain = pipe.meaning(both), pipe(**call).images
    free = pipe(**call, use_prior=False).images
    pipe.register_modules(memory=EmbeddingMemory.of({"text": known}))
    pipe.register_to_config(recall={"audio": ("text", 0.1)})
    after = pipe.meaning(both)
    expected = pipe.memory.recall(meant["audio"][1:], "text", 0.1)
    recalled, freely_recalled = pipe(**call).images, pipe(**call, use_prior=False).images
    torch.testing.assert_close(after[:1], before[:1])
    torch.testing.assert_close(after[1:], expected)
    assert not torch.equal(recalled, plain)
    asked_alike = {"embeddings": expected, "use_prior": False, "seeds": 0, "output_type": "pt"}
    assert not torch.equal(freely_recalled, free)
    torch.testing.assert_close(freely_recalled, pipe(**asked_alike).images)


def test_training_asks_with_what_is_recalled_as_well(pipe: UnCLIPMultimodalPipeline) -> None:
    items = [{"concept": str(number), "split": "train"} for number in range(6)]
    pixels = torch.randint(0, 256, (6, 1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    caches = {"image": ModalityCache({}, items), "sketch": ModalityCache({"pixels": pixels}, items)}
    memory = EmbeddingMemory.of({name: unit(20, 8)[:, : pipe.encoder.dim] for name in ("text", "image")})
    given = (caches, pipe.encoder, pipe.normalizer, "train", TINY.prior)
    plain = Conditions(*given).vectors["sketch"].float()
    recalled = Conditions(*given, memory, {"sketch": ("text", 0.05)}).vectors["sketch"].float()
    torch.testing.assert_close(recalled, memory.recall(plain, "text", 0.05), atol=2e-2, rtol=0)
    assert not torch.allclose(recalled, plain, atol=0.1)
    assert torch.equal(Conditions(*given, memory, {}).vectors["sketch"].float(), plain)
    pictured = Conditions(*given, memory, {"sketch": ("image", 0.05)})  # then it is asked with as a picture
    assert pictured.modalities == ("image",) and not pictured.vectors


def test_what_is_led_away_from_is_taken_as_it_is(pipe: UnCLIPMultimodalPipeline) -> None:
    meant = pipe.normalizer.moved(pipe.encode(text=["a red circle", "a blue square"]))["text"]
    pipe.register_modules(memory=EmbeddingMemory.of({"text": meant[1:]}))
    picture = Image.linear_gradient("L").convert("RGB").resize((32, 32))
    call = {"image": picture, "negative_text": "a red circle", "seeds": 0}
    pictures = []
    for recall in ({}, {"text": ("text", 0.1)}):
        pipe.register_to_config(recall=recall)
        pictures.append(pipe(**call, output_type="pt").images)
    assert torch.equal(*pictures)
    assert not torch.equal(pictures[0], pipe(**call | {"negative_text": "a blue square"}, output_type="pt").images)


def test_the_bundled_model_makes_out_what_it_was_taught() -> None:
    bundled = UnCLIPMultimodalPipeline.from_pretrained("pictograms")
    words = ["apple", "dog", "umbrella", "guitar"]
    meant = bundled.normalizer.moved(bundled.encode(text=words))["text"]
    off = F.normalize(meant + 0.7 * F.normalize(torch.randn(meant.shape, generator=torch.manual_seed(0)), dim=-1))
    recalled = bundled.memory.recall(off, *bundled.config.recall["audio"])
    assert float((recalled * meant).sum(dim=-1).min()) > 0.9 > float((off * meant).sum(dim=-1).max())
