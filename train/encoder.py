"""Train the encoder: ``python -m train.encoder --recipe pictograms``.

The objective aligns the modalities. A reconstruction term keeps the image embedding decodable: a small network predicts
the picture from it, so that the part of the embedding that no caption speaks of holds layout and style.

The heads that the recipe names are then made smooth (:mod:`train.smooth`). Modalities that it names as ``later`` are
trained last, one by one, into the space that is there by then: all other towers stay as they are. With ``--only audio``
(and ``--later-loop.steps N``, ``--later-anchor NAME``) that is all that happens, to the encoder exported before, and a
prior and a decoder trained on its space stay valid. A tower of the recipe that that encoder lacks is added to it.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from train.config import EncoderConfig
from train.encoder_batches import Batch, Batches
from train.loop import Losses, Step, train
from train.normalizer import fit_normalizer
from train.smooth import smooth_head
from train.stage import Stage, find_recipe, run_stage
from unclip_mm import diagnostics
from unclip_mm.data.cache import ConceptPools, ModalityCache
from unclip_mm.embeddings import Embeddings
from unclip_mm.encoder import MultimodalEncoder, aligned_part, build_encoder
from unclip_mm.errors import InputError
from unclip_mm.metrics import recall_at_k
from unclip_mm.objectives import OBJECTIVES, build_objective


class Reconstruction(nn.Module):
    """Predicts pictures (B, 3, S, S) from the image embedding (B, E); used in training only.

    A small transformer over a 4 x 4 grid, each place of which paints its patch of the picture.
    """

    GRID = 4

    def __init__(self, embedding_dim: int, image_size: int, width: int, depth: int):
        super().__init__()
        self.patch = image_size // self.GRID
        self.inward = nn.Linear(embedding_dim, self.GRID**2 * width // 4)
        self.widen = nn.Linear(width // 4, width)
        self.position = nn.Parameter(torch.randn(1, self.GRID**2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * self.patch**2))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the pictures."""
        tokens = self.widen(self.inward(embeddings).unflatten(1, (self.GRID**2, -1))) + self.position
        patches = self.outward(self.layers(tokens)).transpose(1, 2).unflatten(2, (self.GRID, self.GRID))
        return nn.functional.pixel_shuffle(patches, self.patch)


class EncoderLoss(nn.Module):
    """The objective over all modalities, and the reconstruction of pictures from image embeddings."""

    def __init__(self, config: EncoderConfig, encoder: MultimodalEncoder, image_size: int):
        super().__init__()
        self.encoder, self.config = encoder, config
        self.objective = build_objective(config.objective, **anchored(config))
        self.reconstruction = Reconstruction(
            encoder.image_embedding_dim, image_size, config.reconstruction_width, config.reconstruction_depth
        )

    def forward(self, batch: Batch, noise: Tensor) -> Losses:
        """Return the losses of a batch."""
        image = self.encoder.image_embedding(batch["image"][0]) if "image" in batch else None
        embedded = {name: self.encoder.embed(name, part) for name, (part, _) in batch.items() if name != "image"}
        if image is not None:
            embedded["image"] = aligned_part(image, self.encoder.dim)
        losses = dict(self.objective(place_rows({name: embedded[name] for name in batch}, batch)))
        if image is None or self.config.only:
            return losses
        predicted = self.reconstruction(image + self.config.embedding_noise * noise[batch["image"][1]])
        losses["reconstruction_loss"] = (
            self.config.reconstruction_weight * (predicted - batch["image"][0]["pixels"]).square().mean()
        )
        return losses


def place_rows(embedded: dict[str, Tensor], batch: Batch) -> Embeddings:
    """Put the vectors (n, D) of the rows that have a modality where those rows are in the batch."""
    vectors, present = {}, {}
    for modality, values in embedded.items():
        where = batch[modality][1]
        vectors[modality] = values.new_zeros(len(where), values.shape[1]).index_put((where,), values)
        present[modality] = where
    return Embeddings.from_dict(vectors, present)


def anchored(config: EncoderConfig) -> dict[str, Any]:
    """Return the objective's options, with the anchor where it takes one and the recipe names none (None: all pairs).

    Example:
        >>> anchored(EncoderConfig(objective="infonce")), anchored(EncoderConfig(objective="triangle"))
        ({'anchor': 'image'}, {'anchor': 'image'})
        >>> anchored(EncoderConfig(objective="infonce", objective_options={"anchor": None}))
        {'anchor': None}
    """
    takes_anchor = "anchor" in inspect.signature(OBJECTIVES[config.objective]).parameters
    own = {"anchor": config.anchor} if takes_anchor else {}
    return {**config.objective_options, **own} if config.only else {**own, **config.objective_options}


def validation_figures(
    model: EncoderLoss, caches: dict[str, ModalityCache], anchor: str, device: torch.device
) -> dict[str, float]:
    """Recall@1 from every other modality to the anchor on validation concepts, one item each, and the diagnostics."""
    pools = ConceptPools(caches, "validation", anchor=anchor)
    positions = pools.draw(len(pools.concepts), torch.Generator().manual_seed(0))
    vectors, present, figures = {}, {}, {}
    for modality, chosen in positions.items():
        where = chosen >= 0
        if where.sum() < 2:
            continue
        features = {k: v.to(device) for k, v in caches[modality].features(chosen[where]).items()}
        embedded = model.encoder.embed(modality, features).float().cpu()
        vectors[modality] = embedded.new_zeros(len(chosen), model.encoder.dim).index_put((where,), embedded)
        present[modality] = where
    if len(vectors) < 2:
        return {}
    for modality in (name for name in vectors if name != anchor):
        rows = present[modality].nonzero()[:, 0]
        recall = recall_at_k(
            vectors[modality][rows], vectors[anchor], rows.tolist(), list(range(len(vectors[anchor]))), (1,)
        )
        figures[f"held_out_{modality}_to_{anchor}_recall@1"] = recall[1]
    measured = diagnostics.summary(Embeddings.from_dict(vectors, present), anchor)
    return figures | {f"held_out_{name}": value for name, value in measured.items()}


def phases(config: EncoderConfig) -> list[EncoderConfig]:
    """Return what is trained after what: all modalities but the later ones together, then each of those alone.

    Example:
        >>> [(phase.only, phase.anchor) for phase in phases(EncoderConfig(later=("audio",)))]
        [((), 'image'), (('audio',), 'text')]
    """
    alone = [
        replace(config, only=(modality,), loop=config.later_loop, anchor=config.later_anchor)
        for modality in config.only or config.later
    ]
    return alone if config.only else [config, *alone]


def shares_of(config: EncoderConfig) -> dict[str, float]:
    """Return how much of a batch goes to concepts with which kind of item: what is said of those that train alone.

    Example:
        >>> shares = {"audio": {"sound": 0.4}}
        >>> [shares_of(EncoderConfig(only=only, later_shares=shares)) for only in ((), ("sketch",), ("audio",))]
        [{}, {}, {'sound': 0.4}]
    """
    return {kind: share for name in config.only for kind, share in config.later_shares.get(name, {}).items()}


def train_phase(stage: Stage[EncoderConfig], config: EncoderConfig, encoder: MultimodalEncoder) -> MultimodalEncoder:
    """Train the modalities of one phase, and return the whole encoder.

    Raises:
        InputError: One of them has nothing that can be trained.
    """
    trained_now = config.only or tuple(name for name in config.towers if name not in config.later)
    for modality in trained_now:
        if not any(parameter.requires_grad for parameter in encoder.tower(modality).parameters()):
            raise InputError(
                f"encoder: the tower of {modality!r} has nothing to train, as its head is a regression of what one said "
                "(train.smooth); start from an encoder before that, or from nothing"
            )
    caches = stage.caches(*dict.fromkeys([config.anchor, *trained_now]))
    resting = [
        parameter
        for modality, tower in encoder.branches.items()
        for parameter in tower.parameters()
        if modality not in trained_now and parameter.requires_grad
    ]
    for parameter in resting:
        parameter.requires_grad_(False)
    model = EncoderLoss(config, encoder, stage.recipe.image_size)
    batches = Batches(caches, config.anchor, config.max_tokens, config.hide_tokens, stage.device, shares_of(config))

    def loss(prepared: nn.Module, step: Step) -> Losses:
        batch = batches.draw(step.batch_size, step.generator)
        noise = torch.randn(step.batch_size, encoder.image_embedding_dim, generator=step.generator)
        strength = torch.rand(step.batch_size, 1, generator=step.generator)
        return prepared(batch, (strength * noise)[: len(batch[config.anchor][1])].to(stage.device))

    def validate(model: Any) -> dict[str, float]:
        return validation_figures(model, caches, config.anchor, stage.device)

    folder = stage.run / "-".join(["encoder", *config.only])
    trained = train(config.loop, model, loss, folder, validate=validate, description=folder.name)
    print({"trained": folder.name, **validate(trained)})
    for parameter in resting:
        parameter.requires_grad_(True)
    return encoder


def check_options(config: EncoderConfig, written: EncoderConfig) -> None:
    """Refuse options of the joint training beside ``only``, which leaves it out.

    Raises:
        InputError: ``loop`` or ``anchor`` differs from what the recipe says; or the two loops are of other precision.
    """
    if config.later and not config.only and config.loop.mixed_precision != config.later_loop.mixed_precision:
        raise InputError(
            f"--loop.mixed-precision {config.loop.mixed_precision}: the towers that train later do so in "
            f"{config.later_loop.mixed_precision}, and a process has one precision; give --later-loop.mixed-precision too"
        )
    for name in ("loop", "anchor"):
        if config.only and getattr(config, name) != getattr(written, name):
            raise InputError(f"--{name}: has no say beside --only; give --later-{name} instead")


def train_encoder(stage: Stage[EncoderConfig]) -> None:
    """Train and export to ``RUN/export/encoder``, once all phases are done."""
    config = stage.config
    check_options(config, find_recipe(stage.recipe.name).encoder)
    torch.manual_seed(config.loop.seed)
    if config.only:
        stage = replace(stage, start=stage.start or stage.export)
    encoder = stage.initial(MultimodalEncoder, lambda: build_encoder(config.dim, config.towers), dim=config.dim)
    lacking = [name for name in config.only if name in config.towers and name not in encoder.branches]
    if lacking:
        encoder.extend(build_encoder(config.dim, {name: config.towers[name] for name in lacking}))
    for phase in phases(config):
        encoder = train_phase(stage, phase, encoder)
        if not phase.only:
            for modality in stage.recipe.smooth.modalities:
                smooth_head(stage, stage.recipe.smooth, encoder, modality)
    if stage.exported("normalizer").is_dir():
        fit_normalizer(stage, encoder)  # that of an encoder before says nothing of this one's space
    stage.save(encoder)
    print({"exported": str(stage.export)})


if __name__ == "__main__":
    run_stage("encoder", __doc__, train_encoder)
