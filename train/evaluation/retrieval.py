"""Retrieval between every pair of kinds: does an embedding find the same concept in another modality?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from train.evaluation.items import Item, Pool, choose
from unclip_mm.embeddings import Embeddings
from unclip_mm.metrics import recall_at_k

Encode = Callable[[str, Sequence["str | Path"]], Tensor]
"""(modality, captions or paths) -> (B, D) embeddings."""

KS = (1, 5, 10)
_MINIMUM = 2
_BATCH = 32


@dataclass(frozen=True)
class Question:
    """One pair of kinds for one seed: which item is asked and which is right, concept by concept."""

    queries: dict[str, list[Item]]
    targets: list[Item]

    @property
    def items(self) -> list[Item]:
        """Everything that has to be encoded."""
        return [*(item for items in self.queries.values() for item in items), *self.targets]


def pairs(pool: Pool) -> list[tuple[tuple[str, ...], str]]:
    """Every ordered pair of different kinds, and text with speech asked together for each other kind."""
    kinds = pool.kinds
    single: list[tuple[tuple[str, ...], str]] = [((query,), target) for query in kinds for target in kinds]
    together: list[tuple[tuple[str, ...], str]] = []
    for audio in ("speech", "audio"):
        if audio in kinds and "text" in kinds:
            together += [(("text", audio), target) for target in kinds]
    return [(query, target) for query, target in (*single, *together) if target not in query]


def ask(pool: Pool, query: tuple[str, ...], target: str, count: int, seed: int) -> Question:
    """Choose the concepts and items of one question; empty when fewer than two concepts have both kinds.

    With several query kinds the answers are those of the last of them, the one that may have held-out items.
    """
    table = pool.targets(query[-1])
    concepts = pool.concepts(query, {target: table}, count, seed)
    if len(concepts) < _MINIMUM:
        return Question({kind: [] for kind in query}, [])
    return Question(
        {kind: [choose(pool.asked, concept, kind, seed) for concept in concepts] for kind in query},
        [choose(table, concept, target, seed) for concept in concepts],
    )


def encode_items(encode: Encode, items: Iterable[Item], *, progress: bool = True) -> dict[str, Tensor]:
    """Encode every item once: {item key: (D,) embedding}."""
    unique = {item.key: item for item in items}
    by_modality: dict[str, list[Item]] = {}
    for item in unique.values():
        by_modality.setdefault(item.modality, []).append(item)
    vectors: dict[str, Tensor] = {}
    with tqdm(total=len(unique), desc="encode", unit="item", disable=not progress) as bar:
        for modality, members in by_modality.items():
            for start in range(0, len(members), _BATCH):
                batch = members[start : start + _BATCH]
                encoded = encode(modality, [item.value for item in batch]).detach().float().cpu()
                vectors.update(zip((item.key for item in batch), encoded, strict=True))
                bar.update(len(batch))
    return vectors


def evaluate_retrieval(
    encode: Encode, pools: Sequence[Pool], count: int, seeds: Sequence[int], *, progress: bool = True
) -> list[dict[str, object]]:
    """Recall between every pair of kinds in every pool.

    Args:
        encode: Gives embeddings of one modality.
        pools: What to ask.
        count: Concepts a question at most.
        seeds: Each chooses concepts and items anew.
        progress: Show a progress bar.

    Returns:
        One record a question and seed: pool, query, target, seed, concepts (also the number of candidates), trained
        (neither side of the question holds out anything but the pairing), recall@1, recall@5, recall@10.
    """
    questions = [
        (pool, query, target, seed, ask(pool, query, target, count, seed))
        for pool in pools
        for query, target in pairs(pool)
        for seed in seeds
    ]
    questions = [entry for entry in questions if entry[-1].targets]
    vectors = encode_items(encode, (item for entry in questions for item in entry[-1].items), progress=progress)
    records: list[dict[str, object]] = []
    for pool, query, target, seed, question in questions:
        asked = {kind: torch.stack([vectors[item.key] for item in items]) for kind, items in question.queries.items()}
        mixed = Embeddings.from_dict(asked).mix() if len(asked) > 1 else next(iter(asked.values()))
        answers = torch.stack([vectors[item.key] for item in question.targets])
        labels = [item.concept for item in question.targets]
        recall = recall_at_k(mixed, answers, labels, labels, KS)
        records.append(
            {"pool": pool.name, "query": "+".join(query), "target": target, "seed": seed, "concepts": len(labels)}
            | {"trained": pool.trained_kinds >= {*query, target}}
            | {f"recall@{k}": value for k, value in recall.items()}
        )
    return records
