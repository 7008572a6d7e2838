from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import NAMES, embeddings, vectors
from safetensors.torch import save_file

from unclip_mm.embeddings import Embeddings, arithmetic, read_metadata, slerp
from unclip_mm.errors import InputError

X, Y, Z = torch.eye(3)
few = settings(max_examples=30, deadline=None, derandomize=True)


def pair(audio=(Y, Z), **present) -> Embeddings:
    """Two rows of text and audio; `has_text=` and `has_audio=` are masks."""
    masks = {name.removeprefix("has_"): mask for name, mask in present.items()}
    return Embeddings.from_dict({"text": torch.stack([X, Y]), "audio": torch.stack(audio)}, masks)


def same(a: Embeddings, b: Embeddings) -> bool:
    return a.modalities == b.modalities and torch.equal(a.present, b.present) and torch.equal(a.vectors, b.vectors)


def test_from_dict_normalises_and_keeps_the_order_of_modalities():
    made = Embeddings.from_dict({"text": 5 * torch.eye(3), "audio": np.full((3, 3), 0.1)})
    assert made.modalities == ("text", "audio")
    assert made.vectors.shape == (3, 2, 3) and made.vectors.dtype == torch.float64
    assert (len(made), made.dim) == (3, 3)
    torch.testing.assert_close(made["audio"], torch.full((3, 3), 3**-0.5).double())
    assert made.present.all()


def test_from_dict_widens_half_precision():
    made = Embeddings.from_dict({"text": torch.randn(4, 64).bfloat16(), "audio": torch.randn(4, 64).half()})
    assert made.vectors.dtype == torch.float32
    torch.testing.assert_close(made.vectors.norm(dim=-1), torch.ones(4, 2))
    assert made.to(torch.bfloat16).vectors.dtype == torch.bfloat16


def test_absent_rows_are_zero_and_masked_whatever_they_held():
    junk = torch.stack([X, torch.full((3,), math.nan)]).requires_grad_()
    made = Embeddings.from_dict({"text": junk, "audio": torch.stack([Y, Z])}, {"text": torch.tensor([True, False])})
    assert made.present.tolist() == [[True, True], [False, True]]
    assert made["text"][1].tolist() == [0, 0, 0]
    made.vectors.sum().backward()
    assert torch.isfinite(junk.grad).all() and junk.grad[1].abs().max() == 0
    direct = Embeddings(torch.ones(1, 2, 4) / 2, torch.tensor([[True, False]]), ("a", "b"))
    assert direct["b"].abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.eye(3), torch.ones(3, 1, dtype=torch.bool), ("a",)), r"shape \(B, M, D\)"),
        ((torch.ones(1, 1, 1).long(), torch.ones(1, 1, dtype=torch.bool), ("a",)), "floating point"),
        (([[1.0]], torch.ones(1, 1, dtype=torch.bool), ("a",)), "vectors are list"),
        ((torch.ones(2, 1, 1), torch.ones(1, 1, dtype=torch.bool), ("a",)), r"bool of shape \(2, 1\)"),
        ((torch.ones(2, 1, 1), torch.ones(2, 1), ("a",)), "present is torch.float32"),
        ((torch.ones(2, 1, 1), None, ("a",)), "present is NoneType"),
        ((torch.ones(2, 2, 1), torch.ones(2, 2, dtype=torch.bool), ("a",)), "1 modality names for 2"),
        ((torch.ones(2, 2, 1), torch.ones(2, 2, dtype=torch.bool), ("a", "a")), "repeats"),
        ((torch.ones(2, 1, 1), torch.ones(2, 1, dtype=torch.bool), ("",)), "non-empty string"),
        ((torch.ones(2, 0, 1), torch.ones(2, 0, dtype=torch.bool), ()), "at least one name"),
        ((2 * torch.ones(2, 1, 1), torch.ones(2, 1, dtype=torch.bool), ("a",)), "'a': row 0 has norm 2"),
        ((torch.full((2, 1, 1), math.nan), torch.ones(2, 1, dtype=torch.bool), ("a",)), "'a': row 0 is not finite"),
        ((torch.full((2, 1, 1), math.inf), torch.ones(2, 1, dtype=torch.bool), ("a",)), "is not finite"),
    ],
)
def test_wrong_parts_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Embeddings(*arguments)


@pytest.mark.parametrize(
    ("given_vectors", "present", "message"),
    [
        ({}, None, "at least one name"),
        ({"a": torch.zeros(2, 3)}, None, "'a': row 0 is zero or not finite"),
        ({"a": torch.tensor([[1.0], [math.inf]])}, None, "row 1 is zero or not finite"),
        ({"a": torch.ones(2, 3), "b": torch.ones(2, 4)}, None, r"'b': shape \(2, 4\).* but 'a' has \(2, 3\)"),
        ({"a": torch.ones(2, 3), "b": torch.ones(3, 3)}, None, "'b': shape"),
        ({"a": torch.ones(3)}, None, r"\(B, D\)"),
        ({"a": torch.ones(3, 3).long()}, None, "floating point"),
        ({"a": "words"}, None, "a: str is no tensor"),
        ({"a": torch.ones(2, 3)}, {"b": torch.ones(2).bool()}, "names 'b'"),
        ({"a": torch.ones(2, 3)}, {"a": torch.ones(3).bool()}, r"shape \(2,\)"),
        ({"a": torch.ones(2, 3)}, {"a": torch.ones(2)}, "give bool"),
    ],
)
def test_wrong_dictionaries_are_refused(given_vectors, present, message):
    with pytest.raises(InputError, match=message):
        Embeddings.from_dict(given_vectors, present)


def test_rows_and_modalities_are_taken_by_index_and_name():
    batch = embeddings(5, 3, missing=0.4)
    assert same(batch.rows([1, 3]), batch.rows(torch.tensor([1, 3])))
    assert same(batch.rows(slice(1, 4, 2)), batch.rows([1, 3]))
    assert same(batch.rows(torch.tensor([False, True, False, True, False])), batch.rows([1, 3]))
    assert same(batch.rows(2), batch.rows([2])) and same(batch.rows(-1), batch.rows([4]))
    assert len(batch.rows([])) == 0
    assert batch.select(["audio", "image"]).modalities == ("audio", "image")
    torch.testing.assert_close(batch.select(["audio"])["audio"], batch["audio"])
    for wrong, message in [
        (lambda: batch["video"], "'video': not in these embeddings; known: image, text, audio"),
        (lambda: batch.select(["video"]), "'video'"),
        (lambda: batch.select("audio"), "give a list"),
        (lambda: batch.select(["audio", "audio"]), "repeats"),
        (lambda: batch.select([]), "at least one"),
        (lambda: batch.rows(5), "there are 5 rows"),
        (lambda: batch.rows([0, 9]), "there are 5 rows"),
    ]:
        with pytest.raises(InputError, match=message):
            wrong()


def test_cat_joins_rows_and_masks_what_a_part_lacks():
    a, b = embeddings(3, 2, seed=1), embeddings(2 + 1, 3, seed=2).select(["audio", "image"])
    joined = Embeddings.cat([a, b])
    assert joined.modalities == ("image", "text", "audio")
    assert same(joined.rows(slice(0, 3)).select(a.modalities), a)
    assert same(joined.rows(slice(3, 6)).select(b.modalities), b)
    assert not joined.present[3:, 1].any() and not joined.present[:3, 2].any()
    assert same(Embeddings.cat([a.rows([0]), a.rows([1, 2])]), a)
    for wrong, message in [
        ([], "no parts"),
        ([a, embeddings(3, 2, dim=4)], "part 1 has dimension 4"),
        ([a, a.to(torch.float32)], "float32"),
    ]:
        with pytest.raises(InputError, match=message):
            Embeddings.cat(wrong)


def test_to_and_detach_keep_everything_else():
    leaf = vectors(3, 2, 8).requires_grad_()
    batch = Embeddings(leaf, torch.ones(3, 2, dtype=torch.bool), NAMES[:2])
    assert batch.vectors.requires_grad and not batch.detach().vectors.requires_grad
    moved = batch.to("cpu", torch.float32)
    assert moved.vectors.dtype == torch.float32 and moved.modalities == batch.modalities


def test_mix_weighs_what_is_present():
    torch.testing.assert_close(pair().mix()[0], (X + Y) / math.sqrt(2))
    torch.testing.assert_close(pair().mix({"text": 3.0, "audio": 4.0})[0], 0.6 * X + 0.8 * Y)
    torch.testing.assert_close(pair().mix({"text": 1.0}), torch.stack([X, Y]))
    torch.testing.assert_close(pair().mix({"text": 1.0, "audio": 0.0}), torch.stack([X, Y]))
    partial = pair(has_text=torch.tensor([True, False]))
    torch.testing.assert_close(partial.mix({"text": 1.0, "audio": 1.0})[1], Z)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"text": -1.0}, "weight of 'text': -1.0"),
        ({"text": math.nan}, "finite number"),
        ({"text": math.inf}, "finite number"),
        ({"text": "much"}, "no number"),
        ({"text": 0.0, "audio": 0.0}, "all are zero"),
        ({}, "all are zero"),
        ({"video": 1.0}, "'video': not in these embeddings"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        pair().mix(weights)


def test_mix_refuses_rows_with_nothing_to_mix():
    first = torch.tensor([True, False])
    with pytest.raises(InputError, match="row 1 has none"):
        pair(has_text=first, has_audio=first).mix()
    with pytest.raises(InputError, match="row 1 has none"):
        pair(has_text=first).mix({"text": 1.0})
    with pytest.raises(InputError, match="'text': the modality is absent in every row"):
        pair(has_text=first & False).mix({"text": 1.0, "audio": 1.0})
    with pytest.raises(InputError, match="cancels out"):
        pair(audio=(-X, -Y)).mix()


@few
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10**6), st.floats(0.01, 100))
def test_mix_is_a_unit_vector_that_no_order_and_no_scale_changes(rows, modalities, seed, scale):
    z = vectors(rows, modalities, 8, seed)
    batch = Embeddings(z, torch.ones(rows, modalities, dtype=torch.bool), NAMES[:modalities])
    weights = {name: 0.1 + k for k, name in enumerate(batch.modalities)}
    mixed = batch.mix(weights)
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(rows).double())
    torch.testing.assert_close(batch.select(batch.modalities[::-1]).mix(weights), mixed)
    torch.testing.assert_close(batch.mix({name: scale * w for name, w in weights.items()}), mixed)


def test_saved_embeddings_come_back(tmp_path):
    batch, path = embeddings(5, 3, missing=0.4).to(torch.float32), tmp_path / "all.safetensors"
    batch.save(path, {"model": "pictograms"})
    assert same(Embeddings.load(path), batch)
    assert read_metadata(path) == {"model": "pictograms", "modalities": json.dumps(["image", "text", "audio"])}
    assert [file.name for file in tmp_path.iterdir()] == ["all.safetensors"]
    batch.rows([0]).save(path)
    assert len(Embeddings.load(path)) == 1


def test_wrong_files_are_refused(tmp_path):
    batch = embeddings(2 + 1, 2)
    other, broken = tmp_path / "other.safetensors", tmp_path / "broken.safetensors"
    save_file({"weight": torch.ones(2)}, other)
    broken.write_bytes(b"not safetensors at all")
    for wrong, message in [
        (lambda: batch.save(tmp_path / "all.npz"), r"ends in \.safetensors"),
        (lambda: batch.save(tmp_path / "no" / "all.safetensors"), "does not exist"),
        (lambda: batch.save(other, {"modalities": "x"}), "metadata 'modalities'"),
        (lambda: batch.save(other, {"rows": 3}), "metadata 'rows'"),
        (lambda: Embeddings.load(tmp_path / "none.safetensors"), "no such file"),
        (lambda: Embeddings.load(broken), "not a readable safetensors file"),
        (lambda: Embeddings.load(other), "holds no embeddings"),
    ]:
        with pytest.raises(InputError, match=message):
            wrong()


@pytest.mark.parametrize("names", ["{[", "5", "[" * 100_000, '"text"', '["text", 5]', "null"])
def test_headers_that_name_no_modalities_are_refused(tmp_path, names):
    file = tmp_path / "e.safetensors"
    save_file({"vectors": torch.eye(2)[:, None], "present": torch.ones(2, 1).bool()}, file, {"modalities": names})
    with pytest.raises(InputError, match=r"holds no embeddings|give at least one name"):
        Embeddings.load(file)


@pytest.mark.parametrize("in_the_way", ["e.safetensors.partial", "e.safetensors"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, in_the_way):
    (tmp_path / in_the_way).mkdir()
    with pytest.raises(InputError, match=r"e\.safetensors: cannot be written"):
        embeddings(3, 2).save(tmp_path / "e.safetensors")


@few
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0.1, 10))
def test_slerp_walks_the_great_circle_at_constant_speed(seed, t, scale):
    a, b = vectors(1, 2, 8, seed)[0]
    point = slerp(scale * a, b, t)
    angle = math.acos(max(-1.0, min(1.0, float(a @ b))))
    assert float(point.norm()) == pytest.approx(1.0)
    assert float(point @ a) == pytest.approx(math.cos(t * angle), abs=1e-9)
    assert float(point @ b) == pytest.approx(math.cos((1 - t) * angle), abs=1e-9)
    torch.testing.assert_close(slerp(b, a, 1 - t), point)


def test_slerp_broadcasts_and_ends_where_it_should():
    batch = F.normalize(torch.randn(4, 8), dim=-1)
    torch.testing.assert_close(slerp(batch, batch.roll(1, 0), 0.0), batch)
    torch.testing.assert_close(slerp(batch, batch.roll(1, 0), 1.0), batch.roll(1, 0))
    assert slerp(batch[0], batch, 0.3).shape == (4, 8)
    assert slerp(batch[0], batch[1], torch.linspace(0, 1, 5)).shape == (5, 8)
    assert slerp(batch, batch.roll(1, 0), torch.rand(3, 1)).shape == (3, 4, 8)
    torch.testing.assert_close(slerp(X, X, 0.5), X)
    close = F.normalize(X + 1e-6 * Y, dim=-1)
    torch.testing.assert_close(slerp(X, close, 0.5)[1], torch.tensor(5e-7), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("a", "b", "t", "message"),
    [
        (X, Y, 1.5, "outside"),
        (X, Y, [0.0, -0.1], "outside"),
        (X, Y, math.nan, "outside"),
        (X, -X, 0.5, "opposite"),
        (X, 0 * Y, 0.5, "slerp b: a vector is zero"),
        (math.nan * X, Y, 0.5, "slerp a"),
        (X, torch.eye(4)[0], 0.5, r"dimensions \[3, 4\]"),
        ("left", Y, 0.5, "slerp a: str is no tensor"),
    ],
)
def test_wrong_ends_are_refused(a, b, t, message):
    with pytest.raises(InputError, match=message):
        slerp(a, b, t)


def test_arithmetic_adds_directions():
    torch.testing.assert_close(arithmetic([5 * X, Y]), (X + Y) / math.sqrt(2))
    torch.testing.assert_close(arithmetic([X, Y], [Y]), X)
    assert arithmetic([torch.stack([X, Y]), Z]).shape == (2, 3)
    for plus, minus, message in [
        ([], [X], "nothing to add"),
        ([X], [X], "cancels out"),
        ([X], [torch.eye(4)[0]], "dimensions"),
        ([0 * X], [], "arithmetic plus"),
    ]:
        with pytest.raises(InputError, match=message):
            arithmetic(plus, minus)
