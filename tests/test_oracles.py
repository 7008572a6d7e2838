"""The table of what limits the pictures, on the synthetic world and an untrained pipeline."""

from __future__ import annotations

from pathlib import Path

from picture_cases import colours

from benchmarks.oracles import make_all, rows_of
from train.evaluate import load_pipeline
from train.evaluation.generation import OWN, REAL, choose_prompts, real_features, score
from train.evaluation.items import build_pools, images
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.inputs import load_image


def test_every_row_is_made_and_judged(pipeline_folder: Path, tmp_path: Path) -> None:
    world = make_synthetic_world(tmp_path, image_size=32, variations=1)
    pipe = load_pipeline(str(pipeline_folder), "cpu")
    gallery = real_features(lambda files: colours([load_image(file) for file in files]), images(world))
    pool = build_pools(world, modalities=pipe.modalities)[0]
    prompts = choose_prompts(pool, ("text", "sketch"), 6, 0)
    assert prompts is not None
    made = make_all(pipe, prompts)
    assert list(made.images) == ["autoencoder", OWN, "aligned", "text", "sketch"]
    assert all(len(pictures) == len(prompts.concepts) for pictures in made.images.values())
    record = score(made, colours, gallery)
    rows = rows_of([record, record])
    assert [row[0] for row in rows] == [
        "real pictures",
        "+ autoencoder",
        "+ image tower and decoder",
        "+ prior",
        "+ text tower",
        "+ sketch tower",
    ]
    assert record[REAL]["ratio"] is None and rows[0][3] == "" and rows[2][3] == "1.00 ± 0.00"
