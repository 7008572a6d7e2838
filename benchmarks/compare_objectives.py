"""Which objective to choose: ``python -m benchmarks.compare_objectives --run runs/pictograms --data data/pictograms``.

Every objective trains the same heads for text, audio and image, from the same weights, on the same batches and for as
many steps, over features of frozen networks; with ``--start-steps`` all begin with heads that InfoNCE has brought some way
together, as the papers begin with networks that were aligned before. An objective's constants are the best of three on
validation concepts. Prints recall between all kinds, the gap and the conflicts, and the Frechet distance of pictures made
with and without a prior, by mean and deviation over seeds. Results are kept one file a training: run again to go on where
it stopped; each way to begin wants an ``--output`` of its own.

Pictures are made by the prior and the decoder of a trained model, the same for all: a regression, fitted on training
pictures alone, takes an objective's image vectors to that model's image embeddings, and is then given the vectors of text
and speech. How far those lie from where the pictures lie is how far the pictures are off. Without the prior the decoder
is given what comes out; with it, the prior is asked with the aligned part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor, nn

from train.command import one_line_errors
from train.config import LoopConfig
from train.encoder import place_rows
from train.encoder_batches import Batch, Batches
from train.evaluate import load_pipeline
from train.evaluation.generation import DIRECT, PRIOR, Gallery, choose_prompts, make_images, score
from train.evaluation.items import Pool, build_pools, images
from train.evaluation.judging import open_judge
from train.evaluation.report import table, write_report
from train.evaluation.retrieval import evaluate_retrieval
from train.evaluation.space import embed_concepts, measure_space
from train.kept import fingerprint
from train.loop import Losses, Step, train
from train.normalizer import embed_all
from unclip_mm.data.cache import ConceptPools, ModalityCache, set_aside_validation
from unclip_mm.data.manifest import Manifest, read_manifest
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import MultimodalEncoder, aligned_part
from unclip_mm.errors import InputError
from unclip_mm.metrics import recall_at_k
from unclip_mm.objectives import build_objective
from unclip_mm.towers.kernel import KernelHead

MODALITIES = ("text", "audio", "image")
CONDITIONS = (("text",), ("speech",), ("text", "speech"))
TRIALS: dict[str, list[dict[str, Any]]] = {
    "unialign": [{"anchor": "image", "lambda_align": value} for value in (3.0, 10.0, 30.0)],
    "pmrl": [{"tau1": 0.05}, {"tau1": 0.2}, {"tau1": 0.2, "tau2": 0.05}],
    "infonce": [{"anchor": "image"}, {"anchor": None}, {"anchor": None, "temperature": 0.2, "learnable": False}],
    "gram": [{}, {"smoothing": 0.0}, {"temperature": 0.2, "learnable": False}],
    "triangle": [{}, {"smoothing": 0.0}, {"temperature": 0.2, "learnable": False}],
    "symile": [{}, {"shuffle": False}, {"temperature": 0.2, "learnable": False}],
    "cs-aligner": [{"anchor": "image"}, {"anchor": None}, {"anchor": None, "temperature": 0.2, "learnable": False}],
}
"""What is tried of each objective."""
START: tuple[str, dict[str, Any]] = ("infonce", {"anchor": None})
"""What all begin with where they begin with heads that agree already."""


@dataclass
class World:
    """What all trainings share.

    Attributes:
        caches: Modality -> features ``vector`` of every item, from frozen networks.
        pools: What is asked.
        places: Modality -> what the pools give (a caption or a file) -> its position in the cache.
        pipe: The trained model whose decoder makes the pictures.
        judge: Pictures -> features.
        gallery: The real pictures, judged.
    """

    caches: dict[str, ModalityCache]
    pools: list[Pool]
    places: dict[str, dict[str | Path, int]]
    pipe: Any
    judge: Callable[[Sequence[Image.Image]], Tensor]
    gallery: Gallery


class Alignment(nn.Module):
    """The heads of all modalities, and the objective between them."""

    def __init__(self, encoder: MultimodalEncoder, objective: nn.Module):
        super().__init__()
        self.encoder, self.objective = encoder, objective

    def forward(self, batch: Batch) -> Losses:
        """Return the losses of a batch."""
        embedded = {name: self.encoder.embed(name, features) for name, (features, _) in batch.items()}
        return dict(self.objective(place_rows(embedded, batch)))


def frozen_features(run: Path, encoder: MultimodalEncoder, output: Path) -> dict[str, ModalityCache]:
    """Write one vector an item: pooled states of the text and the audio backbone, embeddings of the image tower."""
    caches = {}
    for modality in MODALITIES:
        if not (output / f"{modality}.safetensors").is_file():
            cache = ModalityCache.load(run / "cache", modality)
            rows = list(range(len(cache)))
            vectors = embed_all(encoder, cache, modality, rows) if modality == "image" else _pooled(cache)
            ModalityCache({"vector": vectors}, cache.items).save(output, modality)
        caches[modality] = ModalityCache.load(output, modality)
    set_aside_validation(caches)
    return caches


def _pooled(cache: ModalityCache) -> Tensor:
    if "pooled" in cache.tensors:
        return cache.tensors["pooled"].float()
    parts = [cache.features(rows) for rows in torch.arange(len(cache)).split(512)]
    return torch.cat([part["tokens"].sum(dim=1) / part["mask"].sum(dim=1, keepdim=True) for part in parts])


def places(manifest: Manifest, caches: Mapping[str, ModalityCache]) -> dict[str, dict[str | Path, int]]:
    """Find the position in the cache of every caption and file."""
    found: dict[str, dict[str | Path, int]] = {
        "text": {item["text"]: position for position, item in enumerate(caches["text"].items)}
    }
    for modality in ("audio", "image"):
        rows = {item["row"]: position for position, item in enumerate(caches[modality].items)}
        files = {manifest.path(row, modality): rows[row.id] for row in manifest.rows if row.id in rows}
        found[modality] = dict(files)
    return found


def train_heads(
    world: World,
    name: str,
    options: Mapping[str, Any],
    loop: LoopConfig,
    folder: Path,
    start: MultimodalEncoder | None = None,
) -> MultimodalEncoder:
    """Train heads by an objective, fresh ones or such as ``start`` has, which it leaves as they are."""
    torch.manual_seed(loop.seed)
    towers = {
        modality: {"type": "vector", "features": cache.tensors["vector"].shape[1], "width": 384, "depth": 1}
        for modality, cache in world.caches.items()
    }
    encoder = MultimodalEncoder(256, towers)
    if start is not None:
        encoder.load_state_dict(start.state_dict())
    model = Alignment(encoder, build_objective(name, **options))
    batches = Batches(world.caches, "image", 1, 0.0, torch.device("cpu"))

    def loss(prepared: nn.Module, step: Step) -> Losses:
        return prepared(batches.draw(step.batch_size, step.generator))

    trained: MultimodalEncoder = train(loop, model, loss, folder, description=folder.name).encoder
    return trained


def embed_caches(world: World, encoder: MultimodalEncoder) -> dict[str, Tensor]:
    """Return modality -> aligned unit vectors (N, D) of every item."""
    return {
        modality: aligned_part(embed_all(encoder, cache, modality, list(range(len(cache)))), encoder.dim)
        for modality, cache in world.caches.items()
    }


def validation_score(world: World, vectors: Mapping[str, Tensor]) -> float:
    """Mean of recall@1 and recall@5 over all pairs of modalities, on validation concepts."""
    pools = ConceptPools(world.caches, "validation", anchor="image")
    positions = pools.draw(len(pools.concepts), torch.Generator().manual_seed(0))
    scores: list[float] = []
    for query in MODALITIES:
        for target in MODALITIES:
            if query != target:
                both = ((positions[query] >= 0) & (positions[target] >= 0)).nonzero()[:, 0]
                asked, answers = (vectors[name][positions[name][both]] for name in (query, target))
                labels = both.tolist()
                scores += recall_at_k(asked, answers, labels, labels, (1, 5)).values()
    return sum(scores) / len(scores)


def examine(world: World, vectors: Mapping[str, Tensor], concepts: int, pictures: int, seed: int) -> dict[str, float]:
    """Measure what an objective has made: recall, space, and pictures."""

    def encode(modality: str, values: Sequence[str | Path]) -> Tensor:
        return vectors[modality][[world.places[modality][value] for value in values]]

    figures: dict[str, float] = {}
    for record in evaluate_retrieval(encode, world.pools, concepts, [seed], progress=False):
        figures[f"{record['pool']}: {record['query']} > {record['target']}"] = 100 * float(str(record["recall@1"]))
    for pool in world.pools:
        space = measure_space(embed_concepts(encode, pool, concepts, seed), "image")
        gaps = space["centroid_gap"].values()
        figures[f"{pool.name}: gap"] = sum(gaps) / len(gaps)
        figures |= {f"{pool.name}: {name}": space[name] for name in ("zeta", "chi", "hoelder", "alignment")}
    rows = world.caches["image"].where(split="train")
    dim = world.pipe.encoder.dim
    readout = fit_readout(vectors["image"][rows], world.caches["image"].tensors["vector"][rows], dim)

    def make(given: Mapping[str, Sequence[str | Path]], seeds: Sequence[int], prior: bool) -> list[Image.Image]:
        asked = readout(Embeddings.from_dict({name: encode(name, values) for name, values in given.items()}).mix())
        if prior and "image" not in given:
            asked = aligned_part(asked, dim)  # the prior imagines the rest
        return list(world.pipe(embeddings=asked, seeds=list(seeds)).images)

    own: dict[str, Image.Image] = {}
    for condition in CONDITIONS:
        prompts = choose_prompts(world.pools[0], condition, pictures, seed)
        assert prompts is not None
        scores = score(make_images(make, prompts, own, pictures=1, progress=False), world.judge, world.gallery)
        for way, name in ((DIRECT, "prior-free"), (PRIOR, "with the prior")):
            for measure in ("ratio", "top5"):
                figures[f"{name}, {'+'.join(condition)}: {measure}"] = float(scores[way][measure] or 0.0)
    for name in ("prior-free", "with the prior"):
        ratios = [figures[f"{name}, {'+'.join(condition)}: ratio"] for condition in CONDITIONS]
        figures[f"{name}, mean ratio"] = sum(ratios) / len(ratios)
    return figures


def fit_readout(inputs: Tensor, outputs: Tensor, aligned_dim: int) -> Callable[[Tensor], Tensor]:
    """Fit what takes an objective's image vectors (N, D) to the model's image embeddings (N, E).

    A kernel regression gives pictures back as they were, and what lies off them comes out the vaguer the farther off it
    is, as with a decoder that has seen pictures alone.

    Args:
        inputs: Unit vectors.
        outputs: Of the same pictures.
        aligned_dim: Dimensions of the aligned part of the outputs.

    Returns:
        What takes unit vectors (B, D) of any modality to image embeddings (B, E), as long as real ones are.
    """
    regression = KernelHead.fit(inputs, outputs, width=3.0, ridge=1e-2)

    def read(vectors: Tensor) -> Tensor:
        parts = regression(vectors).tensor_split([aligned_dim], dim=-1)
        return torch.cat([F.normalize(part, dim=-1) * part.shape[-1] ** 0.5 for part in parts], dim=-1)

    return read


def compare(
    world: World,
    loop: LoopConfig,
    seeds: Sequence[int],
    concepts: int,
    pictures: int,
    output: Path,
    start_steps: int = 0,
    names: Sequence[str] = (),
    trial: int | None = None,
) -> Iterator[dict]:
    """Choose each objective's constants, then train and examine it with every seed; yield its figures a seed."""

    def begin(seed: int) -> MultimodalEncoder | None:
        if not start_steps:
            return None
        first = replace(loop, steps=start_steps, seed=seed)
        return train_heads(world, *START, first, output / "runs" / f"start-{seed}")

    for name in names or TRIALS:
        trials = TRIALS[name]

        def run(number: int, seed: int, name: str = name, trials: Sequence[Any] = trials) -> dict[str, Tensor]:
            then = replace(loop, steps=loop.steps - start_steps, seed=seed)
            folder = output / "runs" / f"{name}-{number}-{seed}"
            return embed_caches(world, train_heads(world, name, trials[number], then, folder, begin(seed)))

        picked = _kept(
            output / "trials" / f"{name}.json",
            lambda trials=trials, run=run: {
                str(number): validation_score(world, run(number, 1000)) for number in range(len(trials))
            },
        )
        best = int(max(picked, key=lambda number: picked[number])) if trial is None else trial
        print(name, {json.dumps(trials[int(n)]): round(score, 3) for n, score in picked.items()}, flush=True)
        for seed in seeds:
            figures = _kept(
                output / "results" / f"{name}-{best}-{seed}.json",
                lambda seed=seed, run=run, best=best: examine(world, run(best, seed), concepts, pictures, seed),
            )
            yield {"objective": name, "options": trials[best], "seed": seed, "figures": figures}


def _kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read what an earlier run wrote, or make and write it."""
    if not file.is_file():
        write_report(make(), file)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def check_settings(file: Path, settings: dict[str, Any]) -> None:
    """Write what results are kept for, or, where that is written already, compare.

    Raises:
        InputError: The folder holds results of other settings.
    """
    for name, value in _kept(file, lambda: settings).items():
        if settings.get(name) != value:
            raise InputError(f"--output: {file.parent} holds results of other {name} ({value}); choose another folder")


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """Print a row a figure and a column an objective: mean and deviation over seeds."""
    names = list(dict.fromkeys(result["objective"] for result in results))
    rows = []
    for figure in results[0]["figures"]:
        cells = []
        for name in names:
            values = torch.tensor([r["figures"][figure] for r in results if r["objective"] == name])
            cells.append(f"{values.mean():.2f} ± {values.std(correction=int(len(values) > 1)):.2f}")
        rows.append([figure, *cells])
    print(table(["figure", *names], rows))


def main(
    data: Path,
    output: Path = Path("runs/objectives"),
    run: Path = Path("runs/pictograms"),
    checkpoint: str = "pictograms",
    archives: Path | None = None,
    steps: int = 800,
    start_steps: int = 0,
    batch_size: int = 256,
    seeds: tuple[int, ...] = (0, 1, 2),
    concepts: int = 100,
    pictures: int = 60,
    names: tuple[str, ...] = (),
    trial: int | None = None,
) -> None:
    """Compare the objectives.

    Args:
        data: The prepared pictograms.
        output: Where features, trainings and results are kept.
        run: A run of the recipe ``pictograms``, for the cache of its features.
        checkpoint: The trained model, whose image tower gives features of pictures and whose decoder makes them.
        archives: Where the package with the judge's network is or shall be; by default DATA/archives.
        steps: Of each training.
        start_steps: So many of these are InfoNCE's, whatever the objective is that goes on from there.
        batch_size: Concepts a step.
        seeds: Of weights, batches and questions.
        concepts: A question of retrieval.
        pictures: A condition of generation and way of making them.
        names: Objectives; by default all.
        trial: Examine this one of each objective's trials, counted from 0, in place of the best.
    """
    if unknown := sorted(set(names) - set(TRIALS)):
        raise InputError(f"--names: {unknown[0]!r} is not among {', '.join(TRIALS)}")
    if trial not in (None, 0, 1, 2):
        raise InputError(f"--trial: {trial} is not allowed; give 0, 1 or 2")
    if not 0 <= start_steps < steps:
        raise InputError(f"--start-steps: {start_steps} is not allowed; give a number from 0 to {steps - 1}")
    pipe = load_pipeline(checkpoint, "cpu")
    pipe.register_to_config(recall={})  # the objectives are to align voices with pictures, not the memory of the model
    weights = fingerprint(pipe.encoder, pipe.prior, pipe.decoder, pipe.autoencoder)
    check_settings(
        output / "settings.json",
        {"weights": weights, "steps": steps, "start_steps": start_steps, "batch_size": batch_size}
        | {"concepts": concepts, "pictures": pictures},
    )
    manifest = read_manifest(data)
    judge, gallery = open_judge(data, archives, images(manifest), pipe.config.image_size)
    caches = frozen_features(run, pipe.encoder, output / "features")
    pools = build_pools(manifest, modalities=MODALITIES)
    world = World(caches, pools, places(manifest, caches), pipe, judge.features_of_images, gallery)
    loop = LoopConfig(steps=steps, batch_size=batch_size, learning_rate=1e-3, warmup_steps=50, decay_fraction=0.7)
    results = list(compare(world, loop, seeds, concepts, pictures, output, start_steps, names, trial))
    print_table(results)
    write_report({"results": results}, output / "report.json")


if __name__ == "__main__":
    with one_line_errors("benchmarks.compare_objectives"):
        tyro.cli(main)
