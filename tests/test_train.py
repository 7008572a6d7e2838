"""The training scripts, for real and briefly: every stage of the tiny recipe, and a run that is killed and goes on."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from train.conditions import Conditions, as_taught
from train.encoder import train_phase
from train.evaluation.space import PANELS, draw_training, read_training
from train.fidelity import finished_errors
from train.memorise import memorise
from train.normalizer import embed_all, load_or_fit_normalizer
from train.preferred import well_made
from train.prior import Batches, named_styles
from train.recipes.tiny import TINY
from train.stage import Stage, find_recipe
from unclip_mm.data.cache import ModalityCache
from unclip_mm.data.shapes import STYLES
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.prior import MultimodalPrior

STAGES = ("autoencoder", "encoder", "prior", "complete", "decoder", "distill", "renderer", "finetune", "prefer")


def command(stage: str, run: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", f"train.{stage}", "--recipe", "tiny", "--run", str(run), *options]


def train(stage: str, run: Path, *options: str) -> None:
    done = subprocess.run(command(stage, run, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def losses(run: Path, stage: str) -> dict[int, dict[str, float]]:
    """The logged losses by step; a step logged twice (before and after a resume) must say the same twice."""
    found: dict[int, dict[str, float]] = {}
    for line in (run / stage / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        values = {name: value for name, value in entry.items() if name.endswith("_loss")}
        if values:
            assert found.setdefault(entry["step"], values) == values
    return found


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny recipe with every stage trained for a few steps."""
    from unclip_mm.data.synthetic import make_synthetic_world

    run = tmp_path_factory.mktemp("tiny")
    make_synthetic_world(run / "data", image_size=32, variations=1)
    done = subprocess.run(
        command("embed", run, "--data", str(run / "data")), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for stage in STAGES:
        train(stage, run, "--loop.steps", "6", "--loop.log-every", "1", "--loop.validate-every", "3")
    return run


def test_the_log_of_the_encoder_has_every_diagnostic(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "cache", tmp_path / "cache")
    kept = sorted({item["concept"] for item in ModalityCache.load(tmp_path / "cache", "text").items})[::9]
    for modality in ("text", "image", "sketch", "audio"):
        file = tmp_path / "cache" / f"{modality}.json"
        items = [
            {**i, "split": "validation" if i["concept"] in kept else i["split"]} for i in json.loads(file.read_text())
        ]
        file.write_text(json.dumps(items))
    train("encoder", tmp_path, "--loop.steps", "2", "--loop.validate-every", "1")
    entries = read_training(tmp_path / "encoder" / "log.jsonl")
    assert [entry["step"] for entry in entries] == [1, 2]
    names = {name.removeprefix("held_out_") for name in entries[0] if name.startswith("held_out_")}
    for title, patterns in PANELS.items():
        assert all(fnmatch.filter(names, pattern) for pattern in patterns), title
    assert {"rank_audio", "rank_image", "rank_sketch", "rank_text", "text_to_image_recall@1"} <= names
    draw_training(entries, tmp_path / "training.png")
    with Image.open(tmp_path / "training.png") as drawn:
        assert drawn.width > 1000


def test_every_stage_trains_and_the_parts_make_a_picture(tiny_run: Path) -> None:
    done = subprocess.run(
        command("assemble", tiny_run, "--output", str(tiny_run / "pipeline")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from unclip_mm import UnCLIPMultimodalPipeline

    configs = [path.read_text() for path in (tiny_run / "pipeline").glob("*/config.json")]
    assert configs and not any(str(tiny_run) in config for config in configs)
    pipe = UnCLIPMultimodalPipeline.from_pretrained(tiny_run / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    assert pipe(text="a red circle", seeds=0).images[0].size == (64, 64)
    taught = (tiny_run / "pipeline" / "vocabulary.txt").read_text().splitlines()
    assert "black circle" in taught and taught == sorted(set(taught))
    meant = pipe.normalizer.moved(pipe.encode(text=taught))["text"]
    assert float((pipe.memory.vectors("text") * meant).sum(dim=-1).min()) > 0.999
    pictures = pipe.memory.vectors("image")
    assert len(pictures) == len(load_file(tiny_run / "cache" / "pictures.safetensors")["pixels"])
    assert pipe.memory.config.examples["audio"] > 10
    unheard = replace(find_recipe("tiny"), examples={"audio": "whistle"})
    with pytest.raises(InputError, match="examples: no training item of 'audio' is of the kind 'whistle'"):
        memorise(unheard, tiny_run, pipe.encoder, pipe.normalizer)
    with pytest.raises(InputError, match="examples: 'image' is not looked up; say among what in recall"):
        memorise(replace(unheard, examples={"image": "photo"}), tiny_run, pipe.encoder, pipe.normalizer)
    finetuned = load_file(tiny_run / "export" / "finetune" / "decoder" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value.half(), finetuned[name].half()) for name, value in pipe.decoder.state_dict().items())
    for stage in STAGES:
        logged = losses(tiny_run, stage)
        assert sorted(logged) == [1, 2, 3, 4, 5, 6]


def test_an_upsampler_joins_where_there_are_larger_pictures(tiny_run: Path, tmp_path: Path) -> None:
    from train.assemble import assemble
    from unclip_mm.data.synthetic import make_synthetic_world

    for part in ("cache", "export"):
        shutil.copytree(tiny_run / part, tmp_path / part)
    for size, wrong in ((64, "no picture to train on has 128 pixels a side"), (128, None)):
        world = tmp_path / f"world-{size}"
        make_synthetic_world(world, image_size=size, variations=1)
        rows = world / "metadata.jsonl"
        rows.write_text(rows.read_text(encoding="utf-8").replace("red ", "crimson "), encoding="utf-8")
        arguments = command("embed", tmp_path, "--data", str(world), "--modalities", "large")
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert (wrong in done.stderr) if wrong else done.returncode == 0, done.stderr
    for file in (tiny_run / "export" / "processor").rglob("*.json"):  # the run reads its captions as before
        assert (tmp_path / file.relative_to(tiny_run)).read_bytes() == file.read_bytes()
    train("upsampler", tmp_path, "--loop.steps", "6", "--loop.log-every", "1", "--loop.validate-every", "3")
    assert all("pixel_loss" in values for values in losses(tmp_path, "upsampler").values())
    pipe = assemble("tiny", tmp_path)
    pipe.set_progress_bar_config(disable=True)
    assert pipe(text="a red circle", seeds=0).images[0].size == (64, 64)
    assert pipe(text="a red circle", seeds=0, upsample=True).images[0].size == (128, 128)


def test_without_a_renderer_the_autoencoder_makes_the_pictures(tiny_run: Path, tmp_path: Path) -> None:
    from train.assemble import assemble

    (tmp_path / "cache").symlink_to(tiny_run / "cache")
    shutil.copytree(
        tiny_run / "export",
        tmp_path / "export",
        ignore=shutil.ignore_patterns("renderer", "finetune", "prior", "prefer"),
    )
    pipe = assemble("tiny", tmp_path)
    assert pipe.config.image_size == 32 and pipe.prior is None


def test_the_prior_prefers_what_the_finished_decoder_makes_well(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("prefer", "checkpoint-*"))
    stage = Stage("prefer", TINY, replace(TINY.prefer, well_made=20.0), run)
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    cache = stage.caches("image")["image"]
    names = [cache.items[row]["row"] for row in cache.where(split=stage.trained_on)]
    errors = finished_errors(stage, encoder, normalizer, names)
    assert torch.equal(errors.sort().values, load_file(run / "errors.safetensors")["errors"].sort().values)
    backwards = finished_errors(stage, encoder, normalizer, names[::-1])
    assert torch.equal(backwards.flip(0), errors) and float(errors.std()) > 0
    with pytest.raises(InputError, match=r"cache: 'a giraffe' is not among its pictures; run train.embed again"):
        finished_errors(stage, encoder, normalizer, ["a giraffe"])

    # Which picture a row was drawn for is told by its target: where no picture is shown, mostly the best of its concept.
    prior = stage.trained("prior", MultimodalPrior)
    batches = Batches(stage, encoder, normalizer, prior, stage.trained_on, 1, well_made(errors, 20.0))
    best = batches.preferred(batches.preferred.numbers, torch.Generator().manual_seed(0))
    plain = batches.any_picture(batches.any_picture.numbers, torch.Generator().manual_seed(0))
    assert float(errors[best].mean()) < float(errors[plain].mean())
    own = normalizer.normalize(batches.views.embeddings[:, 0].float())
    means = []
    for keep in (1.0, 0.0):  # the image is shown whenever it can be, or at times
        batches.conditions.config = replace(TINY.prefer, keep_modality=keep)
        target = batches.draw(3000, torch.Generator().manual_seed(0))[-1]
        means.append(float(errors[torch.cdist(target, own).argmin(dim=1)].mean()))
    assert means[1] < means[0] < float(errors[plain].mean())

    shutil.rmtree(run / "export" / "finetune")
    done = subprocess.run(command("prefer", run), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "not there yet; run train.finetune first" in done.stderr


def test_a_row_that_is_told_a_style_is_answered_in_it(tiny_run: Path) -> None:
    stage = Stage("prior", TINY, replace(TINY.prior, tell_style=1.0), tiny_run)
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    prior = stage.trained("prior", MultimodalPrior)
    assert tuple(prior.config.styles) == STYLES
    batches = Batches(stage, encoder, normalizer, prior, stage.trained_on, 1)
    *_, style, target = batches.draw(200, torch.Generator().manual_seed(0))
    own = normalizer.normalize(batches.views.embeddings[:, 0].float())
    answered = torch.cdist(target, own).argmin(dim=1)
    assert torch.equal(style, batches.styles[answered]) and set(style.tolist()) == {1, 2, 3}
    batches.config = replace(batches.config, tell_style=0.0)
    assert not batches.draw(200, torch.Generator().manual_seed(0))[-2].any()


def test_what_is_misheard_is_not_taught(tiny_run: Path) -> None:
    stage = Stage("prior", TINY, TINY.prior, tiny_run)
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    caches = stage.caches("text", "audio", "image")
    recall = {"audio": ("text", 0.02)}
    memory = memorise(replace(TINY, recall=recall, examples={}), tiny_run, encoder, normalizer)
    conditions = Conditions(caches, encoder, normalizer, "train", TINY.prior, memory, recall)
    concepts = {
        n: [caches[n].items[row]["concept"] for row in caches[n].where(split="train")] for n in ("text", "audio")
    }
    moved = normalizer.to_image(
        embed_all(encoder, caches["audio"], "audio", caches["audio"].where(split="train")), "audio"
    )
    heard = memory.recall(moved, "text", 0.02, "audio").half()
    meant = as_taught(heard, concepts["audio"], conditions.vectors["text"], concepts["text"])
    assert torch.equal(conditions.vectors["audio"], meant)
    assert not torch.equal(heard, meant)  # after a few steps of training many are misheard


def test_styles_are_told_where_there_are_several() -> None:
    def cache(*styles: str | None) -> ModalityCache:
        items = [{"split": "train", **({"style": style} if style else {})} for style in styles]
        return ModalityCache({}, [*items, {"split": "test_style", "style": "unseen"}])

    assert named_styles(cache("shaded", None, "flat", "shaded")) == ("flat", "shaded")
    assert named_styles(cache("flat", None)) == () == named_styles(cache(None))


def test_a_tower_trains_alone_and_leaves_the_others_as_they_were(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    before = MultimodalEncoder.from_pretrained(run / "export" / "encoder").state_dict()
    train("encoder", run, "--only", "audio", "--later-loop.steps", "3", "--later-loop.validate-every", "3")
    after = MultimodalEncoder.from_pretrained(run / "export" / "encoder").state_dict()
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"audio"}


def test_later_modalities_join_when_the_others_are_trained(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "cache").symlink_to(tiny_run / "cache")
    few = ("--loop.steps", "2", "--loop.log-every", "1", "--later-loop.steps", "3", "--later-loop.log-every", "1")
    train("encoder", run, "--later", "audio", *few)
    assert sorted(losses(run, "encoder")) == [1, 2]
    assert sorted(losses(run, "encoder-audio")) == [1, 2, 3]
    assert all("reconstruction_loss" in values for values in losses(run, "encoder").values())
    assert not any("reconstruction_loss" in values for values in losses(run, "encoder-audio").values())


def test_a_broken_later_phase_leaves_nothing_that_looks_finished(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "cache").symlink_to(tiny_run / "cache")
    few = ("--later", "audio", "--loop.steps", "2", "--later-loop.steps", "4", "--later-loop.log-every", "1")
    broken = subprocess.run(
        command("encoder", run, *few, "--later-loop.max-minutes", "0"), capture_output=True, text=True, check=False
    )
    assert broken.returncode != 0 and "run again to go on" in broken.stderr
    assert not (run / "export" / "encoder").exists()
    train("encoder", run, *few)
    assert sorted(losses(run, "encoder-audio")) == [1, 2, 3, 4]
    assert (run / "export" / "encoder").is_dir()


def test_a_head_that_is_a_regression_has_nothing_to_train(tiny_run: Path) -> None:
    stage = Stage("encoder", TINY, TINY.encoder, tiny_run)
    encoder = MultimodalEncoder(
        8, {"text": {**TINY.encoder.towers["text"], "backbone": {"model_type": "bert"}, "frozen": True, "bumps": 3}}
    )
    with pytest.raises(
        InputError, match="encoder: the tower of 'text' has nothing to train, as its head is a regression"
    ):
        train_phase(stage, replace(TINY.encoder, only=("text",)), encoder)


def test_options_that_only_leaves_out_are_refused(tiny_run: Path) -> None:
    for option in (("--loop.steps", "3"), ("--anchor", "text")):
        done = subprocess.run(
            command("encoder", tiny_run, "--only", "audio", *option), capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.strip().endswith("instead") and done.stderr.count("\n") == 1


def test_a_killed_run_goes_on_to_the_same_losses(tiny_run: Path, tmp_path: Path) -> None:
    options = (
        "--loop.steps",
        "25",
        "--loop.log-every",
        "1",
        "--loop.validate-every",
        "100",
        "--loop.save-minutes",
        "0",
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for run in (whole, broken):
        run.mkdir()
        (run / "cache").symlink_to(tiny_run / "cache")
        (run / "export").symlink_to(tiny_run / "export")
    train("prior", whole, *options)
    log = broken / "prior" / "log.jsonl"
    process = subprocess.Popen(command("prior", broken, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not (log.is_file() and len(log.read_text().splitlines()) >= 5):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    interrupted = max(losses(broken, "prior"))
    assert 5 <= interrupted < 25
    train("prior", broken, *options)
    assert losses(broken, "prior") == losses(whole, "prior")


def test_a_wrong_recipe_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "train.prior", "--recipe", "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "train.prior: error: recipe 'none': not known; give one of tiny, pictograms, pictograms-gpu"
    ]


def test_finetuning_goes_on_from_what_was_finetuned(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").symlink_to(tiny_run / "cache")
    shutil.copytree(tiny_run / "export", tmp_path / "export", ignore=shutil.ignore_patterns("finetune"))
    started = tiny_run / "export" / "finetune"
    train("finetune", tmp_path, "--start", str(started), "--loop.steps", "0")
    for part in ("decoder", "autoencoder"):
        file = Path(part) / "diffusion_pytorch_model.safetensors"
        before, after = load_file(started / file), load_file(tmp_path / "export" / "finetune" / file)
        assert all(torch.equal(before[name], after[name]) for name in before)
    distilled = load_file(tmp_path / "export" / "distill" / "diffusion_pytorch_model.safetensors")
    decoder = load_file(tmp_path / "export" / "finetune" / "decoder" / "diffusion_pytorch_model.safetensors")
    assert any(not torch.equal(distilled[name], decoder[name]) for name in distilled)


def test_training_goes_on_from_a_part_that_was_trained_before(tiny_run: Path, tmp_path: Path) -> None:
    for part in ("cache", "export"):
        shutil.copytree(tiny_run / part, tmp_path / part)
    weights = tmp_path / "export" / "prior" / "diffusion_pytorch_model.safetensors"
    before = load_file(weights)
    train("prior", tmp_path, "--start", str(tiny_run / "export" / "prior"), "--loop.steps", "0")
    assert all(torch.equal(value, before[name]) for name, value in load_file(weights).items())
    train("prior", tmp_path, "--loop.steps", "0")
    assert not all(torch.equal(value, before[name]) for name, value in load_file(weights).items())


def test_a_part_that_does_not_fit_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "prior"
    MultimodalPrior(3, 5, width=8, hidden=8, layers=1).save_pretrained(other)
    for folder, wrong in (
        (other, "its aligned_dim is 3, the run's is 32"),
        (tiny_run / "export" / "decoder", "EmbeddingDecoder is there; give the folder of a MultimodalPrior"),
        (tmp_path, "nothing is there; give the folder of a MultimodalPrior"),
    ):
        done = subprocess.run(
            command("prior", tiny_run, "--start", str(folder)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.strip().splitlines()[-1] == f"train.prior: error: {folder}: {wrong}"


def test_a_missing_cache_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command("decoder", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("train.decoder: error: ") and done.stderr.count("\n") == 1
    assert "run `python -m train.embed`" in done.stderr


def test_an_earlier_stage_that_was_left_out_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "cache", tmp_path / "cache")
    done = subprocess.run(command("prior", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    folder = tmp_path / "export" / "encoder"
    assert done.stderr.splitlines() == [f"train.prior: error: {folder}: not there yet; run train.encoder first"]


def test_a_prior_is_asked_for_every_concept_alike_and_for_what_is_set_aside_if_wanted(tiny_run: Path) -> None:
    stage = Stage("prior", TINY, replace(TINY.prior, everything=True), tiny_run)
    encoder = stage.trained("encoder", MultimodalEncoder)
    normalizer = load_or_fit_normalizer(stage, encoder)
    prior = stage.trained("prior", MultimodalPrior)
    batches = {
        everything: Batches(run, encoder, normalizer, prior, run.trained_on, 1)
        for everything, run in ((True, stage), (False, replace(stage, config=TINY.prior)))
    }
    concepts = {everything: set(drawn.concepts) for everything, drawn in batches.items()}
    assert concepts[False] < concepts[True]
    drawn = batches[True].draw(4000, torch.Generator().manual_seed(0))[-1]
    own = normalizer.normalize(batches[True].views.embeddings[:, 0].float())
    places = torch.cat([torch.cdist(part, own).argmin(dim=1) for part in drawn.split(500)])
    counts = batches[True].any_picture.numbers[places].bincount(minlength=len(concepts[True]))
    assert bool(((counts - 4000 / len(counts)).abs() < 5 * (4000 / len(counts)) ** 0.5).all())
    memory = memorise(TINY, tiny_run, encoder, normalizer)
    assert memory is not None
    cache, asked = stage.caches("audio")["audio"], batches[True].conditions
    moved = normalizer.to_image(embed_all(encoder, cache, "audio", cache.where(split=stage.trained_on)), "audio")
    recalled = memory.recall_one(moved, "audio", TINY.recall).half()
    alike = (asked.vectors["audio"] == recalled).all(dim=1)  # the others were taken to something else, and put right
    assert int(alike.sum()) > 0 and not torch.equal(recalled, moved.half())
