"""A decoder that goes on with finer patches."""

from __future__ import annotations

import pytest
import torch

from train.patches import recut
from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.errors import InputError


@pytest.fixture
def coarse() -> EmbeddingDecoder:
    torch.manual_seed(0)
    decoder = EmbeddingDecoder(12, 8, 4, 8, patch_size=4, heads=2, head_dim=16, layers=2, tokens=3, layout_channels=2)
    for parameter in decoder.parameters():  # gates and exits start at zero, which would hide what is wrong
        torch.nn.init.normal_(parameter, std=0.2)
    return decoder.eval()


@pytest.mark.parametrize("patch_size", [1, 2])
@torch.no_grad()
def test_patches_that_are_the_same_all_over_give_the_tokens_they_gave(
    coarse: EmbeddingDecoder, patch_size: int
) -> None:
    fine = recut(coarse, patch_size)
    times = 4 // patch_size
    even = torch.randn(2, 6, 2, 2).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    wanted = coarse.transformer.pos_embed(even).unflatten(1, (2, 2))
    made = fine.transformer.pos_embed(even).unflatten(1, (2 * times, 2 * times))
    # where a coarse token begins, the finer one stands at the same place
    torch.testing.assert_close(made[:, ::times, ::times], wanted)


@torch.no_grad()
def test_a_finer_token_paints_the_mean_of_the_coarse_patch(coarse: EmbeddingDecoder) -> None:
    fine = recut(coarse, 2)
    token = torch.randn(32)
    patch = coarse.transformer.proj_out(token).unflatten(0, (4, 4, 4))  # rows, columns, channels
    mean = patch.unflatten(0, (2, 2)).unflatten(2, (2, 2)).mean(dim=(0, 2))
    torch.testing.assert_close(fine.transformer.proj_out(token).unflatten(0, (2, 2, 4)), mean)


@torch.no_grad()
def test_everything_else_is_kept_and_it_runs(coarse: EmbeddingDecoder) -> None:
    fine = recut(recut(coarse, 2), 1)
    assert fine.config.position_scale == 4
    before, after = coarse.state_dict(), fine.state_dict()
    changed = {name for name in before if before[name].shape != after[name].shape}
    assert changed == {f"transformer.{name}" for name in ("pos_embed.proj.weight", "proj_out.weight", "proj_out.bias")}
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - changed)
    made = fine(torch.randn(2, 4, 8, 8), torch.tensor([0.2, 0.9]), torch.randn(2, 12))
    assert made.shape == (2, 4, 8, 8) and bool(made.isfinite().all())


@pytest.mark.parametrize("patch_size", [0, 3, 4, 8])
def test_only_smaller_divisors_are_taken(coarse: EmbeddingDecoder, patch_size: int) -> None:
    with pytest.raises(InputError, match="give a smaller divisor of the decoder's 4"):
        recut(coarse, patch_size)
