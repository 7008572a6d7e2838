"""The discriminator over the features of a published network: what it learns, and what it teaches."""

from __future__ import annotations

import torch

from train.adversary import Adversary


def features(made: bool, seed: int) -> list[torch.Tensor]:
    """What two blocks might say of three pictures; of made ones one channel is too small."""
    generator = torch.Generator().manual_seed(seed)
    found = [torch.rand(3, 4, 8, 8, generator=generator), torch.rand(3, 6, 4, 4, generator=generator)]
    for part in found:
        part[:, 1] *= 0.2 if made else 1.0
    return found


def test_it_learns_to_tell_made_from_real() -> None:
    torch.manual_seed(0)
    adversary = Adversary([4, 6], width=8)
    optimizer = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    for step in range(80):
        optimizer.zero_grad()
        adversary.error(features(True, 2 * step), features(False, 2 * step + 1)).backward()
        optimizer.step()
    adversary.eval()
    made, real = (adversary(features(flag, 1000)) for flag in (True, False))
    assert all(float(b.mean().detach()) - float(a.mean().detach()) > 0.5 for a, b in zip(made, real, strict=True))
    assert float(adversary.error(features(True, 1000), features(False, 1001)).detach()) < 1.5


def test_its_own_loss_leaves_the_pictures_alone_and_theirs_leaves_it_alone() -> None:
    torch.manual_seed(0)
    adversary = Adversary([4, 6], width=8)
    made = [part.requires_grad_() for part in features(True, 0)]
    adversary.error(made, features(False, 1)).backward()
    assert all(part.grad is None for part in made)
    assert all(parameter.grad is not None for parameter in adversary.parameters())
    adversary.zero_grad()
    adversary.blame(made).backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in made)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in adversary.parameters())


def test_blame_falls_as_pictures_look_more_real() -> None:
    torch.manual_seed(0)
    adversary = Adversary([4, 6], width=8).eval()
    made = [part.requires_grad_() for part in features(True, 0)]
    before = adversary.blame(made)
    before.backward()
    moved = [(part - 0.1 * part.grad / part.grad.abs().amax()).detach() for part in made if part.grad is not None]
    assert float(adversary.blame(moved).detach()) < float(before.detach())
