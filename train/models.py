"""The processors of a recipe, built: tokenizers and feature extractors of its backbones, or made for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, WhisperFeatureExtractor

from train.config import Recipe
from unclip_mm.errors import InputError
from unclip_mm.processing import (
    AudioProcessor,
    MultimodalProcessor,
    Processor,
    TextProcessor,
    VectorProcessor,
    VisionProcessor,
)


def build_processor(recipe: Recipe, captions: Iterable[str]) -> MultimodalProcessor:
    """Build the processors that fit a recipe's towers.

    Args:
        recipe: Its towers say which modalities there are; a vision tower called ``sketch``, or of one channel, is given
            drawings.
        captions: Texts to learn a tokenizer from, for a text tower without a pretrained one.
    """
    towers = recipe.encoder.towers
    size = recipe.image_size
    return MultimodalProcessor({name: _processor(name, options, captions, size) for name, options in towers.items()})


def _processor(name: str, options: dict[str, Any], captions: Iterable[str], image_size: int) -> Processor:
    kind: str = options["type"]
    backbone: Any = options.get("backbone")
    if kind == "text":
        if isinstance(backbone, str):
            tokenizer = AutoTokenizer.from_pretrained(backbone)
            return TextProcessor(tokenizer, min(256, tokenizer.model_max_length))
        return TextProcessor(train_tokenizer(captions, backbone["vocab_size"]), backbone["max_position_embeddings"])
    if kind == "audio":
        sounds = options.get("sounds") is not None
        if isinstance(backbone, str):
            return AudioProcessor(WhisperFeatureExtractor.from_pretrained(backbone), sounds)
        seconds = backbone["max_source_positions"] // 50
        return AudioProcessor(WhisperFeatureExtractor(backbone["num_mel_bins"], chunk_length=seconds), sounds)
    if kind == "vision":
        one_channel = not isinstance(backbone, str) and backbone.get("num_channels") == 1
        return VisionProcessor(image_size, sketch=name == "sketch" or one_channel)
    if kind in ("vector", "sequence"):
        return VectorProcessor(options["features"], sequence=kind == "sequence")
    raise InputError(f"tower {name}: type {kind!r} is not known")


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learn a lower-case byte-pair tokenizer from captions.

    Example:
        >>> tokenizer = train_tokenizer(["a red circle", "a blue square"], 60)
        >>> tokenizer.decode(tokenizer("A red square")["input_ids"], skip_special_tokens=True)
        'a red square'
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    alphabet = sorted(set("▁abcdefghijklmnopqrstuvwxyz"))
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
