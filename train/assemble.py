"""Put the exported parts of a run together: ``python -m train.assemble --recipe pictograms --output DIR``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler

from train.command import one_line_errors
from train.config import Recipe
from train.memorise import memorise, vocabulary
from train.prior import prior_scheduler
from train.stage import Part, default_run, final_decoder, final_prior, find_recipe
from unclip_mm.checkpoints import VOCABULARY
from unclip_mm.completion import EmbeddingCompletion
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import CheckpointError
from unclip_mm.normalizer import EmbeddingNormalizer
from unclip_mm.pipeline import UnCLIPMultimodalPipeline
from unclip_mm.prior import MultimodalPrior
from unclip_mm.processing import MultimodalProcessor
from unclip_mm.upsampler import Upsampler


def assemble(recipe: str, run: Path) -> UnCLIPMultimodalPipeline:
    """Build the pipeline of a run; what was not distilled, rendered or finetuned is used as it was trained first.

    Raises:
        CheckpointError: A part was not exported yet.
    """
    export, chosen = run / "export", find_recipe(recipe)
    decoder, autoencoder, image_size, sampling = picture_makers(chosen, run)
    made_by = {"processor": "embed", "normalizer": "prior"}  # the others by the stage of their name
    for folder in (export / "processor", autoencoder, export / "encoder", export / "normalizer", decoder):
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: not there yet; run train.{made_by.get(folder.name, folder.name)} first")
    prior = _if_exported(MultimodalPrior, final_prior(run))
    encoder = MultimodalEncoder.from_pretrained(export / "encoder").eval()
    normalizer = EmbeddingNormalizer.from_pretrained(export / "normalizer")
    defaults: dict[str, Any] = {**chosen.prior_sampling, **sampling}
    return UnCLIPMultimodalPipeline(
        processor=MultimodalProcessor.from_pretrained(export / "processor"),
        encoder=encoder,
        normalizer=normalizer,
        decoder=EmbeddingDecoder.from_pretrained(decoder),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        autoencoder=AutoencoderDC.from_pretrained(autoencoder),
        prior=prior,
        upsampler=_if_exported(Upsampler, export / "upsampler"),
        completion=_if_exported(EmbeddingCompletion, export / "complete"),
        memory=memorise(chosen, run, encoder, normalizer),
        prior_scheduler=None if prior is None else prior_scheduler(),
        image_size=image_size,
        recall=chosen.recall,
        **defaults,
    )


def _if_exported(kind: type[Part], folder: Path) -> Part | None:
    return kind.from_pretrained(folder) if folder.is_dir() else None


def picture_makers(recipe: Recipe, run: Path) -> tuple[Path, Path, int, dict[str, float]]:
    """Return the folders of the decoder and of the autoencoder, the side of their pictures, and how to sample them."""
    export = run / "export"
    rendered = (export / "renderer").is_dir()
    decoder, sampling = final_decoder(recipe, run)
    autoencoder = export / ("renderer" if rendered else "autoencoder")
    if (export / "finetune").is_dir():
        decoder, autoencoder = export / "finetune" / "decoder", export / "finetune" / "autoencoder"
    return decoder, autoencoder, recipe.renderer.picture_size if rendered else recipe.image_size, sampling


def forget_paths(folder: Path) -> None:
    """Take the folders that the parts were loaded from out of a saved pipeline: they mean nothing elsewhere."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main(output: Path, recipe: str = "pictograms", run: Path | None = None, half: bool = True) -> None:
    """Write a pipeline that ``from_pretrained`` loads.

    Args:
        output: Folder to write.
        recipe: Name of a recipe.
        run: Folder of the run; runs/RECIPE by default.
        half: Write weights in half precision, and frozen backbones in 8 bits.
    """
    folder = run or default_run(recipe)
    pipe = assemble(recipe, folder)
    if half:
        pipe.encoder.quantize()
        for component in pipe.components.values():
            if isinstance(component, torch.nn.Module):
                component.half()
    pipe.save_pretrained(output)
    forget_paths(output)
    words = vocabulary(folder)
    if words:
        (output / VOCABULARY).write_text("\n".join(words) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"{output}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    with one_line_errors("train.assemble"):
        tyro.cli(main)
