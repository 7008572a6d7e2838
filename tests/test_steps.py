"""The table of what fewer steps cost, on the synthetic world and an untrained pipeline."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from picture_cases import colours

from benchmarks.steps import Way, decoder_ways, measure, prior_ways, prompts_of, rows_of
from train.evaluate import load_pipeline
from train.evaluation.generation import real_features
from train.evaluation.items import build_pools, images
from unclip_mm.data.synthetic import make_synthetic_world
from unclip_mm.errors import InputError
from unclip_mm.inputs import load_image


def test_ways_are_measured_and_compared_with_the_slowest(pipeline_folder: Path, tmp_path: Path) -> None:
    world = make_synthetic_world(tmp_path, image_size=32, variations=1)
    pipe = load_pipeline(str(pipeline_folder), "cpu")
    teacher = copy.deepcopy(pipe.decoder)
    alone, both, imagined = decoder_ways(pipe, None, 1.5), decoder_ways(pipe, teacher, 1.5), prior_ways(pipe)
    assert [(way.name, way.steps) for way in alone] == [("checkpoint", n) for n in (1, 2, 4, 8, 50)]
    assert [way.steps for way in both] == [1, 2, 4, 8, 4, 12, 50] and both[-1].decoder is teacher
    assert imagined[-1].settings == {"prior_steps": 50, "prior_guidance_scale": pipe.config.prior_guidance_scale}
    gallery = real_features(lambda files: colours([load_image(file) for file in files]), images(world))
    pool = build_pools(world, modalities=pipe.modalities)[0]
    prompts = prompts_of(pool, 6, 0)
    with pytest.raises(InputError, match="fewer than two seen concepts"):
        prompts_of(pool, 1, 0)
    many = {"num_inference_steps": 6, "guidance_scale": 1.5}
    compared = [Way("one", pipe.decoder, 1, {"num_inference_steps": 1}), Way("many", teacher, 6, many), imagined[0]]
    measured = [measure(pipe, way, [prompts, prompts], colours, gallery) for way in compared]
    assert all(one["distance"] > 0 and 0 <= one["top5"] <= 1 and one["seconds"] > 0 for one in measured)
    assert measured[0]["distance"] != measured[1]["distance"] != measured[2]["distance"]
    first, last = rows_of(compared[:2], measured[:2])
    assert first[:2] == ["one", "1"] and last[3] == "1.00" and last[5] == "1.000"
    assert float(first[5]) == pytest.approx(measured[0]["distance"] / measured[1]["distance"], abs=1e-3)
