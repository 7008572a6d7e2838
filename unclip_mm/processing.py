"""Media to tensors: one small processor a modality, saved and loaded together.

``MultimodalProcessor`` opens what :mod:`unclip_mm.inputs` knows to open and gives each tower the tensors it takes.
Nothing is truncated: what is too long is an error.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin, WhisperFeatureExtractor

from unclip_mm.errors import CheckpointError, InputError
from unclip_mm.inputs import check_text, load_audio, load_image, load_sketch, load_vector
from unclip_mm.inputs.files import name_of
from unclip_mm.inputs.spectrogram import sound_spectrogram
from unclip_mm.towers.base import Features


class Processor(Protocol):
    """Turns a list of raw inputs of one modality into a batch of tensors."""

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> Features:
        """Process a list of inputs; ``names`` are what errors call those that have no file name."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write files to the folder, if there are any, and return the options to load with, ``type`` among them."""
        ...


class TextProcessor:
    """Strings -> ``input_ids`` and ``attention_mask`` (B, L) int64."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int = 256):
        self.tokenizer, self.max_tokens = tokenizer, max_tokens

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> Features:
        """Process a list of inputs; an InputError names one that cannot be used."""
        texts = [check_text(source, name=name) for source, name in zip(sources, names, strict=True)]
        batch = self.tokenizer(texts, padding=True, return_tensors="pt", truncation=False)
        lengths = batch["attention_mask"].sum(dim=1)
        if int(lengths.max()) > self.max_tokens:
            longest = int(lengths.argmax())
            raise InputError(
                f"{names[longest]}: {_short(texts[longest])!r} has {int(lengths.max())} tokens; "
                f"give at most {self.max_tokens}"
            )
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def check_known(self, texts: Sequence[str], names: Sequence[str]) -> None:
        """Refuse a text of which the tokenizer does not know a part: what is left would be a picture of anything.

        A sign of punctuation or of money that it does not know is passed, beside something that it does.

        Raises:
            InputError: Names the first such text, and what of it is not known.
        """
        if self.tokenizer.unk_token_id is None:  # such a tokenizer spells whatever it does not know in bytes
            return
        for text, name in zip(texts, names, strict=True):
            unknown = self._unknown(text)
            if unknown:
                raise InputError(
                    f"{name}: {_short(text)!r} has what this model's tokenizer does not know: "
                    f"{_short(' '.join(unknown))}; give words in the model's language (English for the bundled one)"
                )

    def _unknown(self, text: str) -> list[str]:
        """Return the parts of a text, each once, of which a meaning would be lost."""
        read = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        tokens = list(zip(read["input_ids"], read["offset_mapping"], strict=True))
        unknown = [text[start:end] for number, (start, end) in tokens if number == self.tokenizer.unk_token_id]
        lost = unknown if len(unknown) == len(tokens) else [part for part in unknown if not all(map(_is_sign, part))]
        return list(dict.fromkeys(lost))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write files to the folder, if there are any, and return the options to load with."""
        self.tokenizer.save_pretrained(folder)
        return {"type": "text", "max_tokens": self.max_tokens}

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> TextProcessor:
        """Load what ``save`` wrote."""
        return cls(AutoTokenizer.from_pretrained(folder), max_tokens)


class AudioProcessor:
    """Recordings -> log-mel windows ``mel`` (B, W, bins, frames), and how many ``frames`` (B,) are filled.

    Args:
        extractor: Makes the windows.
        sounds: Make ``sound`` (B, W, 64, frames) as well, for a network of sounds
            (:func:`unclip_mm.inputs.spectrogram.sound_spectrogram`).
    """

    def __init__(self, extractor: WhisperFeatureExtractor, sounds: bool = False):
        self.extractor, self.sounds = extractor, sounds

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> Features:
        """Process a list of inputs; an InputError names one that cannot be used."""
        extractor = self.extractor
        waves = [
            load_audio(source, sampling_rate=extractor.sampling_rate, name=name_of(source, name))
            for source, name in zip(sources, names, strict=True)
        ]
        windows = max(math.ceil(len(wave) / extractor.n_samples) for wave in waves)
        padded = np.zeros((len(waves), windows * extractor.n_samples), dtype=np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        pieces = list(padded.reshape(-1, extractor.n_samples))
        mel = extractor(pieces, sampling_rate=extractor.sampling_rate, return_tensors="pt").input_features
        frames = torch.tensor([math.ceil(len(wave) / extractor.hop_length) for wave in waves])
        features = {"mel": mel.unflatten(0, (len(waves), windows)), "frames": frames}
        if self.sounds:
            features["sound"] = sound_spectrogram(torch.from_numpy(padded)).unflatten(2, (windows, -1)).transpose(1, 2)
        return features

    def save(self, folder: Path) -> dict[str, Any]:
        """Write files to the folder, if there are any, and return the options to load with."""
        self.extractor.save_pretrained(folder)
        return {"type": "audio", "sounds": self.sounds}

    @classmethod
    def load(cls, folder: Path, sounds: bool = False) -> AudioProcessor:
        """Load what ``save`` wrote."""
        return cls(WhisperFeatureExtractor.from_pretrained(folder), sounds)


class VisionProcessor:
    """Pictures -> ``pixels`` (B, C, S, S) in [-1, 1]: padded to a square with white, then resized.

    Args:
        size: S.
        sketch: Read pictures as drawings (one channel, dark strokes on white) instead of in colour.
    """

    def __init__(self, size: int, sketch: bool = False):
        self.size, self.sketch = size, sketch

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> Features:
        """Process a list of inputs; an InputError names one that cannot be used."""
        load = load_sketch if self.sketch else load_image
        images = [load(source, name=name_of(source, name)) for source, name in zip(sources, names, strict=True)]
        return {"pixels": torch.stack([self._tensor(image) for image in images])}

    def _tensor(self, image: Image.Image) -> Tensor:
        side = max(image.size)
        if image.size != (side, side):
            square = Image.new(image.mode, (side, side), "white")
            square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            image = square
        if side != self.size:
            image = image.resize((self.size, self.size), Image.Resampling.BICUBIC, reducing_gap=3.0)
        array = np.asarray(image, dtype=np.float32) / 127.5 - 1
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())

    def save(self, folder: Path) -> dict[str, Any]:
        """Write files to the folder, if there are any, and return the options to load with."""
        return {"type": "vision", "size": self.size, "sketch": self.sketch}

    @classmethod
    def load(cls, folder: Path, size: int, sketch: bool) -> VisionProcessor:
        """Load what ``save`` wrote."""
        return cls(size, sketch)


class VectorProcessor:
    """Vectors (F,) -> ``vector`` (B, F); with ``sequence``, arrays (T, F) -> ``tokens`` (B, T, F), ``mask`` (B, T)."""

    def __init__(self, features: int, sequence: bool = False):
        self.features, self.sequence = features, sequence

    def __call__(self, sources: Sequence[Any], names: Sequence[str]) -> Features:
        """Process a list of inputs; an InputError names one that cannot be used."""
        called = [name_of(source, name) for source, name in zip(sources, names, strict=True)]
        arrays = [
            torch.from_numpy(load_vector(source, name=name)) for source, name in zip(sources, called, strict=True)
        ]
        rank = 2 if self.sequence else 1
        for name, array in zip(called, arrays, strict=True):
            if array.ndim != rank or array.shape[-1] != self.features or not array.numel():
                wanted = f"(steps, {self.features})" if self.sequence else f"({self.features},)"
                raise InputError(f"{name}: has shape {tuple(array.shape)}; give {wanted}")
        if not self.sequence:
            return {"vector": torch.stack(arrays)}
        lengths = torch.tensor([len(array) for array in arrays])
        tokens = torch.nn.utils.rnn.pad_sequence(arrays, batch_first=True)
        return {"tokens": tokens, "mask": torch.arange(tokens.shape[1])[None] < lengths[:, None]}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write files to the folder, if there are any, and return the options to load with."""
        return {"type": "vector", "features": self.features, "sequence": self.sequence}

    @classmethod
    def load(cls, folder: Path, features: int, sequence: bool) -> VectorProcessor:
        """Load what ``save`` wrote."""
        return cls(features, sequence)


PROCESSORS: dict[str, Any] = {
    "text": TextProcessor,
    "audio": AudioProcessor,
    "vision": VisionProcessor,
    "vector": VectorProcessor,
}


class MultimodalProcessor(ProcessorMixin):
    """The processors of all modalities, as one component of the pipeline.

    It is a ``ProcessorMixin`` by name only, which is what lets a saved pipeline find and reload it.

    Example:
        >>> processor = MultimodalProcessor({"image": VisionProcessor(8)})
        >>> processor({"image": [Image.linear_gradient("L")]})["image"]["pixels"].shape
        torch.Size([1, 3, 8, 8])
    """

    config_name = "processor_config.json"

    def __init__(self, processors: dict[str, Processor]):
        self.processors = processors

    def __repr__(self) -> str:
        return f"MultimodalProcessor({', '.join(self.processors)})"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that can be processed."""
        return tuple(self.processors)

    def __call__(self, raw: dict[str, Sequence[Any]], rows: Sequence[int] | None = None) -> dict[str, Features]:
        """Process lists of raw inputs, one list a modality.

        Args:
            raw: Modality -> its inputs.
            rows: The numbers by which errors call them; 0, 1, ... by default.

        Raises:
            InputError: An input or a modality cannot be used.
        """
        for modality in raw:
            if modality not in self.processors:
                known = ", ".join(self.processors)
                raise InputError(f"modality {modality!r}: not known to this model; it takes {known}")
        return {
            modality: self.processors[modality](sources, _names(modality, rows or range(len(sources))))
            for modality, sources in raw.items()
        }

    def prompt(
        self, modality: str, sources: Sequence[Any], rows: Sequence[int] | None = None, prefix: str = ""
    ) -> Features:
        """Process what a picture is to be made of: as a call does, but a text must be known in all its parts.

        Args:
            modality: A known one.
            sources: Its inputs.
            rows: The numbers by which errors call them; 0, 1, ... by default.
            prefix: What errors put before the modality's name: ``negative_``.

        Raises:
            InputError: An input cannot be used.
        """
        processor, names = self.processors[modality], _names(prefix + modality, rows or range(len(sources)))
        features = processor(sources, names)
        if isinstance(processor, TextProcessor):
            processor.check_known(sources, names)
        return features

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:
        """Write ``processor_config.json`` and one subfolder a modality that has files of its own."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        saved = {name: processor.save(folder / name) for name, processor in self.processors.items()}
        text = json.dumps({"_class_name": type(self).__name__, "processors": saved}, indent=2)
        (folder / self.config_name).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> MultimodalProcessor:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            CheckpointError: The folder holds no processor.
        """
        path = Path(folder) / cls.config_name
        if not path.is_file():
            raise CheckpointError(f"{folder}: has no {cls.config_name}; give a folder written by save_pretrained")
        saved = json.loads(path.read_text(encoding="utf-8"))["processors"]
        processors = {}
        for name, options in saved.items():
            kind = PROCESSORS[options.pop("type")]
            processors[name] = kind.load(Path(folder) / name, **options)
        return cls(processors)


def _is_sign(character: str) -> bool:
    """Whether it is punctuation or a currency: the dash in a caption, the sign of euros on a coin."""
    return unicodedata.category(character) in {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sc"}


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."


def _names(modality: str, rows: Sequence[int]) -> list[str]:
    return [modality] if list(rows) == [0] else [f"{modality} of row {row}" for row in rows]
