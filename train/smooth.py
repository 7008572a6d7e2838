"""Make the head of a tower smooth between what it was taught: ``python -m train.smooth --recipe pictograms``.

A head fits the captions that it is trained on and goes where it likes between them. Kernel ridge regression of its own
outputs, on the features that it sees, agrees with it on the captions and takes the shortest way between. So the head is
trained once more, to agree with that regression: on its captions, on the words that the tokenizer knows, on phrases made
of pieces of captions, and on mixtures of the features of all these. What was trained on its space stays valid, and words
that it was never taught land nearer to their pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from train.config import SmoothConfig
from train.loop import Losses, Step, train
from train.normalizer import embed_all
from train.stage import Stage, run_stage
from unclip_mm.encoder import MultimodalEncoder
from unclip_mm.errors import InputError
from unclip_mm.processing import MultimodalProcessor
from unclip_mm.towers import Tower

FEATURES = "pooled"
BATCH = 128
SHORTEST = 3
"""Letters of a word."""


class KernelRidge:
    """Regression from features (N, F) to unit vectors (N, D): a sum of bumps on the features that were seen.

        f(x) = normalize( m + sum_i k(x, x_i) a_i ),    k(x, y) = exp(width (cos(x, y) - 1)),
        a = (K + ridge I)^-1 (y - m),                   m = mean of y

    with the features' mean taken away before the cosine. "The elements of statistical learning" (Hastie et al., 2009),
    section 5.8.

    Args:
        features: x_i, (N, F); the cost grows with the cube of N.
        vectors: y_i, (N, D), of length 1.
        width: How narrow the bumps are, greater than 0.
        ridge: How far f may stay from y, greater than 0.

    Raises:
        InputError: ``width`` or ``ridge`` is not greater than 0.

    Example:
        >>> known = KernelRidge(torch.eye(3), torch.eye(3), width=2.0, ridge=0.01)
        >>> known(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])).round().abs().tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """

    def __init__(self, features: Tensor, vectors: Tensor, width: float, ridge: float):
        for name, value in (("width", width), ("ridge", ridge)):
            if not value > 0:
                raise InputError(f"{name}: {value} is not allowed; give a number greater than 0")
        self.center, self.mean, self.width = features.float().mean(dim=0), vectors.float().mean(dim=0), width
        self.seen = F.normalize(features.float() - self.center, dim=-1)
        kernel = self._kernel(self.seen).double()
        kernel.diagonal().add_(ridge)
        self.weights = torch.linalg.solve(kernel, (vectors - self.mean).double()).float()

    def _kernel(self, directions: Tensor) -> Tensor:
        return torch.exp(self.width * (directions @ self.seen.mT - 1))

    def __call__(self, features: Tensor) -> Tensor:
        """Return the unit vectors (B, D) of features (B, F)."""
        directions = F.normalize(features.float() - self.center, dim=-1)
        return F.normalize(self.mean + self._kernel(directions) @ self.weights, dim=-1)


class AgreementLoss(nn.Module):
    """One less the cosine of what a tower says of features to what it should."""

    def __init__(self, tower: Tower):
        super().__init__()
        self.tower = tower

    def train(self, mode: bool = True) -> AgreementLoss:
        """Stay as in use: what is to be said is known exactly, and dropout would only blur it."""
        return super().train(False)

    def forward(self, features: Tensor, wanted: Tensor) -> Losses:
        """Return the loss of features (B, F) and unit vectors (B, D)."""
        return {"cosine_loss": 1 - F.cosine_similarity(self.tower({FEATURES: features}).float(), wanted).mean()}


def crossed(captions: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Make phrases of captions: one with some words of others, or the beginning of one and the end of another.

    Most mean nothing; what matters is that they lie where the phrases lie that people will write.

    Example:
        >>> crossed(["a red apple", "the moon"], 3)
        ['the the', 'a moon apple', 'a apple apple']
    """
    random, made = Random(seed), dict[str, None]()
    several = [words for words in (caption.split() for caption in captions) if len(words) > 1]
    every = [word for words in several for word in words]
    for _ in range(count if several else 0):
        words, other = list(random.choice(several)), random.choice(several)
        if random.random() < 0.5:
            for _ in range(random.randint(1, 2)):
                words[random.randrange(len(words))] = random.choice(every)
        else:
            words = words[: random.randrange(1, len(words))] + other[random.randrange(len(other)) :]
        made[" ".join(words)] = None
    return list(made)


def draw(taught: Tensor, words: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return features (B, F): a third of them of captions, the others mixtures of any two captions or words."""

    def some() -> Tensor:
        caption = taught[torch.randint(len(taught), (count,), generator=generator)]
        word = words[torch.randint(len(words), (count,), generator=generator)]
        return torch.where(torch.rand(count, 1, generator=generator) < 0.5, caption, word)

    plain = torch.rand(count, 1, generator=generator) < 1 / 3
    share = torch.rand(count, 1, generator=generator)
    captions = taught[torch.randint(len(taught), (count,), generator=generator)]
    return torch.where(plain, captions, (1 - share) * some() + share * some())


def words_known(processor: MultimodalProcessor, modality: str) -> list[str]:
    """Return the whole words that the tokenizer knows, sorted."""
    known = processor.processors[modality].tokenizer.get_vocab()  # type: ignore[attr-defined]
    return sorted(word for word in known if word.isalpha() and len(word) >= SHORTEST)


@torch.no_grad()
def features_of(
    encoder: MultimodalEncoder, processor: MultimodalProcessor, modality: str, texts: Sequence[str]
) -> Tensor:
    """Return the features (N, F) of texts."""
    device, parts = next(encoder.parameters()).device, []
    for start in tqdm(range(0, len(texts), BATCH), desc="words and phrases", unit="batch"):
        inputs = processor({modality: list(texts[start : start + BATCH])})[modality]
        inputs = {name: values.to(device) for name, values in inputs.items()}
        parts.append(encoder.features(modality, inputs)[FEATURES].float().cpu())
    return torch.cat(parts)


def smooth_head(stage: Stage[Any], config: SmoothConfig, encoder: MultimodalEncoder, modality: str) -> None:
    """Train the head of one text tower of an encoder to agree with the regression of what it says.

    Raises:
        InputError: The tower's backbone is trained as well, so that there are no features that stay.
    """
    tower, cache = encoder.tower(modality), stage.caches(modality)[modality]
    if not tower.frozen or FEATURES not in cache.tensors:
        raise InputError(f"smooth: the tower of {modality} has no frozen backbone that gives one vector a text")
    rows = cache.where(split="train")
    taught = cache.features(rows)[FEATURES].float()
    teacher = KernelRidge(taught, embed_all(encoder, cache, modality, rows), config.width, config.ridge)
    processor = MultimodalProcessor.from_pretrained(stage.exported("processor"))
    phrases = crossed(sorted({cache.items[row]["text"] for row in rows}), config.phrases)
    words = features_of(encoder, processor, modality, [*words_known(processor, modality), *phrases])

    def loss(prepared: nn.Module, step: Step) -> Losses:
        features = draw(taught, words, step.batch_size, step.generator)
        return prepared(features.to(stage.device), teacher(features).to(stage.device))

    def agreement(_: AgreementLoss) -> dict[str, float]:
        figures = {}
        for name, features in (("captions", taught), ("words", words)):
            said = F.normalize(tower({FEATURES: features[:2000].to(stage.device)}).float().cpu(), dim=-1)
            figures[f"{name}_cosine"] = float((said * teacher(features[:2000])).sum(dim=-1).mean())
        return figures

    folder = stage.run / f"encoder-smooth-{modality}"
    train(config.loop, AgreementLoss(tower), loss, folder, validate=agreement, description=folder.name)


def train_smooth(stage: Stage[SmoothConfig]) -> None:
    """Smooth the heads that the recipe names, in the encoder that is exported already."""
    encoder = stage.trained("encoder", MultimodalEncoder)
    for modality in stage.config.modalities:
        smooth_head(stage, stage.config, encoder, modality)
    encoder.save_pretrained(stage.exported("encoder"))
    print({"exported": str(stage.exported("encoder"))})


if __name__ == "__main__":
    run_stage("smooth", __doc__, train_smooth)
