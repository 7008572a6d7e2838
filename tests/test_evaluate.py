from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from evaluation_cases import COLOURS, HELD_OUT, encode, features, make, make_world, pool_named
from judge_cases import published, published_weights, square
from PIL import Image
from torch import Tensor

from train.evaluate import Options, check_conditions, evaluate, main, parse_seeds
from train.evaluation.generation import (
    DIRECT,
    OWN,
    PRIOR,
    REAL,
    evaluate_generation,
    real_features,
)
from train.evaluation.items import build_pools, choose, images
from train.evaluation.report import (
    GENERATION_KEYS,
    RETRIEVAL_KEYS,
    generation_table,
    over_seeds,
    retrieval_table,
    summarise,
    summary_table,
    table,
    write_report,
)
from train.evaluation.retrieval import ask, encode_items, evaluate_retrieval, pairs
from train.evaluation.space import read_training, untrained
from train.recipes.tiny import TINY
from unclip_mm import diagnostics
from unclip_mm.data.manifest import Manifest, Row, write_manifest
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import build_encoder
from unclip_mm.errors import InputError


@pytest.fixture
def world(tmp_path: Path) -> Manifest:
    return make_world(tmp_path)


def test_pools_ask_with_held_out_items_only(world: Manifest) -> None:
    seen, held_out = build_pools(world)
    assert set(seen.asked) == set(COLOURS) - set(HELD_OUT)
    assert set(held_out.asked) == set(HELD_OUT)
    assert seen.kinds == ("text", "image", "sketch", "speech", "other speech")
    assert seen.trained_kinds == {"text", "other speech"}
    red = seen.asked["red"]
    assert [item.split for item in red["image"]] == ["test_style"]
    assert [item.split for item in red["sketch"]] == ["test_sketch"]
    assert [item.key for item in red["speech"]] == ["red-bob/audio"]
    assert {item.modality for item in red["speech"]} == {"audio"}
    assert {item.value for item in red["text"]} == {"a red square", "red"}
    assert {item.split for item in seen.known["red"]["image"]} == {"train"}
    assert held_out.known is held_out.asked
    assert len(held_out.asked["purple"]["other speech"]) == 1
    assert build_pools(world, "fr")[1].asked["purple"]["speech"][0].key == "purple-zoe/audio"
    assert build_pools(world, modalities=("text", "image"))[0].kinds == ("text", "image")


def test_a_trained_query_must_find_held_out_items(world: Manifest) -> None:
    seen = pool_named(world, "seen")
    asked = ask(seen, ("text",), "image", 200, 0)
    assert {item.split for item in asked.targets} == {"test_style"}
    assert {item.split for item in ask(seen, ("sketch",), "image", 200, 0).targets} == {"train"}
    assert (("text", "speech"), "image") in pairs(seen)
    assert all(target not in query for query, target in pairs(seen))


def test_choices_depend_on_the_seed_alone(world: Manifest) -> None:
    seen = pool_named(world, "seen")
    assert [choose(seen.known, "red", "image", seed) for seed in range(5)] == [
        choose(seen.known, "red", "image", seed) for seed in range(5)
    ]
    assert len({choose(seen.known, "red", "image", seed).key for seed in range(20)}) == 2
    orders = {tuple(seen.concepts(("text",), {}, 3, seed)) for seed in range(20)}
    assert len(orders) > 5 and all(len(order) == 3 for order in orders)


def test_manifests_that_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row has an image"):
        build_pools(write_manifest(tmp_path, [Row("a", "a", ("a cat",))]))
    square((255, 0, 0), 2).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no rows of a split that is evaluated"):
        build_pools(write_manifest(tmp_path, [Row("a", "a", ("a cat",), "a.png", split="strange")]))


def test_retrieval_of_a_perfect_and_of_a_collapsed_modality(world: Manifest) -> None:
    records = evaluate_retrieval(encode, build_pools(world), 200, [0, 1], progress=False)
    found = {(r["pool"], r["query"], r["target"]): r for r in over_seeds(records, RETRIEVAL_KEYS)}
    assert found["seen", "text", "image"]["recall@1"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "text+speech", "image"]["recall@1"] == {"mean": 1.0, "std": 0.0}
    assert found["held-out", "other speech", "speech"]["recall@1"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "sketch", "image"]["recall@10"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "text", "sketch"]["recall@1"] == {"mean": 0.0, "std": 0.0}
    assert found["seen", "text", "image"]["concepts"] == 4
    assert found["held-out", "text", "image"]["seeds"] == 2


def test_items_are_encoded_once(world: Manifest) -> None:
    calls: list[str | Path] = []

    def counting(modality: str, values: Sequence[str | Path]) -> Tensor:
        calls.extend(values)
        return encode(modality, values)

    items = [item for kinds in pool_named(world, "seen").asked.values() for item in kinds["text"]]
    vectors = encode_items(counting, [*items, *items], progress=False)
    assert len(calls) == len(items) == len(vectors)


def test_the_report_is_complete_and_readable(world: Manifest, tmp_path: Path) -> None:
    gallery = real_features(lambda files: features([Image.open(file) for file in files]), images(world))
    pools = build_pools(world)
    retrieval = over_seeds(evaluate_retrieval(encode, pools, 9, [0, 1], progress=False), RETRIEVAL_KEYS)
    some = evaluate_generation(make, features, gallery, pools, 9, [0], only=["text+speech"], progress=False)
    assert {record["condition"] for record in some} == {"text+speech"}
    made = evaluate_generation(make, features, gallery, pools, 9, [0, 1], progress=False)
    generation = over_seeds(made, GENERATION_KEYS)
    summary = summarise(retrieval, generation)
    assert summary["seen text top-1"] == 1.0 and summary["seen sound top-1"] is None
    assert summary["seen frechet ratio, mean of text, speech, both, prior"] is not None
    write_report({"retrieval": retrieval, "generation": generation, "summary": summary}, tmp_path / "a" / "report.json")
    assert json.loads((tmp_path / "a" / "report.json").read_text())["summary"] == summary
    lines = [*retrieval_table(retrieval).splitlines(), *generation_table(generation).splitlines()]
    assert len(lines) == len(retrieval) + len(generation) + 4
    assert any("100.0 ±0.0" in line for line in lines)
    assert "seen sound top-1" in summary_table(summary)
    assert table(["a"], []) == "a\n-"


@pytest.mark.parametrize("text", ["", "0,,1", "1,1", "-1", "a", "1.5"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="seeds: "):
        parse_seeds(text)


def test_a_whole_evaluation(pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real pipeline, untrained, on the synthetic world: every part runs, and knows as little as it should."""
    data, archives = tmp_path / "world", tmp_path / "archives"
    make_synthetic_world(data, image_size=32, variations=1)
    archives.mkdir()
    published(archives, published_weights())
    one = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    measured = diagnostics.summary(Embeddings.from_dict({"image": one, "text": one.roll(1, 0)}), "image")
    figures = {f"held_out_{name}": value for name, value in {**measured, "text_to_image_recall@1": 0.0}.items()}
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": step, **figures}) + "\n" for step in (10, 20)))
    options = Options(
        checkpoint=str(pipeline_folder),
        data=data,
        output=tmp_path / "report.json",
        archives=archives,
        sheets=tmp_path / "sheets",
        diagnostics=tmp_path / "space",
        training_log=log,
        concepts=3,
        seeds="0",
        steps=1,
        prior_steps=1,
        resolution=32,
        device="cpu",
    )
    report = evaluate(options)
    assert json.loads(options.output.read_text()) == report
    assert {entry["condition"] for entry in report["generation"]} >= {"text", "sketch"}
    assert {entry["variant"] for entry in report["generation"]} == {PRIOR, DIRECT, OWN, REAL}
    assert report["judge"]["picture_size"] == 32
    assert report["settings"]["seeds"] == [0] and report["settings"]["steps"] == 1
    assert "top-1" in capsys.readouterr().out
    assert (tmp_path / "sheets" / "seen-text.png").is_file()
    failed = Image.open(tmp_path / "sheets" / "seen-text-failures.png")
    assert failed.width == 200 + 3 * 102 + 6
    assert (data / "judge-32-32.safetensors").is_file()
    space = report["space"]["seen"]["after"]
    assert space["anchor"] == "image" and space["rows"] == 3 and 0 <= space["chi"] <= 1
    assert {"seen-space.png", "seen-spectrum.png", "training.png"} <= {p.name for p in (tmp_path / "space").iterdir()}


def test_conditions_that_there_are_not_are_named(world: Manifest) -> None:
    pools = build_pools(world)
    check_conditions(["sketch", "text+speech"], pools)
    with pytest.raises(InputError, match=r"conditions: 'smell' is not among what there is to ask with: text, sketch, "):
        check_conditions(["text", "smell"], pools)


def test_a_log_without_diagnostics_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such log"):
        read_training(tmp_path / "log.jsonl")
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0}) + "\n")
    with pytest.raises(InputError, match="holds no diagnostics"):
        read_training(tmp_path / "log.jsonl")


def test_an_untrained_encoder_keeps_only_frozen_backbones() -> None:
    towers = {**TINY.encoder.towers, "text": {**TINY.encoder.towers["text"], "frozen": True}}
    torch.manual_seed(1)
    trained = build_encoder(TINY.encoder.dim, towers)
    before, fresh = trained.state_dict(), untrained(trained).state_dict()
    constant = {name for name, values in before.items() if values.std() == 0 or "embed_positions" in name}
    kept = {name for name in before if torch.equal(fresh[name], before[name])} - constant
    assert kept == {name for name in before if name.startswith("branches.text.backbone.")} - constant


def test_a_mistake_on_the_command_line_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["--checkpoint", "x", "--data", str(tmp_path), "--output", str(tmp_path / "report.json")]
    for wrong in (given, [*given, "--seeds", "a"], [*given, "--concepts", "1"], [*given, "--training-log", "x"]):
        monkeypatch.setattr("sys.argv", ["evaluate", *wrong])
        with pytest.raises(SystemExit) as stopped:
            main()
        complaint = capsys.readouterr().err
        assert stopped.value.code == 2
        assert complaint.startswith("error: ") and complaint.count("\n") == 1


def test_before_training_a_regression_was_a_network() -> None:
    text = {**TINY.encoder.towers["text"], "frozen": True}
    torch.manual_seed(1)
    trained = build_encoder(TINY.encoder.dim, {"text": text}).eval()
    features = {"pooled": torch.randn(6, trained.tower("text").backbone.config.hidden_size)}
    trained.smooth("text", features, torch.nn.functional.normalize(torch.randn(6, trained.dim), dim=-1), 2.0, 0.01)
    with torch.no_grad():
        before, after = (encoder.embed("text", features) for encoder in (untrained(trained), trained))
    torch.testing.assert_close(before.norm(dim=-1), torch.ones(6))
    assert (before * after).sum(dim=-1).abs().max() < 0.9
