"""What a model was taught, as points of the shared space: to make out what words, a voice or a drawing mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError

Recall = Mapping[str, Sequence[Any]]
"""Modality -> among the points of which modality it is looked up (a name), and at what temperature (a number)."""


class EmbeddingMemory(ModelMixin, ConfigMixin):
    """Moves embeddings to those of the captions, or of the pictures, that they lie nearest to.

    A new voice finds its word among all others, and yet lies far from it: at a cosine of 0.66 in the bundled model.
    Words that were never taught lie between those that were. A prior that is asked with such a point mixes what lies
    around it. One step of retrieval from a modern Hopfield network (arXiv:2008.02217, equation 3) takes it to what it
    means among the N points t_j, with tau how widely it looks:

        r(z) = normalize( sum_j softmax_j(z . t_j / tau) t_j )

    Small tau gives the nearest point, large tau the mean of all. Vectors are kept in 8 bits a number, which moves
    them by an angle of about a hundredth.

    A modality may have *examples* of its own beside the points: recordings e_i of which it is known what they mean,
    t_m(i). A new sound is more like another of the same thing than like its name. Then the softmax goes over both, of
    z . t_j and z . e_i, and the sum over t_j and t_m(i).

    **When to use.** Among the points of that modality to which another was aligned, and is less exact: a voice among
    captions, a drawing among pictures. (Among captions a drawing is lost: there, a thing is a single point, and what
    was drawn resembles one of its pictures.) What is like nothing that is remembered is taken for what is nearest.

    Args:
        aligned_dim: Dimensions D of the shared space.
        counts: Modality -> how many of its points are kept, N.
        examples: Modality -> how many of its examples are kept.

    Example:
        >>> memory = EmbeddingMemory.of({"text": torch.eye(3)})
        >>> heard = torch.nn.functional.normalize(torch.tensor([[0.8, 0.5, 0.0]]), dim=-1)
        >>> [[round(x, 2) for x in memory.recall(heard, "text", tau).tolist()[0]] for tau in (0.01, 0.3)]
        [[1.0, 0.0, 0.0], [0.94, 0.33, 0.06]]
    """

    @register_to_config
    def __init__(self, aligned_dim: int, counts: Mapping[str, int], examples: Mapping[str, int] | None = None):
        super().__init__()
        for name, count in counts.items():
            self.register_buffer(f"points_{name}", torch.zeros(count, aligned_dim, dtype=torch.int8))
        for name, count in (examples or {}).items():
            self.register_buffer(f"examples_{name}", torch.zeros(count, aligned_dim, dtype=torch.int8))
            self.register_buffer(f"meant_{name}", torch.zeros(count, dtype=torch.int32))

    @classmethod
    def of(
        cls, points: Mapping[str, Tensor], examples: Mapping[str, tuple[Tensor, Tensor]] | None = None
    ) -> EmbeddingMemory:
        """Remember unit vectors, all of them where images lie.

        Args:
            points: Modality -> (N, D).
            examples: Modality -> its examples (n, D), and which point each means, int64 (n,): one of those that the
                modality is looked up among.
        """
        [dim] = {vectors.shape[1] for vectors in points.values()}
        pairs = examples or {}
        counts = {name: len(vectors) for name, vectors in points.items()}
        memory = cls(dim, counts, {name: len(meant) for name, (_, meant) in pairs.items()})
        for name, vectors in points.items():
            memory.get_buffer(f"points_{name}").copy_(in_eight_bits(vectors))
        for name, (vectors, meant) in pairs.items():
            memory.get_buffer(f"examples_{name}").copy_(in_eight_bits(vectors))
            memory.get_buffer(f"meant_{name}").copy_(meant)
        return memory

    def vectors(self, modality: str) -> Tensor:
        """What is kept of a modality, as unit vectors (N, D).

        Raises:
            InputError: Nothing is.
        """
        if modality not in self.config.counts:
            known = ", ".join(self.config.counts) or "nothing"
            raise InputError(f"recall: no point of {modality!r} is remembered; this memory has {known}")
        return F.normalize(self.get_buffer(f"points_{modality}").float(), dim=-1)

    def known(self, among: str, examples: str | None = None) -> tuple[Tensor, Tensor]:
        """Return what is looked through, points and examples, and what each means: unit vectors (N + n, D) both.

        Args:
            among: The modality whose points are meant.
            examples: The modality whose examples count as well, if there are any.

        Raises:
            InputError: Nothing of ``among`` is remembered.
        """
        points = self.vectors(among)
        if examples not in (self.config.examples or {}):
            return points, points
        own = F.normalize(self.get_buffer(f"examples_{examples}").float(), dim=-1)
        return torch.cat([points, own]), torch.cat([points, points[self.get_buffer(f"meant_{examples}").long()]])

    def recall(self, vectors: Tensor, among: str, temperature: float, examples: str | None = None) -> Tensor:
        """Take unit vectors (B, D) to the points near them: unit vectors again.

        Args:
            vectors: (B, D), where images lie.
            among: The modality whose points are meant.
            temperature: tau, greater than 0.
            examples: The modality whose examples count as well, if there are any.

        Raises:
            InputError: The temperature is not, or nothing of that modality is remembered.
        """
        if not temperature > 0:
            raise InputError(f"recall: a temperature of {temperature} is not allowed; give one greater than 0")
        known, meant = self.known(among, examples)
        attention = (vectors.float() @ known.mT / temperature).softmax(dim=-1)
        return F.normalize(attention @ meant, dim=-1).to(vectors.dtype)

    def recall_one(self, vectors: Tensor, modality: str, recall: Recall) -> Tensor:
        """Recall vectors (B, D) of a modality if it is named, and leave them as they are if not."""
        if modality not in recall:
            return vectors
        among, temperature = recall[modality]
        return self.recall(vectors, among, temperature, modality)

    def recall_each(self, embeddings: Embeddings, recall: Recall) -> Embeddings:
        """Recall the modalities that are named, and leave the others as they are."""
        names = embeddings.modalities
        vectors = {name: self.recall_one(embeddings[name], name, recall) for name in names}
        return Embeddings.from_dict(vectors, {name: embeddings.present[:, m] for m, name in enumerate(names)})


def in_eight_bits(vectors: Tensor) -> Tensor:
    """Round vectors (N, D) to int8, each by a scale of its own."""
    return (vectors * (127 / vectors.abs().amax(dim=-1, keepdim=True))).round().to(torch.int8)
