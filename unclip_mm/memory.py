"""What a model was taught, as points of the shared space: to make out what words or a voice most probably mean."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from unclip_mm.embeddings import Embeddings
from unclip_mm.errors import InputError


class CaptionMemory(ModelMixin, ConfigMixin):
    """Moves embeddings to the captions t_j that they lie nearest to.

    A new voice finds its word among all others, and yet lies far from it: at a cosine of 0.66 in the bundled model.
    Words that were never taught lie between those that were. A prior that is asked with such a point mixes what lies
    around it. One step of retrieval from a modern Hopfield network (arXiv:2008.02217, equation 3) takes it to what it
    means, with tau how widely it looks:

        r(z) = normalize( sum_j softmax_j(z . t_j / tau) t_j )

    Small tau gives the nearest caption, large tau the mean of all. Vectors are kept in 8 bits a number, which moves
    them by an angle of about a hundredth.

    **When to use.** For text and for modalities that were aligned with it and are less exact. What has no name among the
    captions cannot be recalled; what was aligned with pictures themselves, as drawings are, loses by it.

    Args:
        count: How many are kept, N.
        aligned_dim: Dimensions D of the shared space.

    Example:
        >>> memory = CaptionMemory.of(torch.eye(3))
        >>> heard = torch.nn.functional.normalize(torch.tensor([[0.8, 0.5, 0.0]]), dim=-1)
        >>> [[round(x, 2) for x in memory.recall(heard, tau).tolist()[0]] for tau in (0.01, 0.3)]
        [[1.0, 0.0, 0.0], [0.94, 0.33, 0.06]]
    """

    @register_to_config
    def __init__(self, count: int, aligned_dim: int):
        super().__init__()
        self.register_buffer("captions", torch.zeros(count, aligned_dim, dtype=torch.int8))

    @classmethod
    def of(cls, vectors: Tensor) -> CaptionMemory:
        """Remember unit vectors (N, D)."""
        memory = cls(*vectors.shape)
        memory.captions.copy_((vectors * (127 / vectors.abs().amax(dim=-1, keepdim=True))).round())
        return memory

    @property
    def vectors(self) -> Tensor:
        """What is kept, as unit vectors (N, D)."""
        return F.normalize(self.captions.float(), dim=-1)

    def recall(self, vectors: Tensor, temperature: float) -> Tensor:
        """Take unit vectors (B, D) to the captions near them: unit vectors again.

        Args:
            vectors: (B, D), where the captions lie: both moved to where images lie.
            temperature: tau, greater than 0.

        Raises:
            InputError: The temperature is not.
        """
        if not temperature > 0:
            raise InputError(f"recall: a temperature of {temperature} is not allowed; give one greater than 0")
        known = self.vectors
        attention = (vectors.float() @ known.mT / temperature).softmax(dim=-1)
        return F.normalize(attention @ known, dim=-1).to(vectors.dtype)

    def recall_each(self, embeddings: Embeddings, temperatures: Mapping[str, float]) -> Embeddings:
        """Recall the modalities that have a temperature, and leave the others as they are."""
        names = embeddings.modalities
        vectors = {
            name: self.recall(embeddings[name], temperatures[name]) if name in temperatures else embeddings[name]
            for name in names
        }
        return Embeddings.from_dict(vectors, {name: embeddings.present[:, m] for m, name in enumerate(names)})
