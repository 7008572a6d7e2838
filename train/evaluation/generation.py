"""Generated images: of the concept asked for? as real images are distributed? new, or copies?

Every condition is asked with and without the prior, beside the images decoded from the embedding of a real image of
the same concepts, and beside those real images themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from train.evaluation.items import TRAINED_SPLITS, Item, Pool, choose
from unclip_mm.metrics import concept_accuracy, frechet_distance, kernel_distance, nearest_cosines, spread

Make = Callable[[Mapping[str, Sequence["str | Path"]], Sequence[int], bool], list[Image.Image]]
"""({modality: captions or paths}, one seed an image, with the prior?) -> one image a prompt."""
Features = Callable[[Sequence[Image.Image]], Tensor]
"""Images -> (N, F) features of the judge."""

PRIOR, DIRECT, OWN, REAL = "prior", "no prior", "own embedding", "real image"
VARIANTS = (PRIOR, DIRECT, OWN, REAL)
UNSEEN_STYLE = "test_style"
PICTURES = 4
"""Pictures of one prompt that variety is measured on, each with a seed of its own."""
_SEEDS = 100_000
"""Seeds of noise that a seed of the evaluation has for itself."""
_MINIMUM = 2
_BATCH = 32


@dataclass(frozen=True)
class Gallery:
    """All real images with their features in the judge's space.

    Attributes:
        items: The real images, of every concept, split and style.
        features: (M, F), in the same order.
    """

    items: list[Item]
    features: Tensor

    @property
    def concepts(self) -> list[str]:
        """The concept of every image."""
        return [item.concept for item in self.items]

    def number(self) -> dict[str, int]:
        """Item key -> place in the gallery."""
        return {item.key: place for place, item in enumerate(self.items)}

    def of(self, test: Callable[[Item], bool]) -> Tensor:
        """Features of the images that pass a test, (m, F); m may be 0."""
        places = [place for place, item in enumerate(self.items) if test(item)]
        return self.features[places]


@dataclass(frozen=True)
class Prompts:
    """What one condition asks for with one seed: parallel lists, one entry a concept."""

    concepts: list[str]
    given: dict[str, list[Item]]
    real: list[Item]
    seed: int

    @property
    def alternatives(self) -> list[frozenset[str]]:
        """What may be meant, prompt by prompt: its concept, and what else all that is given stands for."""
        return [
            frozenset.intersection(*(frozenset({item.concept, *item.also}) for item in given))
            for given in zip(*self.given.values(), strict=True)
        ]

    def values(self) -> dict[str, list[str | Path]]:
        """{modality: what the pipeline is given}."""
        return {items[0].modality: [item.value for item in items] for items in self.given.values()}


@dataclass
class Made:
    """The images of one condition and seed.

    Attributes:
        prompts: What was asked.
        images: By variant (with and without the prior, from their own embedding), one a prompt.
        further: Further images of the same prompts with the prior, a list for each further seed.
    """

    prompts: Prompts
    images: dict[str, list[Image.Image]] = field(default_factory=dict)
    further: list[list[Image.Image]] = field(default_factory=list)


def conditions(pool: Pool) -> list[tuple[str, ...]]:
    """What images are asked for with: text, each kind of audio, sketch, and text with speech, as far as there are.

    Example:
        >>> table = {"cat": {"text": [], "sketch": [], "sound": [], "image": []}}
        >>> conditions(Pool("seen", table, table, frozenset()))
        [('text',), ('sketch',), ('sound',)]
    """
    single: list[tuple[str, ...]] = [(kind,) for kind in pool.kinds if kind not in ("image", "other speech")]
    spoken = next((kind for kind in ("speech", "audio") if kind in pool.kinds), None)
    return [*single, ("text", spoken)] if spoken and "text" in pool.kinds else single


def choose_prompts(pool: Pool, condition: Sequence[str], count: int, seed: int) -> Prompts | None:
    """Choose concepts, what is given for each, and a real image of each (a held-out one where there is one).

    Returns:
        None when fewer than two concepts have all that is needed.
    """
    concepts = [
        concept
        for concept in pool.concepts(condition, {}, len(pool.asked), seed)
        if "image" in pool.asked[concept] or "image" in pool.known.get(concept, {})
    ][:count]
    if len(concepts) < _MINIMUM:
        return None
    given = {kind: [choose(pool.asked, concept, kind, seed) for concept in concepts] for kind in condition}
    real = [
        choose(pool.asked if "image" in pool.asked[concept] else pool.known, concept, "image", seed)
        for concept in concepts
    ]
    return Prompts(concepts, given, real, seed)


def make_images(
    make: Make,
    prompts: Prompts,
    own: dict[str, Image.Image],
    *,
    prior: bool = True,
    pictures: int = PICTURES,
    progress: bool = True,
) -> Made:
    """Make the images of one condition: with the prior, without it, and from the real images' own embeddings.

    Args:
        make: Calls the pipeline.
        prompts: What to ask.
        own: Images decoded from their own embedding so far, by "item key/seed"; filled here, so that conditions that
            share a concept share its image.
        prior: Whether there is a prior to make images with.
        pictures: With the prior, of every prompt, each with a seed of its own.
        progress: Show a progress bar.
    """
    given = prompts.values()
    seeds = [prompts.seed * _SEEDS + place for place in range(len(prompts.concepts))]
    names = {item.key: f"{item.key}/{prompts.seed}" for item in prompts.real}
    missing = [(item, seed) for item, seed in zip(prompts.real, seeds, strict=True) if names[item.key] not in own]
    total = ((pictures if prior else 0) + 1) * len(seeds) + len(missing)
    label = "+".join(prompts.given)
    with tqdm(total=total, desc=f"{label}, seed {prompts.seed}", unit="image", disable=not progress) as bar:

        def ask(
            values: Mapping[str, Sequence[str | Path]], numbers: Sequence[int], by_prior: bool
        ) -> list[Image.Image]:
            made: list[Image.Image] = []
            for start in range(0, len(numbers), _BATCH):
                part = slice(start, start + _BATCH)
                made += make({name: values[name][part] for name in values}, numbers[part], by_prior)
                bar.update(len(numbers[part]))
            return made

        made = Made(prompts)
        if prior:
            made.images[PRIOR] = ask(given, seeds, True)
            further = ([seed + number * _SEEDS // pictures for seed in seeds] for number in range(1, pictures))
            made.further = [ask(given, numbers, True) for numbers in further]
        made.images[DIRECT] = ask(given, seeds, False)
        decoded = ask({"image": [item.value for item, _ in missing]}, [seed for _, seed in missing], True)
        own.update(zip((names[item.key] for item, _ in missing), decoded, strict=True))
    made.images[OWN] = [own[names[item.key]] for item in prompts.real]
    return made


def score(made: Made, features: Features, gallery: Gallery) -> dict[str, dict[str, float | None]]:
    """Measure every variant of one condition and seed.

    Returns:
        {variant: {measure: value}} for "prior", "no prior", "own embedding" and "real image" (the images whose own
        embedding was decoded: what a perfect decoder would give). Measures: ``top1``, ``top5`` (a real image of the
        concept is the nearest, or among the five nearest; for real images without the image itself), ``any1``, ``any5``
        (the same for any concept that the prompt may mean, see :attr:`Prompts.alternatives`), ``frechet`` and ``kernel``
        distance to all real images of the concepts, ``paired_frechet`` distance to exactly the real images
        that were decoded, ``ratio`` and ``paired_ratio`` of the two to those of the images decoded from their own
        embedding, ``copies`` (see :func:`copy_share`; None where no style is held out) and
        ``nearest`` (median cosine to the nearest trained image); with the prior ``variety`` and ``different`` (see
        :func:`measure_variety`); for the last two variants ``held_out``, the share of
        the real images that the model was not trained on. Distances are None for real images where they would
        measure them against themselves.
    """
    prompts = made.prompts
    numbers = gallery.number()
    places = [numbers[item.key] for item in prompts.real]
    asked = set(prompts.concepts)
    reference = gallery.of(lambda item: item.concept in asked)
    trained = gallery.of(lambda item: item.split in TRAINED_SPLITS)
    unseen = gallery.of(lambda item: item.split == UNSEEN_STYLE)
    real = gallery.features[places]
    vectors = {variant: features(images) for variant, images in made.images.items()} | {REAL: real}
    scores: dict[str, dict[str, float | None]] = {}
    for variant, made_features in vectors.items():
        skip = places if variant == REAL else None
        values: dict[str, float | None] = {
            f"{name}{k}": concept_accuracy(made_features, right, gallery.features, gallery.concepts, k, skip)
            for name, right in (("top", prompts.concepts), ("any", prompts.alternatives))
            for k in (1, 5)
        }
        values["frechet"] = None if variant == REAL else frechet_distance(made_features, reference)
        values["paired_frechet"] = None if variant == REAL else frechet_distance(made_features, real)
        values["kernel"] = None if variant == REAL else kernel_distance(made_features, reference)
        if variant != REAL and len(trained):
            values["copies"] = copy_share(made_features, unseen, trained) if len(unseen) else None
            values["nearest"] = float(nearest_cosines(made_features, trained).quantile(0.5))
        if variant == PRIOR and made.further:
            of_seeds = torch.stack([made_features, *(features(images) for images in made.further)], dim=1)
            values |= measure_variety(of_seeds, prompts.concepts, gallery)
        if variant in (OWN, REAL):
            held_out = [item.split not in TRAINED_SPLITS for item in prompts.real]
            values["held_out"] = sum(held_out) / len(held_out)
        scores[variant] = values
    for values in scores.values():
        for measure, ratio in (("frechet", "ratio"), ("paired_frechet", "paired_ratio")):
            value, base = values[measure], scores[OWN][measure]
            values[ratio] = value / base if value is not None and base else None
    return scores


def copy_share(generated: Tensor, unseen: Tensor, training: Tensor) -> float:
    """Share of generated images that lie nearer to a training image than a typical real unseen image does.

    "Typical" is the median over ``unseen`` of the cosine to the nearest training image. Images made by somebody who
    never saw the training images would score 0.5 (the unseen images themselves do by construction); a model that
    copies scores near 1.

    Args:
        generated: (N, F) features of generated images.
        unseen: (U, F) features of real images of the same kind that were not trained on.
        training: (M, F) features of the training images.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: shapes that do not fit, features that are not finite or zero.

    Example:
        >>> copy_share(torch.eye(2), torch.tensor([[0.8, 0.6]]), torch.tensor([[1.0, 0.0], [0.6, 0.0]]))
        0.5
    """
    threshold = nearest_cosines(unseen, training).quantile(0.5)
    return float((nearest_cosines(generated, training) > threshold).double().mean())


def measure_variety(generated: Tensor, concepts: Sequence[str], gallery: Gallery) -> dict[str, float | None]:
    """Measure how much the images of one prompt with several seeds differ.

    Args:
        generated: (N, K, F) features of K images of every prompt.
        concepts: The concept of each prompt.
        gallery: All real images.

    Returns:
        ``variety``, their spread (:func:`unclip_mm.metrics.spread`) as a share of the spread of the real images of the
        same concepts, over the concepts that have two real images or more (None where none has); and ``different``, how
        many different real images are nearest to the K of a prompt, from 1 to K.

    Example:
        >>> real = [Item(name, "image", "image", name, f"{name}.png", "train", "") for name in "aa"]
        >>> gallery = Gallery(real, torch.eye(2))
        >>> for rows in ([0, 1], [1, 1, 1]):
        ...     measure_variety(torch.eye(2)[None, rows], ["a"], gallery)
        {'variety': 1.0, 'different': 2.0}
        {'variety': 0.0, 'different': 1.0}
    """
    prompts, count = generated.shape[:2]
    flat = F.normalize(generated.flatten(0, 1).double(), dim=-1)
    nearest = (flat @ F.normalize(gallery.features.double(), dim=-1).mT).argmax(dim=1).view(prompts, count)
    different = sum(len(set(row)) for row in nearest.tolist()) / prompts
    number = Counter(gallery.concepts)
    told = [place for place, concept in enumerate(concepts) if number[concept] > 1]
    if not told:
        return {"variety": None, "different": different}
    labels = [concepts[place] for place in told]
    made = spread(generated[told].flatten(0, 1), [place for place in told for _ in range(count)])
    real = [place for place, concept in enumerate(gallery.concepts) if concept in set(labels)]
    among_real = spread(gallery.features[real], [gallery.concepts[place] for place in real])
    return {"variety": made / among_real if among_real else None, "different": different}


def evaluate_generation(
    make: Make,
    features: Features,
    gallery: Gallery,
    pools: Sequence[Pool],
    count: int,
    seeds: Sequence[int],
    *,
    only: Collection[str] = (),
    keep: Callable[[Pool, Made], None] | None = None,
    prior: bool = True,
    progress: bool = True,
) -> list[dict[str, object]]:
    """Make and measure images for every pool, condition and seed.

    Args:
        make: Calls the pipeline.
        features: The judge.
        gallery: All real images.
        pools: What to ask.
        count: Concepts a condition at most.
        seeds: Each chooses concepts, items and noise anew.
        only: Conditions such as ``text+speech``; all where there are none.
        keep: Called with the images of every condition of the first seed, to draw sheets of them.
        prior: Whether there is a prior to make images with.
        progress: Show progress bars.

    Returns:
        One record a pool, condition, seed and variant.
    """
    records: list[dict[str, object]] = []
    for pool in pools:
        own: dict[str, Image.Image] = {}
        for condition in conditions(pool):
            if only and "+".join(condition) not in only:
                continue
            for seed in seeds:
                prompts = choose_prompts(pool, condition, count, seed)
                if prompts is None:
                    continue
                made = make_images(make, prompts, own, prior=prior, progress=progress)
                if keep is not None and seed == seeds[0]:
                    keep(pool, made)
                for variant, values in score(made, features, gallery).items():
                    head = {"pool": pool.name, "condition": "+".join(condition), "variant": variant, "seed": seed}
                    records.append(head | {"concepts": len(prompts.concepts)} | values)
    return records


def real_features(judge_files: Callable[[Sequence[Path]], Tensor], items: Sequence[Item]) -> Gallery:
    """Build the gallery from the files of the real images."""
    return Gallery(list(items), torch.as_tensor(judge_files([Path(item.value) for item in items])))
