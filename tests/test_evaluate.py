from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from judge_cases import published, published_weights, square
from PIL import Image
from torch import Tensor

from train.evaluate import Options, check_conditions, evaluate, main, parse_seeds
from train.evaluation.generation import (
    DIRECT,
    OWN,
    PICTURES,
    PRIOR,
    REAL,
    Gallery,
    Made,
    choose_prompts,
    conditions,
    copy_share,
    evaluate_generation,
    make_images,
    measure_variety,
    real_features,
    score,
)
from train.evaluation.items import Item, Pool, build_pools, choose, images
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
from train.evaluation.sheets import draw_seeds, draw_sheet
from train.evaluation.space import read_training, untrained
from train.recipes.tiny import TINY
from unclip_mm import diagnostics
from unclip_mm.data.manifest import Manifest, Row, read_manifest, write_manifest
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import build_encoder
from unclip_mm.errors import InputError

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 150, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (128, 0, 128),
    "orange": (255, 128, 0),
}
"""The concepts of the world of these tests: a colour is the whole concept."""
HELD_OUT = ("purple", "orange")
"""Concepts of the split test_concept."""


def colour_of(image: Image.Image) -> Tensor:
    """The mean of what is not white, with a constant: the features of these tests, (4,)."""
    pixels = torch.tensor(list(image.convert("RGB").tobytes())).view(-1, 3).float() / 255
    inked = pixels[(pixels < 0.99).any(dim=1)]
    return torch.cat([inked.mean(dim=0) if len(inked) else torch.ones(3), torch.tensor([0.1])])


def features(pictures: Sequence[Image.Image]) -> Tensor:
    return torch.stack([colour_of(picture) for picture in pictures])


def colour_named(value: str | Path) -> tuple[int, ...]:
    """What a caption or file of this world shows; files are named by their colour."""
    return COLOURS[next(name for name in COLOURS if name in str(value))]


def encode(modality: str, values: Sequence[str | Path]) -> Tensor:
    """A perfect encoder of this world for every modality but sketch, in which it confuses everything."""
    if modality == "sketch":
        return torch.ones(len(values), 4)
    return torch.stack([torch.tensor([*colour_named(value), 25.0]) for value in values])


def make(given: Mapping[str, Sequence[str | Path]], seeds: Sequence[int], prior: bool) -> list[Image.Image]:
    """A generator of this world: right with the prior or from an image, always red without the prior."""
    values = next(iter(given.values()))
    assert all(len(other) == len(seeds) for other in given.values())
    names = values if prior or "image" in given else ["red"] * len(seeds)
    return [square(colour_named(value), 1 + seed % 5) for value, seed in zip(names, seeds, strict=True)]


@pytest.fixture
def world(tmp_path: Path) -> Manifest:
    rows: list[Row] = []
    for folder in ("images", "sketches", "audio"):
        (tmp_path / folder).mkdir()
    for name, colour in COLOURS.items():
        split = "test_concept" if name in HELD_OUT else "train"
        for style, inset in (("small", 5), ("middle", 3), ("large", 1)):
            path = f"images/{name}-{style}.png"
            square(colour, inset).save(tmp_path / path)
            held = "test_style" if split == "train" and style == "large" else split
            rows.append(Row(f"{name}-{style}", name, (f"a {name} square", "paint"), path, split=held, style=style))
        for number in (0, 1):
            path = f"sketches/{name}-{number}.png"
            square((0, 0, 0), 2 + number).save(tmp_path / path)
            held = "test_sketch" if split == "train" and number else split
            rows.append(Row(f"{name}-sketch-{number}", name, (name,), sketch=path, split=held))
        for speaker, language in (("ann", "en-gb"), ("bob", "en"), ("zoe", "fr")):
            path = f"audio/{name}-{speaker}.wav"
            (tmp_path / path).write_bytes(b"never opened here")
            held = "test_speaker" if split == "train" and speaker == "bob" else split
            said = Row(f"{name}-{speaker}", name, (f"say {name}",), audio=path, split=held)
            rows.append(Row(**(said.__dict__ | {"kind": "speech", "speaker": speaker, "language": language})))
    write_manifest(tmp_path, rows)
    return read_manifest(tmp_path)


def pool_named(world: Manifest, name: str) -> Pool:
    return next(pool for pool in build_pools(world) if pool.name == name)


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


def test_generation_is_judged_by_concept_and_distance(world: Manifest) -> None:
    gallery = real_features(lambda files: features([Image.open(file) for file in files]), images(world))
    assert gallery.features.shape == (18, 4)
    shown: list[str] = []
    records = evaluate_generation(
        make,
        features,
        gallery,
        build_pools(world),
        200,
        [0, 1],
        keep=lambda pool, made: shown.append(f"{pool.name} {'+'.join(made.prompts.given)}"),
        progress=False,
    )
    found = {(r["pool"], r["condition"], r["variant"]): r for r in over_seeds(records, GENERATION_KEYS)}
    assert found["seen", "text", PRIOR]["top1"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "text+speech", DIRECT]["top1"] == {"mean": 0.25, "std": 0.0}
    assert found["held-out", "speech", PRIOR]["top1"] == {"mean": 1.0, "std": 0.0}
    assert found["held-out", "speech", DIRECT]["top1"] == {"mean": 0.0, "std": 0.0}
    assert found["seen", "sketch", OWN]["ratio"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "text", DIRECT]["frechet"]["mean"] > 10 * found["seen", "text", PRIOR]["frechet"]["mean"]
    assert found["seen", "text", REAL]["top1"] == {"mean": 1.0, "std": 0.0}
    assert found["seen", "text", REAL]["frechet"] is None
    assert shown == ["seen text", "seen sketch", "seen speech", "seen text+speech"] + [
        f"held-out {name}" for name in ("text", "sketch", "speech", "text+speech")
    ]


def test_real_images_do_not_find_themselves() -> None:
    items = [Item(name, "image", "image", f"{name}{n}", "", "train", "") for name in ("cat", "dog") for n in (0, 1)]
    mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    table_of = {name: {"image": [i for i in items if i.concept == name]} for name in ("cat", "dog")}
    text = {n: kinds | {"text": [Item(n, "text", "text", n, n, "train", n)]} for n, kinds in table_of.items()}
    pool = Pool("seen", text, text, frozenset())
    blank = [Image.new("RGB", (4, 4))] * 2
    records = evaluate_generation(
        lambda given, seeds, prior: blank[: len(seeds)],
        lambda pictures: torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        Gallery(items, mixed),
        [pool],
        5,
        [0],
        progress=False,
    )
    real = next(record for record in records if record["variant"] == REAL)
    assert real["top1"] == 0.0 and real["top5"] == 1.0
    assert records[0]["copies"] is None


def test_a_recording_of_several_concepts_is_asked_for_its_own_and_may_become_any(world: Manifest) -> None:
    """The sound of a coin that is red, or green: a row says the one, and ``also`` the other."""
    rows = [
        replace(Row(f"coin-{split}", "red", ("red",), audio="audio/red-ann.wav", split=split), kind="sound", also=also)
        for split, also in (("train", ()), ("test_sound", ("green",)))
    ]
    rows.append(
        replace(Row("leaf", "green", ("green",), audio="audio/green-ann.wav", split="test_sound"), kind="sound")
    )
    manifest = replace(world, rows=(*world.rows, *rows))
    pool = pool_named(manifest, "seen")
    prompts = choose_prompts(pool, ("sound",), 200, 0)
    assert prompts is not None and sorted(prompts.concepts) == ["green", "red"]
    meant = dict(zip(prompts.concepts, prompts.alternatives, strict=True))
    assert meant == {"red": frozenset({"red", "green"}), "green": frozenset({"green"})}
    spoken = choose_prompts(pool, ("text", "sound"), 200, 0)
    assert spoken is not None and spoken.alternatives == [frozenset({name}) for name in spoken.concepts]
    gallery = real_features(lambda files: features([Image.open(file) for file in files]), images(manifest))
    leaves = Made(prompts, {PRIOR: [square(COLOURS["green"], 2)] * 2, OWN: [square(COLOURS["red"], 3)] * 2})
    scores = score(leaves, features, gallery)
    assert (scores[PRIOR]["top1"], scores[PRIOR]["any1"], scores[OWN]["any1"]) == (0.5, 1.0, 0.5)


def test_own_images_are_decoded_once_a_seed(world: Manifest) -> None:
    seen = pool_named(world, "seen")
    own: dict[str, Image.Image] = {}
    assert conditions(seen) == [("text",), ("sketch",), ("speech",), ("text", "speech")]
    for condition in conditions(seen):
        prompts = choose_prompts(seen, condition, 200, 0)
        assert prompts is not None and len(prompts.concepts) == 4
        assert make_images(make, prompts, own, progress=False).images.keys() == {PRIOR, DIRECT, OWN}
        assert make_images(make, prompts, own, prior=False, progress=False).images.keys() == {DIRECT, OWN}
    assert len(own) == 4
    assert choose_prompts(seen, ("text",), 1, 0) is None


def test_variety_is_what_seeds_make_of_a_prompt_relative_to_real_pictures(world: Manifest) -> None:
    prompts = choose_prompts(pool_named(world, "seen"), ("text",), 200, 0)
    assert prompts is not None
    gallery = real_features(lambda files: features([Image.open(file) for file in files]), images(world))
    made = make_images(make, prompts, {}, progress=False)
    assert [len(images) for images in made.further] == [4] * (PICTURES - 1)
    same = score(made, features, gallery)
    assert "variety" not in same[DIRECT] and same[PRIOR]["different"] == 1.0
    assert same[PRIOR]["variety"] is None or same[PRIOR]["variety"] == pytest.approx(0.0, abs=1e-9)
    made.further[0] = made.further[0][1:] + made.further[0][:1]  # one seed makes another colour of each
    varied = score(made, features, gallery)
    assert varied[PRIOR]["different"] == 2.0
    once = make_images(make, prompts, {}, pictures=1, progress=False)
    assert once.further == [] and "variety" not in score(once, features, gallery)[PRIOR]


def test_the_variety_of_what_differs_like_real_pictures_is_1() -> None:
    real = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))  # of the last thing there is one alone
    gallery = Gallery([Item(c, "image", "image", str(n), "", "train", c) for n, c in enumerate("aaabbbc")], real)
    made = torch.stack([real[:3], real[3:6], real[6:].expand(3, -1)])
    found = measure_variety(made, ["a", "b", "c"], gallery)
    assert found == {"variety": pytest.approx(1.0), "different": pytest.approx(7 / 3)}
    closer = torch.stack([rows.mean(dim=0) + 0.1 * (rows - rows.mean(dim=0)) for rows in made])
    assert measure_variety(closer, ["a", "b", "c"], gallery)["variety"] < 0.2
    assert measure_variety(made[2:], ["c"], gallery) == {"variety": None, "different": 1.0}


def test_copy_share_tells_copies_from_new_pictures() -> None:
    generator = torch.Generator().manual_seed(2)
    training = torch.randn(200, 32, generator=generator)
    unseen = torch.randn(100, 32, generator=generator)
    fresh = torch.randn(100, 32, generator=generator)
    copies = training[:100] + 0.05 * torch.randn(100, 32, generator=generator)
    assert copy_share(copies, unseen, training) == 1.0
    assert 0.3 < copy_share(fresh, unseen, training) < 0.7


def test_a_sheet_shows_what_was_given_and_made(world: Manifest, tmp_path: Path) -> None:
    prompts = choose_prompts(pool_named(world, "seen"), ("sketch",), 200, 0)
    assert prompts is not None
    made = make_images(make, prompts, {}, progress=False)
    draw_sheet(made, tmp_path / "sheets" / "sketch.png", rows=3)
    sheet = Image.open(tmp_path / "sheets" / "sketch.png")
    assert sheet.size == (200 + 5 * 102 + 6, 26 + 3 * 102 + 6)
    middle = sheet.getpixel((200 + 102 + 6 + 48, 26 + 48))
    assert middle == COLOURS[prompts.concepts[0]]
    draw_seeds(made, tmp_path / "sheets" / "seeds.png", rows=2)
    seeds = Image.open(tmp_path / "sheets" / "seeds.png")
    assert seeds.size == (200 + (PICTURES + 1) * 102 + 6, 26 + 2 * 102 + 6)
    assert {seeds.getpixel((200 + n * 102 + 6 + 48, 26 + 48)) for n in range(PICTURES)} == {middle}


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
