"""Random search with squares: no gradients, only scores.

Source: Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random search", ECCV 2020, arXiv:1912.00049,
algorithms 1-3, eq. 2 and section 3 (stripes, tiles and schedule); first share 0.8 as in AutoAttack, Croce & Hein, arXiv:2003.01690.
Deviation: what is scored of a candidate is the 8-bit file that would be saved; a square that would change nothing has its signs turned; on
images that are not square the side comes from the area, at most the shorter edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import ScoreAttack, Search
from redteam.component import Radius
from redteam.imaging.norms import length
from redteam.imaging.settling import settle
from redteam.seeding import SampleRNG

HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries of 10,000 after which the share of the image is halved
TILES = 5  # along the shorter edge, of the first L2 candidate
SHORT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Square(ScoreAttack):
    """Change one square at a time and keep what lowers the loss; squares shrink as queries are spent.

    share: of the image that the first squares cover
    """

    source: ClassVar[str] = "Andriushchenko et al., ECCV 2020, arXiv:1912.00049, algorithms 1-3"

    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 8 / 255
    queries: Annotated[int, Field(ge=1)] = 5000
    share: Annotated[float, Field(gt=0, le=1)] = 0.8

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """One candidate after the other, each from the best so far."""
        first, change = (self._stripes, self._coloured) if self.norm == "linf" else (self._tiles, self._shifted)
        best = (clean + first(clean, rng)).clamp(0, 1)
        lowest = yield settle(best, clean, self.norm, self.eps)
        for query in count(1):
            side = _side(share(self.share, query * self.eot / self.queries), clean)
            candidate = change(best, clean, side, rng)
            loss = yield settle(candidate, clean, self.norm, self.eps)
            if not loss >= lowest:  # what has no score is better than nothing
                best, lowest = candidate, loss

    def _stripes(self, clean: Tensor, rng: SampleRNG) -> Tensor:
        """Vertical stripes of one pixel, up or down in each channel."""
        return self.eps * rng.signs_like(clean[:, :, :1])

    def _coloured(self, best: Tensor, clean: Tensor, side: int, rng: SampleRNG) -> Tensor:
        """One square, wholly up or down in each channel; turned round where it would change nothing."""
        top, left, *colours = rng.rand_like(best[:, 0, 0, 0].expand(1, 5)).flatten().tolist()
        window = (..., _span(top, side, clean.shape[2]), _span(left, side, clean.shape[3]))
        step = self.eps * torch.tensor([1.0 if colour < 0.5 else -1.0 for colour in colours], device=clean.device).view(1, 3, 1, 1)
        candidate = best.clone()
        candidate[window] = (clean[window] + step).clamp(0, 1)
        if torch.equal(candidate[window], best[window]):
            candidate[window] = (clean[window] - step).clamp(0, 1)
        return candidate

    def _tiles(self, clean: Tensor, rng: SampleRNG) -> Tensor:
        """Bumps side by side over the whole image, each up or down in each channel, of length eps together."""
        height, width = clean.shape[2:]
        side = max(1, min(height, width) // TILES)
        signs = rng.signs_like(clean.new_empty(1, 3, -(-height // side), -(-width // side)))
        tiled = torch.kron(signs, bump(side).to(clean))[:, :, :height, :width]
        return self.eps * tiled / length(tiled, "l2").clamp(min=SHORT)

    def _shifted(self, best: Tensor, clean: Tensor, side: int, rng: SampleRNG) -> Tensor:
        """Algorithm 3: what one square has is given to another, as a bump added to what is there."""
        top, left, top_from, left_from, turn, *raised = rng.rand_like(best[:, 0, 0, 0].expand(1, 8)).flatten().tolist()
        height, width = clean.shape[2:]
        to = (..., _span(top, side, height), _span(left, side, width))
        source = (..., _span(top_from, side, height), _span(left_from, side, width))
        moved = best - clean
        union = torch.zeros_like(moved[:, :1])
        union[to] = union[source] = 1
        unused = (self.eps**2 - moved.square().sum()).clamp(min=0)
        available = ((moved * union).square().sum((2, 3), keepdim=True) + unused / 3).sqrt()
        signs = torch.tensor([1.0 if draw < 0.5 else -1.0 for draw in raised], device=clean.device).view(1, 3, 1, 1)
        shape = bump(side).to(clean)
        wish = signs * _one(shape.T if turn < 0.5 else shape) + _one(moved[to])
        moved[source] = 0
        moved[to] = _one(wish) * available
        return (clean + moved).clamp(0, 1)


def share(first: float, spent: float) -> float:
    """The share of the image that a square covers after `spent` in [0, 1] of all queries.

    >>> share(0.8, 0.0), share(0.8, 0.003), share(0.8, 0.5)
    (0.8, 0.4, 0.00625)
    """
    return first / 2 ** sum(spent * 10_000 > at for at in HALVED)


def bump(side: int) -> Tensor:
    """(side, side): two halves, one up and one down, each highest in its middle (eq. 2).

    >>> bump(3).mul(4).tolist()
    [[1.0, -1.0, -1.0], [5.0, -1.0, -5.0], [1.0, -1.0, -1.0]]
    """
    half = side // 2
    return torch.cat([_hill(side, half), -_hill(side, side - half)], 1)


def _hill(height: int, width: int) -> Tensor:
    """eta (height, width): at each place the sum of 1 / (n + 1 - k)^2 for k up to M, n less the distance from the middle."""
    n = height // 2
    rows, columns = (torch.arange(edge).sub(edge // 2).abs() for edge in (height, width))
    rings = n - torch.maximum(rows[:, None], columns[None, :])
    sums = torch.cat([torch.zeros(1), (1 / torch.arange(n + 1, 0, -1).float().square()).cumsum(0)])
    return sums[(rings + 1).clamp(min=0)]


def _one(x: Tensor) -> Tensor:
    """(..., h, w) -> each channel with an L2 norm of 1; zeros stay zeros."""
    return x / x.square().sum((-2, -1), keepdim=True).sqrt().clamp(min=SHORT)


def _side(part: float, pixels: Tensor) -> int:
    """The side of a square that covers this part of an image, pixels."""
    height, width = pixels.shape[2:]
    return min(max(1, round((part * height * width) ** 0.5)), height, width)


def _span(draw: float, side: int, edge: int) -> slice:
    """Where a square lies along an edge; `draw` in [0, 1) says where."""
    start = int(draw * (edge - side + 1))
    return slice(start, start + side)
