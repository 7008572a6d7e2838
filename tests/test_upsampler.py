"""The upsampler, and the pieces of pictures that it is trained on."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from train.config import UpsamplerConfig
from train.upsampler import Pieces, UpsamplingLoss, blur
from unclip_mm.upsampler import Upsampler, enlarge


def test_untrained_it_is_a_bicubic_enlargement() -> None:
    upsampler = Upsampler(5, width=8, layers=2)
    pictures, embeddings = torch.rand(2, 3, 12, 8) * 2 - 1, torch.randn(2, 5)
    assert torch.equal(upsampler(pictures, embeddings), enlarge(pictures))


def test_every_weight_learns_and_the_embedding_counts() -> None:
    torch.manual_seed(0)
    upsampler = Upsampler(5, width=8, layers=2)
    optimizer = torch.optim.Adam(upsampler.parameters(), lr=1e-2)
    pictures, embeddings = torch.rand(4, 3, 8, 8) * 2 - 1, torch.randn(4, 5)
    wanted = embeddings[:, :3, None, None].expand(4, 3, 16, 16).tanh()  # what only the embedding tells
    loss = UpsamplingLoss(upsampler, 1.0)
    first = last = 0.0
    for step in range(60):
        last = float(sum(loss(pictures, embeddings, wanted).values()).detach())
        first = first or last
        optimizer.zero_grad()
        sum(loss(pictures, embeddings, wanted).values()).backward()
        if step == 3:  # at first the exit is zero, and nothing before it learns
            assert all(bool(parameter.grad.abs().sum() > 0) for parameter in upsampler.parameters())
        optimizer.step()
    assert last < 0.7 * first


def test_pieces_of_the_small_picture_fit_those_of_the_large_one() -> None:
    column = torch.arange(32, dtype=torch.uint8)
    rows = (4 * column).expand(3, 32, 32)
    pieces = Pieces(torch.stack([rows, rows.mT]), torch.zeros(2, 4).half())
    draw = partial(pieces.draw, 64)
    small, embeddings, large = draw(UpsamplerConfig(crop=8, blur=0.0, noise=0.0), torch.Generator().manual_seed(0))
    assert small.shape == (64, 3, 8, 8) and large.shape == (64, 3, 16, 16) and embeddings.shape == (64, 4)
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(small[inside], F.avg_pool2d(large, 2)[inside], rtol=0, atol=1e-3)
    noisy, _, same = draw(UpsamplerConfig(crop=8, blur=0.0, noise=0.1), torch.Generator().manual_seed(0))
    assert torch.equal(same, large) and 0.01 < float((noisy - small).std()) < 0.1
    whole = pieces.draw(3, UpsamplerConfig(crop=64), torch.Generator().manual_seed(0))
    assert whole[0].shape == (3, 3, 16, 16)  # a picture smaller than the piece is taken whole


def test_a_blur_has_the_width_that_is_asked_for_and_keeps_what_is_even() -> None:
    point = torch.zeros(3, 2, 41, 41)
    point[..., 20, 20] = 1.0
    blurred = blur(point, torch.tensor([0.0, 1.0, 2.5]))
    places = torch.arange(41.0) - 20
    widths = (blurred.sum(dim=-2) * places.square()).sum(dim=-1).sqrt()
    torch.testing.assert_close(widths[:, 0], torch.tensor([0.0, 1.0, 2.5]), rtol=0.02, atol=1e-6)
    torch.testing.assert_close(blurred, blurred.mT)
    assert torch.equal(blurred[0], point[0])
    even = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(blur(even, torch.tensor([2.0])), even)
