"""Generated images, judged by concept, distance, variety and copies, and the sheets of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluation_cases import COLOURS, features, make, make_world, pool_named
from judge_cases import square
from PIL import Image

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
from train.evaluation.items import Item, Pool, build_pools, images
from train.evaluation.report import (
    GENERATION_KEYS,
    over_seeds,
)
from train.evaluation.sheets import draw_seeds, draw_sheet
from unclip_mm.data.manifest import Manifest, Row


@pytest.fixture
def world(tmp_path: Path) -> Manifest:
    return make_world(tmp_path)


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
