"""One picture that every head takes for what it is not: as a whole image, or pasted into a corner of any image.

Heads are all pairs of a target (the evaluated one, or each surrogate) and a view (the picture as it is, compressed, cropped, scaled).

Source: Freiberger et al., "CLIPMasterPrints: Fooling Contrastive Language-Image Pre-training Using Latent Variable Evolution", 2023,
arXiv:2307.03798 (the worst head's loss is lowered, by Adam on pixels, projected steps from a photograph, or CMA-ES in a latent space);
Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, arXiv:1604.00772.
Deviation: log-odds past the threshold instead of cosines with captions; CMA-ES searches the lowest cosine coefficients, so that no
generative model is needed; both directions at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import OptimisedAttack, State
from redteam.attacks.heads import Heads, View
from redteam.attacks.optimisers import evolved, followed
from redteam.component import Number, Radius
from redteam.images import Images
from redteam.imaging import resampling
from redteam.imaging.grid import round_nearest
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class MasterImage(OptimisedAttack):
    """Learn one picture for fakes that all heads call real, one for real images that all heads call fake, and show them in place of images or in a corner.

    With area 1 every image of a class becomes the same picture: success says whether that one picture fools the target, a figure without an
    interval that no worst case counts. In a corner it is judged on images that it never saw. The control is a random picture in the same place.

    area:      share of the image that the picture covers, from the bottom right corner; 1 replaces the image
    optimiser: adam from noise, pgd by signed steps from a training image, cma by scores alone, or none for the random picture
    steps:     of the optimiser; each asks every head once for each picture, cma once for each candidate
    step:      of one step: a rate for adam (0.05 when not given), image units for pgd (2/255), the first spread for cma (1)
    eps:       how far pgd may go from the training image, image units; anywhere when not given
    views:     ways in which a head sees the picture: plain, jpeg (quality 75), crop (the middle 90 %), resize (to 3/4 and back)
    pictures:  training images of each class that a corner is learned on, at most one micro-batch; with area 1 nothing of them is left, and one serves
    detail:    cosine coefficients along a side that cma searches, 3 detail^2 in all
    """

    source: ClassVar[str] = "Freiberger et al., 2023, arXiv:2307.03798"
    family: ClassVar[str] = "universal"
    arm: ClassVar[str] = "random picture"
    strength: ClassVar[str] = "area"

    area: Annotated[Number, Field(gt=0, le=1)] = 1.0
    optimiser: Literal["adam", "pgd", "cma", "none"] = "adam"
    steps: Annotated[int, Field(ge=1)] = 200
    step: Annotated[Number, Field(gt=0)] | None = None
    eps: Radius | None = None
    views: tuple[View, ...] = ("plain", "jpeg", "crop")
    pictures: Annotated[int, Field(ge=1)] = 16
    detail: Annotated[int, Field(ge=1, le=32)] = 8

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError(f"views must name at least one view and each once, got {list(self.views)}")
        if self.eps is not None and self.optimiser != "pgd":
            raise ValueError(f"eps is a bound of pgd, got optimiser {self.optimiser}; leave it out, or write optimiser: pgd")

    @property
    def needs(self) -> Access:
        """What its optimiser follows."""
        return {"adam": Access.GRADIENTS, "pgd": Access.GRADIENTS, "cma": Access.SCORES, "none": Access.NONE}[self.optimiser]

    @property
    def geometric(self) -> bool:
        """Whether nothing of the image is left to compare with."""
        return self.area == 1

    @property
    def one_picture(self) -> bool:
        """The same."""
        return self.geometric

    def gradients(self) -> int:
        """None: it asks while it learns, about training images."""
        return 0

    def control(self) -> MasterImage | None:
        """A random picture, which is its own."""
        return None if self.optimiser == "none" else MasterImage(area=self.area, optimiser="none", goal=self.goal)

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State:
        """For each label that the goal is about, the picture (3, h, w) on the 8-bit grid."""
        chosen = self._chosen(objectives)
        if not chosen:
            raise ValueError("data.train must hold an image of each class that is attacked, got none")
        return {str(label): round_nearest(self._master(objective, rng.fork(label)))[0] for label, objective in chosen.items()}

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the picture of their class in their place; images of another size get it resampled."""
        images, known = objective.images, self.learned(state)
        high, wide = self._side(images.pixels)
        pixels = images.pixels.clone()
        for image, label in zip(pixels, images.labels.tolist(), strict=True):
            if str(label) not in known:
                raise ValueError(f"no picture was learned for label {label}; data.train must hold images of that label")
            image[:, -high:, -wide:] = resampling.resize(known[str(label)].to(pixels)[None], high, wide)[0]
        return images.with_pixels(pixels)

    def _master(self, objective: Objective, rng: SampleRNG) -> Tensor:
        """(1, 3, h, w) in [0, 1] for the images of one class."""
        high, wide = self._side(objective.images.pixels)
        first = objective.images.pixels[:1, :, -high:, -wide:]
        noise = rng.rand_like(first)
        members = [objective.through((name,)) for name in self.surrogates] or [objective]
        heads = Heads([member.averaged(self.eot) for member in members], self.views)
        if self.optimiser == "none":
            return noise
        if self.optimiser == "cma":
            return evolved(heads, first, detail=self.detail, spread=self.step or 1.0, steps=self.steps, seed=rng.seeds[0])
        if self.optimiser == "adam":
            return followed(heads, noise, steps=self.steps, step=self.step or 0.05, adam=True)
        return followed(heads, first, steps=self.steps, step=self.step or 2 / 255, adam=False, eps=1.0 if self.eps is None else self.eps)

    def _chosen(self, objectives: Iterable[Objective]) -> dict[int, Objective]:
        """For each label the objective of as many training images as its picture is learned on, from the batch that has most of them."""
        wanted = self.pictures if self.area < 1 else 1
        found: dict[int, Objective] = {}
        for objective in objectives:
            for label in (0, 1):
                at = (objective.images.labels == label).nonzero().flatten()[:wanted]
                if len(at) and (label not in found or len(found[label]) < len(at)):
                    found[label] = objective.subset(at)
        return found

    def _side(self, pixels: Tensor) -> tuple[int, int]:
        """Height and width of the picture on images (n, 3, h, w)."""
        return max(1, round(pixels.shape[2] * self.area**0.5)), max(1, round(pixels.shape[3] * self.area**0.5))
