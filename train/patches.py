"""Cut the latents of a trained decoder into finer patches, so that it goes on with more tokens and the same weights."""

from __future__ import annotations

import torch

from unclip_mm.decoder import EmbeddingDecoder
from unclip_mm.errors import InputError


@torch.no_grad()
def recut(decoder: EmbeddingDecoder, patch_size: int) -> EmbeddingDecoder:
    """Return a decoder of finer patches that starts from the weights of one of coarser patches.

    A finer token goes through the same layers as the coarse one around it: its entry is the sum over the places of the
    coarse patch, so that a patch that is the same all over gives the same token; its exit is their mean; and it stands
    at the same place of the position encoding. The entry and the exit are what is learnt anew.

    Args:
        decoder: Of patches P x P.
        patch_size: Q, a divisor of P.

    Raises:
        InputError: ``patch_size`` does not divide that of ``decoder``.

    Example:
        >>> coarse = EmbeddingDecoder(12, 4, 4, 4, heads=2, head_dim=8, layers=1, tokens=3, layout_channels=2)
        >>> fine = recut(coarse, 1)
        >>> fine.config.patch_size, fine.config.position_scale
        (1, 2.0)
    """
    before = decoder.config.patch_size
    if not 0 < patch_size < before or before % patch_size:
        raise InputError(f"patch_size {patch_size}: give a smaller divisor of the decoder's {before}")
    times = before // patch_size
    options = {key: value for key, value in decoder.config.items() if not key.startswith("_")}
    options |= {"patch_size": patch_size, "position_scale": times * decoder.config.position_scale}
    finer = EmbeddingDecoder(**options)
    weights = decoder.state_dict()
    entry = weights["transformer.pos_embed.proj.weight"]  # (width, channels, P, P)
    entry = entry.unflatten(2, (times, patch_size)).unflatten(4, (times, patch_size))
    weights["transformer.pos_embed.proj.weight"] = entry.sum(dim=(2, 4))
    for name in ("transformer.proj_out.weight", "transformer.proj_out.bias"):  # (P * P * channels, ...)
        exit = weights[name].unflatten(0, (times, patch_size, times, patch_size, -1))
        weights[name] = exit.mean(dim=(0, 2)).flatten(0, 2)
    finer.load_state_dict(weights)
    return finer
