"""GRAM and TRIANGLE: contrast an anchor with whole tuples of the other modalities, by volume or by area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from unclip_mm.checks import check_number
from unclip_mm.errors import InputError
from unclip_mm.objectives.chunks import rows_at_once, take
from unclip_mm.objectives.common import Batch
from unclip_mm.objectives.contrast import Contrast
from unclip_mm.objectives.products import add_product, compact, multiply
from unclip_mm.objectives.search import Pairs, search

__all__ = ["GRAM", "TRIANGLE"]

_SMALLEST = 1e-6
"""What is added to the square of a volume or of an area, whose root has a finite gradient then where it is zero."""

_HELD = 4
"""Times the vectors of some tuples that are held where their basis is made: rests, basis, and what is asked of them."""


class _Tuples(Pairs):
    """Logits -scale * distance of anchors x (N, D) with tuples of k vectors (K, D).

    A subclass says how the distance, and what it asks for, come from the products of an anchor with k directions of each
    tuple: its vectors, if nothing else is said.
    """

    def __init__(self, scale: Tensor, tensors: Sequence[Tensor], size: int) -> None:
        super().__init__(scale, tensors, size)
        self.directions = self.prepare(self.tensors[1:])
        if self.single:  # of a large batch they would be copies as large as all inputs: there products copy parts
            self.tensors[0], *self.directions = (compact(tensor) for tensor in (self.tensors[0], *self.directions))
        shape = (size, self.candidates)
        self.inner, self.distance = (scale.new_empty(shape) for _ in range(2))
        self.products = [] if self.single else [scale.new_empty(shape) for _ in self.directions]

    def logits(self, rows: slice, out: Tensor) -> None:
        """Measure the pairs."""
        x = self.tensors[0][rows]
        if self.single:
            self.products = [multiply(x, direction.mT) for direction in self.directions]
        else:
            for direction, product in zip(self.directions, self.products, strict=True):
                multiply(x, direction.mT, out=product[: len(out)])
        products, inner, distance = self._strip(len(out))
        self.measure(products, inner, distance)
        torch.mul(distance, -self.scale, out=out)

    def pull(self, rows: slice, asked: Tensor) -> None:
        """Hand on the gradient of the distances, without the scale."""
        x, (of_x, *of_directions) = self.tensors[0][rows], self.of_tensors
        products, inner, distance = self._strip(len(asked))
        self.of_scale -= torch.linalg.vecdot(asked.flatten(), distance.flatten())
        self.slopes(asked.div_(distance), products, inner, distance)
        for of_direction, product in zip(of_directions, products, strict=True):
            add_product(of_direction, product.mT, x)
        self.turn_back(products)
        for direction, product in zip(self.directions, products, strict=True):
            add_product(of_x[rows], product, direction)

    def gradients(self) -> list[Tensor]:
        """Give them, after what is asked of the directions has been turned into what is asked of the vectors."""
        self.finish(self.of_tensors[1:])
        return super().gradients()

    def _strip(self, count: int) -> tuple[list[Tensor], Tensor, Tensor]:
        return [product[:count] for product in self.products], self.inner[:count], self.distance[:count]

    def prepare(self, vectors: list[Tensor]) -> list[Tensor]:
        """Take in the vectors of the tuples, and give the directions that anchors are multiplied with."""
        return vectors

    def measure(self, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """Write distances (n, K), and what else `slopes` needs, in the memory that is given."""
        raise TypeError(f"{type(self).__name__} has no distance")

    def slopes(self, asked: Tensor, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """Turn the products into what is asked of them, and sum up what is asked of the tuples themselves.

        Args:
            asked: (n, K), the gradient of -distance, divided by the distance.
            products, inner, distance: As `measure` left them.
        """
        raise TypeError(f"{type(self).__name__} has no slopes")

    def turn_back(self, products: list[Tensor]) -> None:
        """Turn what is asked of the products, where `measure` replaced them, into what is asked of those it was given."""

    def finish(self, of_directions: list[Tensor]) -> None:
        """Turn what is asked of the directions, in its place, into what is asked of the vectors."""


class _Volumes(_Tuples):
    """V = sqrt(d (1 - sum_m c_m^2)), of the products c_m with an orthonormal basis, and d = det Gram(Y).

    The basis of a large batch is never held, for it is as large as the inputs: c comes from the products with Y by the
    weights that make the basis of Y. What is asked of the basis is summed up, and goes back to Y in the end.
    """

    def prepare(self, vectors: list[Tensor]) -> list[Tensor]:
        """Make the bases, some rows at a time, which the caches hold; keep them, or what makes them of the vectors."""
        self.vectors = vectors
        whole = [torch.empty_like(vector, memory_format=torch.contiguous_format) for vector in vectors if self.single]
        made = [self._basis(rows, [place[rows] for place in whole]) for rows in self._parts()]
        self.determinant = torch.cat([some.determinant for some in made])
        self.of_determinant = torch.zeros_like(self.determinant)
        self.made = made if self.single else None
        self.weights = (
            [] if self.single else [torch.cat(parts) for parts in zip(*(some.weights() for some in made), strict=True)]
        )
        return whole or vectors

    def _parts(self) -> Iterator[slice]:
        rows = rows_at_once(None, self.candidates, _HELD * len(self.vectors) * self.vectors[0].shape[1], self.scale)
        return (slice(start, start + rows) for start in range(0, self.candidates, rows))

    def _basis(self, rows: slice, places: Sequence[Tensor] = ()) -> _Orthonormal:
        return _orthonormal([vector[rows] for vector in self.vectors], places)

    def measure(self, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """Keep c in the place of the products, and what lies outside the basis in `inner`."""
        if self.weights:
            for m in reversed(range(len(products))):
                *others, own = _row(self.weights, m)
                products[m].mul_(own)
                for product, weight in zip(products[:m], others, strict=True):
                    products[m].addcmul_(product, weight)
        torch.mul(products[0], products[0], out=inner)
        for product in products[1:]:
            inner.addcmul_(product, product)
        inner.neg_().add_(1.0).clamp_(min=0.0)
        torch.mul(inner, self.determinant, out=distance).add_(_SMALLEST).sqrt_()

    def slopes(self, asked: Tensor, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """dV = (outside dd - 2 d sum_m c_m dc_m) / 2 V."""
        asked.mul_(torch.sign(inner, out=distance))  # nothing is asked where the clamp closed
        self.of_determinant -= torch.mul(asked, inner, out=distance).sum(dim=0).mul_(0.5)
        asked.mul_(self.determinant)
        for product in products:
            product.mul_(asked)

    def turn_back(self, products: list[Tensor]) -> None:
        """Ask of the products with Y what is asked of c."""
        for m, product in enumerate(products if self.weights else ()):
            product.mul_(_row(self.weights, m)[m])
            for n in range(m + 1, len(products)):
                product.addcmul_(products[n], _row(self.weights, n)[m])

    def finish(self, of_directions: list[Tensor]) -> None:
        """Take what is asked of the basis and of d back to Y, some rows at a time."""
        for rows, made in zip(self._parts(), self.made or map(self._basis, self._parts()), strict=True):
            places = [of_direction[rows] for of_direction in of_directions]
            parts = [place.contiguous() for place in places]
            made.turn_back(parts, self.of_determinant[rows])
            for place, part in zip(places, parts, strict=True):
                place.copy_(part)  # onto itself, where it was by rows already


def _row(weights: Sequence[Tensor], m: int) -> Sequence[Tensor]:
    """Give the m + 1 weights that make direction m, of all that make the basis."""
    return weights[m * (m + 1) // 2 : (m + 1) * (m + 2) // 2]


@dataclass(frozen=True, eq=False)
class _Orthonormal:
    """An orthonormal basis of each tuple, after Gram and Schmidt.

    Attributes:
        rests: k times (K, D), what is left of each vector outside the directions before its own.
        basis: k times (K, D), the rests made unit; zero where the tuple has a direction less.
        shares: of each vector in the directions before its own, (K, 1) each.
        lengths: (K, 1), what the rests are divided by.
        factors: (K,) of the determinant: the squared lengths of the rests, 1 where the vector is absent.
    """

    rests: list[Tensor]
    basis: list[Tensor]
    shares: list[list[Tensor]]
    lengths: list[Tensor]
    factors: list[Tensor]

    @property
    def determinant(self) -> Tensor:
        """Give det Gram(Y), (K,)."""
        return reduce(torch.mul, self.factors)

    def weights(self) -> list[Tensor]:
        """Give what makes the basis of the vectors, (K,) each: of one vector, of two, and so on."""
        made: list[list[Tensor]] = []
        for shares, length in zip(self.shares, self.lengths, strict=True):
            row = [torch.zeros_like(length[:, 0]) for _ in shares]
            for share, before in zip(shares, made, strict=True):
                for weight, part in zip(row, before, strict=False):
                    weight.addcmul_(share[:, 0], part, value=-1.0)
            made.append([*(weight / length[:, 0] for weight in row), 1.0 / length[:, 0]])
        return [weight for row in made for weight in row]

    def turn_back(self, of_basis: Sequence[Tensor], of_determinant: Tensor) -> None:
        """Turn what is asked of the basis, in its place, into what is asked of the vectors; the last of them first.

        Args:
            of_basis: k times (K, D).
            of_determinant: (K,).
        """
        for m in reversed(range(len(of_basis))):
            asked, rest, length = of_basis[m], self.rests[m], self.lengths[m]
            others = self.factors[:m] + self.factors[m + 1 :]
            of_square = reduce(torch.mul, others, of_determinant).unsqueeze(1)
            of_square = of_square - 0.5 * _dot(asked, rest) / length**3
            asked.div_(length).addcmul_(rest, 2.0 * of_square)
            for n in reversed(range(m)):  # rest = before - share * direction, share = before . direction
                direction, share = self.basis[n], self.shares[m][n]
                rest.addcmul_(direction, share)
                of_share = -_dot(asked, direction)
                of_basis[n].addcmul_(asked, -share).addcmul_(rest, of_share)
                asked.addcmul_(direction, of_share)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.vecdot(x, y).unsqueeze(-1)


def _orthonormal(vectors: Sequence[Tensor], places: Sequence[Tensor] = ()) -> _Orthonormal:
    """Orthogonalise k times (K, D), unit vectors, and zero where absent.

    Args:
        vectors: they.
        places: where the basis is to be, k times (K, D); none: in memory of its own.
    """
    tiny = torch.finfo(vectors[0].dtype).eps
    made = _Orthonormal([], [], [], [], [])
    for m, rest in enumerate(vectors):
        whole = _dot(rest, rest)
        shares: list[Tensor] = []
        for direction in made.basis:
            shares.append(_dot(rest, direction))
            rest = torch.addcmul(rest, direction, shares[-1], value=-1.0)
        square = _dot(rest, rest) if shares else whole
        length = (square + tiny).sqrt()
        made.rests.append(rest)
        made.basis.append(torch.div(rest, length, out=places[m] if places else None))
        made.shares.append(shares)
        made.lengths.append(length)
        made.factors.append(torch.where(whole > 0, square, 1.0).squeeze(-1))
    return made


class _Areas(_Tuples):
    """A = 1/2 sqrt(4 u v - p^2), u = 1 - x.y, v = 1 - x.z, p = u + v - (1 - y.z): Heron's formula by squares of sides."""

    reach = 1.3  # three points of a unit sphere span 3 sqrt(3) / 4 at most

    def prepare(self, vectors: list[Tensor]) -> list[Tensor]:
        """Take the cosine of the two vectors of each tuple, whose side is the same for all anchors."""
        self.cosine = torch.linalg.vecdot(*vectors)
        self.of_cosine = torch.zeros_like(self.cosine)
        return vectors

    def measure(self, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """Keep u and v in the place of the products, and p in `inner`."""
        u, v = (product.neg_().add_(1.0) for product in products)
        torch.add(u, v, out=inner).add_(self.cosine - 1.0)
        torch.mul(u, v, out=distance).mul_(4.0).addcmul_(inner, inner, value=-1.0)
        distance.clamp_(min=0.0).add_(_SMALLEST).sqrt_().mul_(0.5)

    def slopes(self, asked: Tensor, products: list[Tensor], inner: Tensor, distance: Tensor) -> None:
        """dA = ((2 v - p) du + (2 u - p) dv - p d(y.z)) / 4 A."""
        none = distance.new_tensor(_SMALLEST).sqrt().mul(0.5)
        asked.mul_(distance.sub_(none).sign_()).mul_(0.25)  # nothing is asked where the clamp closed
        u, v = products
        u.mul_(2.0).sub_(inner).mul_(asked)
        v.mul_(2.0).sub_(inner).mul_(asked)
        products.reverse()  # what is asked of x.y is made of v, and of x.z of u
        self.of_cosine += torch.mul(asked, inner, out=distance).sum(dim=0)

    def finish(self, of_directions: list[Tensor]) -> None:
        """Ask of both vectors what is asked of their cosine."""
        for of_vector, other in zip(of_directions, reversed(self.directions), strict=True):
            of_vector.addcmul_(other, self.of_cosine.unsqueeze(1))


class GRAM(Contrast):
    """Gramian representation alignment: the volume that an anchor and the other modalities span is their distance.

    Unit vectors that all point the same way span no volume; orthogonal ones span 1. With x_i the anchor of row i and
    Y_j the other modalities of row j:

        V_ij = sqrt(det Gram(x_i, Y_j))
        L    = 1/2 [ CE_i softmax_j(-V_ij / tau) + CE_j softmax_i(-V_ij / tau) ]         with label smoothing

    **When to use.** As a baseline for three modalities or more, one of which is a natural anchor. The volume is blind
    to signs, and it is zero as soon as any two of the vectors agree: a row whose text and audio coincide fits every
    image. Rank by the cosine when you retrieve. Relatives: `PMRL` measures the same tuple by its leading singular
    value; `TRIANGLE` by an area, which sees signs.

    **How it is computed.** Within the comparisons of a tuple only the anchor changes, so
    det Gram(x_i, Y_j) = det Gram(Y_j) (1 - ||Q_j x_i||^2) with an orthonormal basis Q_j of the tuple: one small
    orthogonalisation a tuple and one product a pair, in place of B x B determinants. What a row lacks is left out of
    its basis.

    Args:
        anchor: the modality that is compared with tuples of the others.
        temperature: initial temperature. The scale 1 / tau is clamped at 100.
        learnable: train the temperature.
        smoothing: label smoothing, in [0, 1).
        chunk_size: rows compared at a time, so that no B x B matrix is held; None: what suits the device.

    Terms: `contrastive_loss`; for the log `accuracy`, `scale`, and `volume`, the mean V_ii.

    Reference: "Gramian Multimodal Representation Learning and Alignment", https://arxiv.org/abs/2412.11959

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> aligned = Embeddings.from_dict({"image": torch.eye(4), "text": torch.eye(4), "audio": torch.eye(4)})
        >>> round(float(GRAM("image")(aligned)["volume"]), 3)
        0.001
    """

    kind: type[_Tuples] = _Volumes
    measured = "volume"
    needs = "another modality"

    def __init__(
        self,
        anchor: str = "image",
        temperature: float = 0.07,
        learnable: bool = True,
        smoothing: float = 0.1,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(temperature, learnable, chunk_size)
        self.anchor = anchor
        self.smoothing = check_number("smoothing", smoothing)
        if self.smoothing >= 1:
            raise InputError(f"smoothing: {smoothing!r} is too large; give a number below 1")

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Search the tuple of every anchor, and the anchor of every tuple."""
        scale, anchor = self.scale(batch.vectors.dtype), batch.index(self.anchor)
        others = [m for m in range(len(batch.modalities)) if m != anchor]
        columns = batch.columns
        there, tuple_there = batch.present[:, anchor], self.complete(batch.present[:, others])
        if not bool((there & tuple_there).any()):
            wanted = f"the anchor {self.anchor!r} and {self.needs}"
            raise InputError(f"embeddings: no row has {wanted}; mix such rows into every batch")
        anchors, tuples = torch.nonzero(there).flatten(), torch.nonzero(tuple_there).flatten()
        loss, accuracy, own = search(
            self.kind,
            scale,
            [take(columns[anchor], anchors), *(take(columns[m], tuples) for m in others)],
            anchors,
            tuples,
            batch.groups,
            self.chunk_size,
            self.smoothing,
        )
        return {
            "contrastive_loss": loss,
            "accuracy": accuracy,
            "scale": scale,
            self.measured: -own / scale.detach(),
        }

    def complete(self, present: Tensor) -> Tensor:
        """Tell which tuples can be compared, (B,) bool, from which of the others are there (B, k)."""
        return present.any(dim=1)


class TRIANGLE(GRAM):
    """The area between the tips of three unit vectors in place of the volume that they span; three modalities.

        A_ij = 1/2 sqrt(|u|^2 |v|^2 - (u . v)^2),   u = x_i - y_j,   v = x_i - z_j
        L    = as in `GRAM`, with A for V

    **When to use.** As `GRAM`, with exactly three modalities. The area is zero only if the three tips lie on a line:
    on the sphere, if two of them coincide. Rows that lack one of the three have no part.

    Args:
        anchor, temperature, learnable, smoothing, chunk_size: as in `GRAM`.

    Terms: `contrastive_loss`; for the log `accuracy`, `scale`, and `area`, the mean A_ii.

    Reference: "A TRIANGLE Enables Multimodal Alignment Beyond Cosine Similarity", https://arxiv.org/abs/2509.24734

    Example:
        >>> import torch
        >>> from unclip_mm.embeddings import Embeddings
        >>> corners = torch.eye(3).repeat(2, 1, 1)
        >>> apart = Embeddings(corners, torch.ones(2, 3, dtype=torch.bool), ("image", "text", "audio"))
        >>> round(float(TRIANGLE("image")(apart)["area"]), 3)
        0.866
    """

    kind = _Areas
    measured = "area"
    needs = "both others"

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Search the pair of every anchor, and the anchor of every pair."""
        if len(batch.modalities) != 3:
            names = ", ".join(batch.modalities)
            raise InputError(
                f"embeddings: {len(batch.modalities)} modalities ({names}); TRIANGLE takes three: select them"
            )
        return super().terms(batch)

    def complete(self, present: Tensor) -> Tensor:
        """Tell which pairs can be compared: those that have both."""
        return present.all(dim=1)
