"""Products of matrices by the faster library."""

from __future__ import annotations

import pytest
import torch

from unclip_mm.objectives import chunks, products
from unclip_mm.objectives.products import add_product, compact, multiply, zeros_by_columns

LAYOUTS = {
    "rows": lambda matrix: matrix,
    "columns": lambda matrix: matrix.mT.contiguous().mT,
    "apart": lambda matrix: torch.stack([matrix, -matrix], dim=1)[:, 0],
    "columns apart": lambda matrix: torch.stack([matrix.mT, -matrix.mT], dim=1)[:, 0].mT,
}


@pytest.fixture(params=[torch.float32, torch.float64])
def pair(request):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=request.param) for shape in ((37, 24), (24, 51))]


@pytest.mark.parametrize("of_a", LAYOUTS)
@pytest.mark.parametrize("of_b", LAYOUTS)
@pytest.mark.parametrize("cached", [2**20, 100, 1])
def test_a_product_is_that_of_float64_however_the_matrices_lie(pair, of_a, of_b, cached, monkeypatch):
    monkeypatch.setattr(chunks, "_CACHED", cached)
    a, b = LAYOUTS[of_a](pair[0]), LAYOUTS[of_b](pair[1])
    expected = (a.double() @ b.double()).to(a.dtype)
    bound = {"rtol": 0, "atol": 1e-5 if a.dtype == torch.float32 else 1e-13}
    torch.testing.assert_close(multiply(a, b), expected, **bound)
    place = a.new_full((37, 60), torch.nan)
    assert multiply(a, b, out=place[:, 9:]).data_ptr() == place[:, 9:].data_ptr()
    torch.testing.assert_close(place[:, 9:], expected, **bound)
    assert bool(place[:, :9].isnan().all())
    total = a.new_ones(37, 60)
    add_product(total[:, :51], a, b)
    torch.testing.assert_close(total[:, :51], expected + 1.0, **bound)
    assert bool((total[:, 51:] == 1.0).all())
    by_columns = zeros_by_columns(a.new_empty(37, 60)).add_(1.0)
    add_product(by_columns[:, :51], a, b)
    assert by_columns.mT.is_contiguous()
    torch.testing.assert_close(by_columns[:, :51], expected + 1.0, **bound)
    assert bool((by_columns[:, 51:] == 1.0).all())


def test_where_there_is_no_onednn_products_are_those_of_torch(pair, monkeypatch):
    through = multiply(*pair)
    monkeypatch.setattr(products, "_AVAILABLE", False)
    without = multiply(*pair)
    assert torch.equal(without, pair[0] @ pair[1])
    torch.testing.assert_close(through, without)


@pytest.mark.skipif(not products._AVAILABLE, reason="without oneDNN nothing is copied")
def test_only_a_matrix_with_gaps_between_its_rows_is_copied():
    matrix = torch.zeros(4, 6)
    assert compact(matrix) is matrix
    assert compact(matrix.mT).data_ptr() == matrix.data_ptr()
    gaps = matrix[:, :3]
    assert compact(gaps).is_contiguous() and compact(gaps).data_ptr() != gaps.data_ptr()
    assert compact(gaps.double()[:, :2]).stride() == (3, 1)
    by_columns = compact(gaps.mT)
    assert by_columns.mT.is_contiguous() and torch.equal(by_columns, gaps.mT)  # copied in the order in which it lies


@pytest.mark.parametrize("available", [True, False])
def test_an_autocast_changes_no_product(pair, available, monkeypatch):
    monkeypatch.setattr(products, "_AVAILABLE", products._AVAILABLE and available)
    expected = multiply(*pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(multiply(*pair), expected)
