"""The pipeline of real classes at tiny size: what it takes, what it gives, and that it comes back from disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from unclip_mm import Embeddings, InputError, UnCLIPMultimodalPipeline
from unclip_mm.diffusion import noise_by_seed
from unclip_mm.embedding_pipeline import AWAY_GUIDANCE, STYLE_GUIDANCE
from unclip_mm.errors import CheckpointError
from unclip_mm.upsampler import enlarge


@pytest.fixture(scope="module")
def pipe(pipeline_folder: Path) -> UnCLIPMultimodalPipeline:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tone(seconds: float = 0.6, hertz: float = 440.0) -> tuple[int, np.ndarray]:
    time = np.arange(int(16_000 * seconds)) / 16_000
    return 16_000, (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def drawing() -> Image.Image:
    image = Image.new("L", (40, 40), 255)
    ImageDraw.Draw(image).ellipse((8, 8, 32, 32), outline=0, width=3)
    return image


def picture(colour: str = "red") -> Image.Image:
    image = Image.new("RGB", (50, 30), "white")
    ImageDraw.Draw(image).rectangle((10, 5, 30, 25), fill=colour)
    return image


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max())


@pytest.mark.parametrize("use_prior", [True, False])
@pytest.mark.parametrize(
    "prompt",
    [
        {"text": "a red circle"},
        {"audio": tone()},
        {"sketch": drawing()},
        {"image": picture()},
        {"text": "a red circle", "audio": tone(), "weights": {"text": 0.3, "audio": 0.7}},
        {"text": "a red circle", "negative_text": "a blue square"},
    ],
    ids=["text", "audio", "sketch", "image", "mix", "negative"],
)
def test_every_prompt_gives_a_picture(pipe: UnCLIPMultimodalPipeline, prompt: dict, use_prior: bool) -> None:
    result = pipe(**prompt, seeds=3, num_inference_steps=2, use_prior=use_prior)
    assert result.seeds == [3]
    assert result.images[0].size == (32, 32)
    assert result.images[0].mode == "RGB"


def test_pictures_are_made_twice_as_large(pipe: UnCLIPMultimodalPipeline) -> None:
    given = {"text": ["a red circle", "a blue square"], "seeds": [1, 2], "num_inference_steps": 2, "output_type": "pt"}
    small, large = (pipe(**given, upsample=upsample).images for upsample in (False, True))
    assert small.shape == (2, 3, 32, 32) and large.shape == (2, 3, 64, 64)
    assert float(large.min()) >= 0 and float(large.max()) <= 1
    bicubic = enlarge(2 * small - 1) / 2 + 0.5
    assert float((large - bicubic.clamp(0, 1)).abs().max()) > 0.01  # the upsampler has its say
    alone = pipe(text="a blue square", seeds=2, num_inference_steps=2, upsample=True).images[0]
    assert alone.size == (64, 64)


def test_a_model_without_an_upsampler_says_so(pipeline_folder: Path) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder, upsampler=None)
    assert pipe(text="a red circle", seeds=1, num_inference_steps=1).images[0].size == (32, 32)
    with pytest.raises(InputError, match="upsample: this model has no upsampler"):
        pipe(text="a red circle", upsample=True)


def test_a_picture_depends_on_its_seed_and_prompt_alone(pipe: UnCLIPMultimodalPipeline) -> None:
    together = pipe(text=["a red circle", "a blue square"], num_images_per_prompt=2, seeds=[1, 2, 3, 2], batch_size=3)
    alone = pipe(text="a blue square", seeds=2)
    assert difference(together.images[3], alone.images[0]) <= 1
    assert difference(together.images[0], together.images[1]) > 1
    assert difference(together.images[1], together.images[3]) > 1


def test_a_number_of_steps_and_guidance_change_the_picture(pipe: UnCLIPMultimodalPipeline) -> None:
    base = pipe(text="a red circle", seeds=0, output_type="pt").images
    for change in (
        {"num_inference_steps": 3},
        {"prior_steps": 3},
        {"guidance_scale": 4.0},
        {"prior_guidance_scale": 4.0},
    ):
        other = pipe(text="a red circle", seeds=0, output_type="pt", **change).images
        assert not torch.equal(base, other), change


def test_a_style_and_what_leads_away_are_guided_more_unless_the_caller_says(pipe: UnCLIPMultimodalPipeline) -> None:
    assert pipe.config.prior_guidance_scale < AWAY_GUIDANCE
    plain = pipe(text="a red circle", seeds=0)
    usual = pipe.config.prior_guidance_scale
    assert plain.prior_guidance_scales == [usual] and usual < STYLE_GUIDANCE < AWAY_GUIDANCE
    away = {"text": "a red circle", "negative_text": "blue", "seeds": 0, "output_type": "pt"}
    by_default, told, less = (pipe(**away, prior_guidance_scale=scale) for scale in (None, AWAY_GUIDANCE, 1.5))
    assert (by_default.prior_guidance_scales, less.prior_guidance_scales) == ([AWAY_GUIDANCE], [1.5])
    assert torch.equal(by_default.images, told.images) and not torch.equal(by_default.images, less.images)
    assert pipe(**away, use_prior=False).prior_guidance_scales is None
    assert pipe(text="a red circle", prior_guidance_scale=1.1, seeds=0).prior_guidance_scales == [1.1]
    styled = pipe(text=["a red circle"] * 2, style=["filled", None], num_images_per_prompt=2, seeds=0)
    assert styled.prior_guidance_scales == [STYLE_GUIDANCE] * 2 + [usual] * 2
    told = pipe(text="a red circle", style="filled", prior_guidance_scale=STYLE_GUIDANCE, seeds=0).images[0]
    assert difference(styled.images[0], told) <= 1
    assert difference(pipe(text="a red circle", style="filled", prior_guidance_scale=6.0, seeds=0).images[0], told) > 1


def test_a_style_changes_the_picture(pipe: UnCLIPMultimodalPipeline) -> None:
    assert pipe.styles == ("filled", "outlined", "shaded")
    words = ["a red circle", "a red circle", "a blue square"]
    made = pipe(text=words, style=["filled", None, "shaded"], num_images_per_prompt=2, seeds=[1, 2] * 3, batch_size=4)
    for row, style in enumerate(["filled", None, "shaded"]):
        alone = pipe(text=words[row], style=style, num_images_per_prompt=2, seeds=1)
        assert all(difference(made.images[2 * row + i], alone.images[i]) <= 1 for i in range(2))
    assert difference(made.images[0], made.images[2]) > 1
    imagined = pipe.imagine(text="a red circle", style="filled", seeds=1)
    assert difference(pipe(embeddings=imagined, seeds=1).images[0], made.images[0]) <= 1


def test_weights_move_the_result_between_its_inputs(pipe: UnCLIPMultimodalPipeline) -> None:
    both = {"text": "a red circle", "audio": tone()}
    only_text = pipe(text="a red circle", weights={"text": 1.0}, seeds=0, output_type="pt").images
    all_text = pipe(**both, weights={"text": 1.0, "audio": 0.0}, seeds=0, output_type="pt").images
    half = pipe(**both, weights={"text": 0.5, "audio": 0.5}, seeds=0, output_type="pt").images
    torch.testing.assert_close(only_text, all_text, atol=1e-4, rtol=0)
    assert not torch.equal(half, all_text)


def test_stored_embeddings_give_the_same_picture(pipe: UnCLIPMultimodalPipeline, tmp_path: Path) -> None:
    embeddings = pipe.encode(text=["a red circle", "a green star"])
    embeddings.save(tmp_path / "e.safetensors")
    stored = pipe(embeddings=Embeddings.load(tmp_path / "e.safetensors"), seeds=5, output_type="pt").images
    direct = pipe(text=["a red circle", "a green star"], seeds=5, output_type="pt").images
    torch.testing.assert_close(stored, direct, atol=1e-4, rtol=0)


def test_image_embeddings_need_no_prior(pipe: UnCLIPMultimodalPipeline) -> None:
    whole = pipe.image_embeddings(picture("green"))
    assert whole.shape == (1, pipe.encoder.image_embedding_dim)
    stored = pipe(embeddings=whole.numpy(), seeds=1, output_type="pt").images
    direct = pipe(image=picture("green"), seeds=1, output_type="pt").images
    torch.testing.assert_close(stored, direct, atol=1e-4, rtol=0)


def test_an_image_can_be_led_away_from_something(pipe: UnCLIPMultimodalPipeline) -> None:
    plain = pipe(image=picture("green"), seeds=1, output_type="pt").images
    led = [
        pipe(image=picture("green"), negative_text=text, seeds=1, output_type="pt").images for text in ("red", "blue")
    ]
    assert not torch.equal(plain, led[0])
    assert not torch.equal(led[0], led[1])


def test_rows_may_lack_modalities(pipe: UnCLIPMultimodalPipeline) -> None:
    embeddings = pipe.encode(text=["a red circle", None], audio=[None, tone()])
    assert embeddings.present.tolist() == [[True, False], [False, True]]
    mixed = pipe(text=["a red circle", None], audio=[None, tone()], seeds=0, output_type="pt").images
    alone = pipe(text="a red circle", seeds=0, output_type="pt").images
    torch.testing.assert_close(mixed[:1], alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "no input"),
        ({"text": []}, "empty list"),
        ({"text": ["a", "b"], "audio": [tone()] * 3}, "2 inputs beside 3"),
        ({"text": "  "}, "text"),
        ({"inputs": {"smell": [1.0]}}, "'smell'"),
        ({"text": "a", "num_images_per_prompt": -1}, "num_images_per_prompt: -1"),
        ({"text": "a", "num_inference_steps": 0}, "num_inference_steps: 0"),
        ({"text": "a", "guidance_scale": float("nan")}, "guidance_scale: nan"),
        ({"text": "a", "weights": {"audio": 1.0}}, "weight of 'audio'"),
        ({"text": "a", "weights": {"text": -1.0}}, "weight of 'text'"),
        ({"image": picture(), "weights": {"text": 1.0}}, "weight of 'text'"),
        ({"embeddings": np.ones((1, 64), dtype=np.float32), "negative_text": "a"}, "negative_text: has no say"),
        ({"text": "a", "negative_text": "b", "prior_guidance_scale": 1}, "has no say at prior_guidance_scale 1"),
        (
            {"text": "a", "negative_text": "b", "use_prior": False, "guidance_scale": 1},
            "has no say at guidance_scale 1",
        ),
        ({"text": "a", "style": "baroque"}, "style: 'baroque' is not known .* it has filled, outlined, shaded"),
        ({"text": "a", "style": ["filled", None]}, "style: 2 for 1 prompts"),
        ({"text": "a", "style": "filled", "use_prior": False}, "style: has no say"),
        ({"image": picture(), "style": "filled"}, "style: has no say"),
        ({"embeddings": np.ones((1, 64), dtype=np.float32), "style": "filled"}, "style: has no say"),
        ({"text": ["a", None, " "], "audio": tone()}, "text of row 2: is blank"),
        ({"text": [None, " "], "audio": tone()}, "text of row 1: is blank"),
        ({"audio": [tone(), (16_000, np.zeros(16_000, dtype=np.float32))]}, "audio of row 1: is silent"),
        ({"text": "a", "seeds": [1, 2]}, "2 for 1 pictures"),
        ({"text": "a", "seeds": -1}, "seeds: -1"),
        ({"text": "a", "seeds": 2**32}, "seeds: 4294967296"),
        ({"text": "a", "seeds": 7.0}, "seeds: 7.0"),
        ({"text": ["a", "b"], "negative_text": ["c", "d", "e"]}, "negative_text: 3 for 2 prompts"),
        ({"text": "a", "output_type": "latent"}, "output_type: 'latent'"),
        ({"embeddings": np.ones((1, 7), dtype=np.float32)}, r"shape \(1, 7\)"),
        ({"embeddings": np.full((1, 32), np.nan, dtype=np.float32)}, "NaN"),
        ({"embeddings": "e"}, "embeddings"),
        ({"embeddings": np.ones((1, 32), dtype=np.float32), "text": "a"}, "either"),
        ({"embeddings": np.full((1, 64), 1e30, dtype=np.float32)}, "embeddings: hold numbers more than 1000 dev"),
        ({"embeddings": Embeddings.from_dict({"text": torch.ones(0, 32)})}, "embeddings: have no rows"),
        ({"text": "a", "prior_steps": 1001}, "prior_steps: 1001 is not allowed; give a whole number from 1 to 1000"),
        ({"text": "a", "guidance_scale": 1e30}, "guidance_scale: 1e.30 is not allowed; give a number from 0 to 100"),
        ({"text": "a", "prior_guidance_scale": 101}, "prior_guidance_scale: 101"),
        ({"text": "a", "weights": [1]}, "weights: list; give a dictionary"),
        ({"text": "a", "weights": {"text": None}}, "weight of 'text': None"),
        ({"text": "a", "weights": {"text": 10**400}}, "weight of 'text': 1000"),
        ({"text": "a", "batch_size": 0}, "batch_size: 0"),
        ({"inputs": ["x"]}, "inputs: list; give a dictionary"),
        ({"text": "a", "style": 5}, "style: 5 is no name"),
        ({"text": "a", "negative_text": []}, "negative_text: an empty list"),
        ({"text": "a", "negative_text": " "}, "negative_text: is blank"),
        ({"text": "🍎"}, "text: '🍎' has what this model's tokenizer does not know: 🍎; give words"),
        ({"text": ["a cat", "a кот"]}, "text of row 1: 'a кот' has what .* know: к о т;"),
        ({"text": "a cat", "negative_text": "5 cats"}, "negative_text: '5 cats' has what .* know: 5;"),
        ({"audio": (16_000, np.zeros(16_000, dtype=np.float32))}, "silen"),
        ({"sketch": Image.new("L", (32, 32), 255)}, "blank"),
    ],
)
def test_bad_input_is_named(pipe: UnCLIPMultimodalPipeline, call: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        pipe(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"prior_steps": 8}, {"prior_guidance_scale": 1.5}, {"style": "flat"}])
@pytest.mark.parametrize(
    "prompt",
    [
        {"text": "a red circle", "use_prior": False},
        {"image": picture()},
        {"image": picture(), "text": "a red circle", "weights": {"image": 1}},
        {"embeddings": np.ones((1, 64), dtype=np.float32)},
    ],
    ids=["no prior", "image", "image that alone counts", "image embedding"],
)
def test_settings_of_a_prior_that_is_not_asked_are_refused(
    pipe: UnCLIPMultimodalPipeline, prompt: dict, given: dict
) -> None:
    for call in (pipe, pipe.imagine):
        with pytest.raises(InputError, match=f"{next(iter(given))}: has no say where the prior is not asked"):
            call(**prompt, **given)
    assert pipe(**prompt, seeds=1).asked_prior is False
    assert pipe(text="a red circle", seeds=1, prior_steps=8).asked_prior is True


def test_what_counts_nothing_counts_as_not_given(pipe: UnCLIPMultimodalPipeline) -> None:
    mixed = {"image": picture("green"), "text": "a red circle"}
    alone = pipe(image=picture("green"), seeds=1).images[0]
    for weights in ({"text": 0, "image": 1}, {"image": 0.5}):
        assert difference(pipe(**mixed, weights=weights, seeds=1).images[0], alone) == 0
        assert torch.equal(pipe.imagine(**mixed, weights=weights), pipe.image_embeddings(picture("green")))
    stored = pipe(embeddings=pipe.encode(**mixed), weights={"text": 1, "image": 0}, seeds=1)
    assert stored.embeddings is not None and stored.embeddings.modalities == ("text",)
    assert difference(stored.images[0], pipe(text="a red circle", seeds=1).images[0]) <= 1


def test_pictures_of_no_numbers_are_not_painted(pipeline_folder: Path) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.decoder.layout.weight.data.fill_(float("inf"))
    with pytest.raises(InputError, match="pictures: came out with numbers that are not finite"):
        pipe(text="a red circle")


def test_a_batch_size_of_none_is_the_usual_one(pipe: UnCLIPMultimodalPipeline) -> None:
    assert len(pipe(text=["a", "b"], batch_size=None, num_inference_steps=1).images) == 2


def test_a_saved_pipeline_comes_back_in_a_fresh_process(pipe: UnCLIPMultimodalPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    assert not [p.name for p in tmp_path.rglob("*") if p.suffix in {".bin", ".pt", ".pkl"}]
    code = (
        "import sys, numpy as np; from unclip_mm import UnCLIPMultimodalPipeline as P;"
        "p = P.from_pretrained(sys.argv[1]); p.set_progress_bar_config(disable=True);"
        "np.save(sys.argv[2], p(text='a red circle', seeds=9, output_type='np').images)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "saved"), str(tmp_path / "image.npy")]
    subprocess.run(command, check=True, capture_output=True)
    here = pipe(text="a red circle", seeds=9, output_type="np").images
    np.testing.assert_allclose(np.load(tmp_path / "image.npy", allow_pickle=False), here, atol=1e-3)


def test_a_part_that_lacks_weights_is_refused(pipe: UnCLIPMultimodalPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    file = tmp_path / "decoder" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["layout.weight"]
    save_file(weights, file)
    with pytest.raises(
        CheckpointError, match=r"decoder lacks 1 of its weights \(layout.weight .*assemble the model anew"
    ):
        UnCLIPMultimodalPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("use_prior", [True, False])
def test_what_prompts_come_to_is_what_the_call_decodes(pipe: UnCLIPMultimodalPipeline, use_prior: bool) -> None:
    prompts = {"text": ["a red circle", "a blue square"], "sketch": drawing(), "weights": {"text": 0.7, "sketch": 0.3}}
    imagined = pipe.imagine(**prompts, seeds=[4, 9], use_prior=use_prior)
    assert imagined.shape == (2, 64)
    again = pipe.imagine(**prompts, seeds=[5, 9], use_prior=use_prior)
    assert torch.equal(imagined[0], again[0]) != use_prior and torch.equal(imagined[1], again[1])
    directly = pipe(**prompts, seeds=[4, 9], use_prior=use_prior)
    for row, image in enumerate(pipe(embeddings=imagined, seeds=[4, 9]).images):
        assert difference(image, directly.images[row]) <= 1
    assert torch.equal(pipe.imagine(image=picture()), pipe.imagine(embeddings=pipe.image_embeddings(picture())))
    with pytest.raises(InputError, match="weights: all are zero"):
        pipe.imagine(text="a", sketch=drawing(), weights={"text": 0, "sketch": 0})


def test_results_do_not_depend_on_the_size_of_batches(pipe: UnCLIPMultimodalPipeline) -> None:
    call = {"text": ["a cat", "a dog"], "audio": [tone(), None], "negative_text": ["red", "blue"], "seeds": [3, 4]}
    weighed = {**call, "weights": {"text": 0.3, "audio": 0.7}}  # only the first row has what is weighed most
    together, alone = pipe(**weighed).images, pipe(**weighed, batch_size=1).images
    assert all(difference(a, b) <= 1 for a, b in zip(together, alone, strict=True))
    [second] = pipe(text="a dog", negative_text="blue", seeds=4).images
    assert difference(second, together[1]) <= 1


def test_prior_and_decoder_draw_other_noise_from_a_seed(pipe: UnCLIPMultimodalPipeline) -> None:
    began: dict[str, torch.Tensor] = {}

    def remember(name: str, given: tuple, named: dict) -> None:
        began.setdefault(name, next(value for value in [*given, *named.values()] if isinstance(value, torch.Tensor)))

    hooks = [
        part.register_forward_pre_hook(lambda _, given, named, n=name: remember(n, given, named), with_kwargs=True)
        for name, part in (("prior", pipe.prior), ("decoder", pipe.decoder))
    ]
    pipe(text="a red circle", seeds=7)
    for hook in hooks:
        hook.remove()
    prior, decoder = (began[name][0].flatten() for name in ("prior", "decoder"))
    assert torch.equal(decoder, noise_by_seed(began["decoder"].shape[1:], [7])[0].flatten())
    both = torch.stack([part[: min(len(prior), len(decoder))] for part in (prior, decoder)])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_modality_works_in_half_precision(
    pipeline_folder: Path, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder, dtype=dtype)
    assert not caplog.records
    assert pipe.decoder.dtype == pipe.encoder.dtype == dtype
    pipe.set_progress_bar_config(disable=True)
    call = {"text": "a red circle", "audio": tone(), "sketch": drawing(), "image": picture(), "seeds": 1}
    made = pipe(**call, output_type="pt").images
    assert made.shape == (1, 3, 32, 32) and bool(made.isfinite().all()) and float(made.std()) > 0


def test_a_dtype_that_is_none_is_named(pipeline_folder: Path) -> None:
    with pytest.raises(InputError, match=r"dtype: 'bfloat16' is none; give torch\.float32"):
        UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder, dtype="bfloat16")


def test_what_is_told_of_a_model_is_saved_with_it(pipeline_folder: Path, tmp_path: Path) -> None:
    told = {"README.md": "# Shapes\n", "vocabulary.txt": "a red circle\n"}
    shutil.copytree(pipeline_folder, tmp_path / "taught")
    for name, text in told.items():
        (tmp_path / "taught" / name).write_text(text)
    half = UnCLIPMultimodalPipeline.from_pretrained(tmp_path / "taught", dtype=torch.float16)
    for folder in (tmp_path / "saved", tmp_path / "taught"):
        half.save_pretrained(folder)
        assert {name: (folder / name).read_text() for name in told} == told
    weights = load_file(tmp_path / "saved" / "decoder" / "diffusion_pytorch_model.safetensors")
    assert {values.dtype for values in weights.values()} == {torch.float16}


def test_numbers_of_numpy_are_numbers(pipe: UnCLIPMultimodalPipeline) -> None:
    plain = pipe(text=["a", "b"], seeds=[0, 1], weights={"text": 0.5}, num_inference_steps=2)
    same = pipe(text=["a", "b"], seeds=np.arange(2), weights={"text": np.float32(0.5)}, num_inference_steps=np.int64(2))
    assert same.seeds == plain.seeds == [0, 1] and type(same.seeds[0]) is int
    assert pipe(text=["a", "b"], seeds=np.uint32(2**32 - 1)).seeds == [2**32 - 1, 0]  # after the largest comes 0
    assert all(difference(a, b) == 0 for a, b in zip(same.images, plain.images, strict=True))


def test_a_model_of_the_hub_is_loaded_from_its_cache(pipeline_folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--somebody--shapes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(pipeline_folder, repository / "snapshots" / ("0" * 40))
    pipe = UnCLIPMultimodalPipeline.from_pretrained("somebody/shapes", cache_dir=tmp_path, local_files_only=True)
    assert pipe.modalities == UnCLIPMultimodalPipeline.from_pretrained(pipeline_folder).modalities
    with pytest.raises(CheckpointError, match="somebody/else is no local folder and cannot be fetched"):
        UnCLIPMultimodalPipeline.from_pretrained("somebody/else", cache_dir=tmp_path, local_files_only=True)
