"""What a recipe says: one small dataclass a stage, all of them plain values that print and compare.

A recipe (:mod:`train.recipes`) is one instance of :class:`Recipe`. What concerns one stage alone can be set from the
command line: ``python -m train.decoder --recipe pictograms --loop.steps 1000``. What several stages have to agree on
(towers, sizes of pictures, steps of the decoder, what is looked up) is the recipe's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tyro


@dataclass(frozen=True)
class LoopConfig:
    """How a stage is optimised. Counters are optimiser steps; the learning rate is a function of the step alone."""

    steps: int = 1000
    """Optimiser steps in all."""
    batch_size: int = 64
    """Samples a step and process."""
    learning_rate: float = 3e-4
    """Peak learning rate of AdamW."""
    warmup_steps: int = 100
    """Steps of linear rise from 0 to the peak."""
    decay_fraction: float = 0.3
    """The last part of the run in which the rate falls along a cosine to 2% of its peak."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    clip_norm: float = 1.0
    """Gradient norm above which gradients are scaled down."""
    ema_decay: float = 0.0
    """Decay of the weight average that is exported (0: export the weights themselves)."""
    mixed_precision: str = "no"
    """"no" or "bf16"."""
    compile: bool = False
    """Compile the model with torch.compile (about a minute at the start, then faster)."""
    seed: int = 0
    """Seed of initial weights, data order and noise."""
    save_minutes: float = 3.0
    """Minutes between checkpoints; the last step is always saved."""
    keep_checkpoints: int = 2
    """Checkpoints kept; older ones are removed after a newer one is complete."""
    log_every: int = 50
    """Steps between lines of the log."""
    validate_every: int = 500
    """Steps between evaluations on the held-out rows."""
    max_minutes: float | None = None
    """Stop (with a checkpoint) after so many minutes; run the same command again to go on."""
    fit_minutes: float | None = None
    """Take only as many of the steps as fit into so many minutes after the first one (:mod:`train.budget`)."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """The picture autoencoder: diffusers' ``AutoencoderDC``, pixels to latents and back."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    latent_channels: int = 16
    channels: tuple[int, ...] = (64, 64, 128, 128)
    """Widths from full resolution down; each further entry halves the resolution."""
    layers: tuple[int, ...] = (0, 1, 2, 1)
    """Residual blocks at each resolution; 0 at the first makes its step a plain pixel shuffle."""
    latent_noise: float = 0.05
    """Noise added to the latents in training, in their own units: the decoder part learns to forgive small errors."""
    gradient_weight: float = 0.5
    """Weight of the error of image gradients at two scales, which keeps edges crisp."""


@dataclass(frozen=True)
class EncoderConfig:
    """The towers and the objective that aligns them."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    dim: int = 256
    """Dimension D of the shared space."""
    towers: tyro.conf.Suppress[dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Modality -> the tower's ``type`` and options."""
    objective: str = "unialign"
    """unialign, pmrl, infonce, gram, triangle, symile or cs-aligner."""
    objective_options: tyro.conf.Suppress[dict[str, Any]] = field(default_factory=dict)
    """Its arguments. Its anchor is ``anchor`` below, unless this says otherwise: None contrasts all pairs, where it can."""
    reconstruction_weight: float = 10.0
    """Weight of predicting the picture from its embedding, which keeps the embedding decodable."""
    reconstruction_width: int = 256
    """Of the network that predicts the picture, which only training uses."""
    reconstruction_depth: int = 2
    """Its layers."""
    max_tokens: int = 50
    """Longest stretch of a sequence that is trained on at a time (2 s of audio)."""
    hide_tokens: float = 0.15
    """Share of a sequence's steps that are hidden in training, so that no single one of them is relied on."""
    anchor: str = "image"
    """The modality that every row of a batch has, and that the objective's ``anchor`` names if it takes one."""
    later: tuple[str, ...] = ()
    """Modalities that join when the others are trained: each is then trained alone, into a space that stays as it is."""
    later_loop: LoopConfig = field(default_factory=LoopConfig)
    """How those are optimised."""
    later_shares: tyro.conf.Suppress[dict[str, dict[str, float]]] = field(default_factory=dict)
    """Modality -> kind of item -> the least share of its batches that goes to concepts with such items."""
    later_anchor: str = "text"
    """The modality that those are aligned with; speech, say, is far nearer to captions than to pictures."""
    versions: tyro.conf.Suppress[dict[str, int]] = field(default_factory=dict)
    """Kind of training sounds -> how many other versions of each are cached beside it (:mod:`train.versions`)."""
    only: tuple[str, ...] = ()
    """Skip the rest: train just these, as ``later`` ones, into the space of the encoder that is exported already."""
    embedding_noise: float = 0.15
    """Noise on the embedding before the reconstruction, in units of its standard deviation."""


@dataclass(frozen=True)
class SmoothConfig:
    """Heads of texts that become smooth between what they were taught, before other modalities are trained towards them."""

    modalities: tuple[str, ...] = ()
    """Texts, by the names of their towers."""
    width: float = 2.0
    """How narrow the bumps of the regression are: it follows what is said of each caption, the more so the narrower."""
    ridge: float = 0.1
    """How far the regression may stay from what is said of a caption, for a smoother way between them."""
    frames: tuple[str, ...] = ()
    """What people ask with, ``{}`` being the thing: the direction in which that moves features is left aside."""
    frame_directions: int = 1
    """How many directions, if there are frames."""


@dataclass(frozen=True)
class DecoderConfig:
    """The image decoder: image embedding to latents, by flow matching."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    heads: int = 4
    head_dim: int = 64
    layers: int = 7
    patch_size: int = 2
    """Side of the latent patches that are one token of the transformer."""
    tokens: int = 8
    """Condition tokens that the embedding is cut into for cross-attention."""
    layout_channels: int = 16
    """Channels of the map, linear in the embedding, that is laid beside the noisy latents."""
    views: int = 4
    """Shifted and scaled versions of each picture, encoded once before training."""
    drop_condition: float = 0.1
    """Probability of training without any condition (for guidance)."""
    embedding_noise: float = 0.2
    """Largest noise added to the embedding, in units of its standard deviation."""


@dataclass(frozen=True)
class DistillConfig:
    """The image decoder once more, for few steps without guidance."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    steps: tyro.conf.Suppress[int] = 4
    """Evaluations that the result is meant for, judged at in training, and finetuned in."""
    teacher_steps: int = 12
    guidance_scale: float = 1.5
    """Of the teacher; it goes into the result."""
    views: int = 1
    """Shifted and scaled versions of each picture that the teacher paints."""
    drop_condition: float = 0.1
    """Share of a batch that is trained without any condition, on pictures, as the teacher was."""
    imagined: float = 0.5
    """Share of the pairs that are made of what the prior imagines of a picture, where a prior was trained."""
    condition_noise: float = 0.5
    """Largest length of the noise on what the prior is asked with then (of length 1)."""
    embedding_noise: float = 0.2
    """Largest noise added to the embedding, in units of its standard deviation."""


@dataclass(frozen=True)
class RendererConfig:
    """The autoencoder's decoder half, trained anew once the image decoder is there."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    picture_size: tyro.conf.Suppress[int] = 64
    """Side of the pictures; the latents stay those of the recipe's ``image_size``."""
    channels: tuple[int, ...] = (64, 64, 64, 128, 128)
    """Widths from full resolution down; each entry more than the encoder half has doubles the picture."""
    layers: tuple[int, ...] = (0, 1, 2, 2, 2)
    views: int = 2
    """Shifted and scaled versions of each picture."""
    made: float = 0.5
    """Share of a batch whose latents the image decoder made of the picture's embedding, instead of encoded ones."""
    latent_noise: float = 0.2
    """Largest noise added to the latents, which have unit variance."""
    gradient_weight: float = 1.0
    """Weight of the error of image gradients at two scales."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Distilled decoder and renderer, trained together on what is seen of finished pictures."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    everything: bool = False
    """Train on the concepts that are set aside for validation as well, whose figures then are of what was trained on."""
    views: int = 2
    """Shifted and scaled versions of each picture."""
    embedding_noise: float = 0.1
    """Largest noise added to the embedding, in units of its standard deviation."""
    imagined: int = 8
    """How often the prior is asked for every concept, for embeddings as it makes them."""
    completed: int = 4
    """How often the completion is."""
    recognised: float = 0.9
    """Least cosine of what they make to the nearest picture, which is to come of it; what is farther is left out."""
    hard: float = 0.5
    """Share of the rows that are drawn in proportion to how badly their pictures are made when this begins."""
    nothing: float = 0.2
    """So many rows more, as a share of the others, are held on their paths from nothing."""
    gradient_weight: float = 1.0
    """Weight of the error of image gradients at two scales."""
    perceptual_weight: float = 1.0
    """Weight of the error of the features of a published network; 0 does without that network."""
    perceptual_scale: int = 2
    """How many times smaller the pictures are that it sees."""
    closely: float = 0.5
    """Share of the rows of which it sees a window of that size, as large as it is, in place of the whole made smaller."""
    tell_apart: float = 0.0
    """Weight of telling every picture from the one of another concept that it is most like; 0 does without."""
    tell_apart_within: float = 0.03
    """How much nearer to itself than to that one a picture has to be, as the features of that network see it, or, without
    it, in its pixels."""
    compile_parts: bool = False
    """Compile the renderer and the decoder's blocks, each by itself: a minute at the start, then a third less a step."""
    archives: str = "data/archives"
    """Where the package with that network is; it is fetched there if it is not."""


@dataclass(frozen=True)
class UpsamplerConfig:
    """Twice the pixels, from a picture and its embedding."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    width: int = 48
    layers: int = 6
    crop: int = 64
    """Side of the pieces that are trained on, in pixels of the small pictures."""
    blur: float = 2.5
    """Most that a small picture is blurred, in its pixels."""
    noise: float = 0.02
    """Most noise that is added to it; pixels are in [-1, 1]."""
    gradient_weight: float = 1.0
    """Weight of the error of image gradients at two scales."""


@dataclass(frozen=True)
class PriorConfig:
    """The prior: embeddings of any modalities to an image embedding."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    everything: bool = False
    """Train on the concepts that are set aside for validation as well, whose figures then are of what was trained on."""
    width: int = 384
    hidden: int = 768
    """Of the inner layer of each block."""
    layers: int = 4
    views: int = 1
    """Shifted and scaled versions of each picture; more than one blurs what it imagines."""
    drop_condition: float = 0.1
    """Probability of training without any condition (for guidance)."""
    keep_modality: float = 0.5
    """Probability with which, in the two fifths of the cases that show several, each further modality is shown."""
    condition_noise: float = 1.5
    """Largest length of the noise added to the condition (of length 1): new voices and drawings lie that far off."""
    tell_style: float = 0.5
    """Share of the rows that are told the style of their picture, where the data names several styles."""


@dataclass(frozen=True)
class PreferConfig(PriorConfig):
    """The prior, trained on to answer with pictures that the finished decoder makes well; its sizes are the prior's."""

    well_made: float = 2.0
    """How much rather: of two pictures of a thing whose errors lie a standard deviation of all errors apart, the worse
    answers ``exp(well_made)`` times more rarely. At 0 all answer alike."""
    enough: float = 0.0
    """Share of all pictures that are made well enough: those answer alike, and only worse ones more rarely."""


@dataclass(frozen=True)
class CompletionConfig:
    """The completion: embeddings of any modalities to one image embedding, without a prior."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    everything: bool = False
    """Train on the concepts that are set aside for validation as well, whose figures then are of what was trained on."""
    width: int = 256
    layers: int = 2
    pictures: float = 0.25
    """Share of the rows that are asked by a picture's own vector, with that picture as the answer."""
    condition_noise: float = 1.0
    """Largest length of the noise added to the condition (of length 1)."""


@dataclass(frozen=True)
class Recipe:
    """Everything about one model but its data."""

    name: str
    data: str
    """The folder data/NAME is taken where no other is given; "synthetic" is made on the spot."""
    image_size: int
    """Side of the pictures that the autoencoder and the towers see."""
    autoencoder: AutoencoderConfig
    encoder: EncoderConfig
    decoder: DecoderConfig
    prior: PriorConfig
    complete: CompletionConfig
    distill: DistillConfig
    renderer: RendererConfig
    finetune: FinetuneConfig
    smooth: SmoothConfig = field(default_factory=SmoothConfig)
    prefer: PreferConfig = field(default_factory=PreferConfig)
    upsampler: UpsamplerConfig = field(default_factory=UpsamplerConfig)
    """Trained only where there are pictures of twice the size."""
    prior_sampling: dict[str, float] = field(default_factory=dict)
    """The pipeline's defaults for the prior: prior_steps, prior_guidance_scale."""
    recall: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Modality -> among what it is looked up, captions (``text``) or pictures (``image``), and at what temperature, see
    EmbeddingMemory; a modality that is not named is taken as it is."""
    examples: dict[str, str] = field(default_factory=dict)
    """Modality that is looked up among captions -> the kind of its training items that are remembered beside them."""
