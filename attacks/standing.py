"""The part of a batch that an attack has still to break: who has fallen is not asked about again, and keeps the file that it fell to.

Source: dropping images once they are misjudged is that of Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of
Diverse Parameter-free Attacks", ICML 2020, arXiv:2003.01690, section 6.
Deviation: an image has fallen when its 8-bit file is misjudged, not its float; the file that was judged is the one that is handed on.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from redteam.files import Budget
from redteam.imaging.grid import round_nearest
from redteam.imaging.settling import settle
from redteam.objective import Objective, Slope


class Standing:
    """Answers about the images that stand; an attack keeps tensors of the whole batch, and those who have fallen are answered with zeros.

    clean:     pixels (n, 3, h, w) of the whole batch before the attack
    left:      positions of the images that stand and are still asked about
    fallen:    (n,) bool, who has fallen
    objective: of the images that are asked about
    files:     pixels (n, 3, h, w): the file that an image fell to, else the best that was offered, else the image as it was
    """

    def __init__(self, objective: Objective, budget: Budget | None, *, stop: bool) -> None:
        """`stop` false keeps every image to the end; so does an objective on which success is not for good."""
        self.objective, self.clean = objective, objective.images.pixels
        self.left = torch.arange(len(objective), device=objective.images.pixels.device)
        self.fallen = torch.zeros(len(objective), dtype=torch.bool, device=self.left.device)
        self.files = objective.images.pixels.clone()
        self._whole, self._budget, self._stops = objective, budget, stop and objective.final
        self._lowest = torch.full((len(objective),), torch.inf, dtype=torch.float64, device=self.left.device)

    def __len__(self) -> int:
        return len(self.left)

    def slope(self, pixels: Tensor) -> Slope:
        """Pixels (n, 3, h, w) of the whole batch -> loss, margin and gradient."""
        return Slope(*map(self._spread, self.objective.slope(self._of_left(pixels))))

    def slopes(self, pixels: Tensor) -> Iterator[Slope]:
        """The answers that `slope` is the mean of, one after the other."""
        return (Slope(*map(self._spread, answer)) for answer in self.objective.slopes(self._of_left(pixels)))

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) of the whole batch -> margin (n,)."""
        return self._spread(self.objective.margin(self._of_left(pixels)))

    def settled(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) of the whole batch -> those that a file inside the budget can hold; of who has fallen, the file."""
        files = self.files.clone()
        files[self.left] = self._settled(pixels, self.left)
        return files

    def check(self, pixels: Tensor, won: Tensor) -> None:
        """Let those fall whose float pixels have won (n,) bool and whose file then does too."""
        if not self._stops or not len(self):
            return
        at = self.left[won[self.left]]
        if len(at):
            files = self._settled(pixels, at)
            fell = self._whole.subset(at).succeeded(files)
            self._fell(at[fell], files[fell])

    def offer(self, pixels: Tensor) -> Tensor:
        """`take` the files of these pixels (n, 3, h, w)."""
        return self.take(self.settled(pixels))

    def take(self, files: Tensor) -> Tensor:
        """Keep files (n, 3, h, w) inside the budget where their loss is the lowest so far, and let those fall who are misjudged; says who kept one (n,) bool. Asks once."""
        kept = torch.zeros_like(self.fallen)
        if not len(self):
            return kept
        won, loss = self.objective.scored(self._of_left(files))
        kept[self.left] = ~(loss >= self._lowest[self.left])  # what has no score is better than nothing
        self._lowest[self.left] = torch.fmin(loss, self._lowest[self.left])
        self.files[kept] = files[kept]
        if self._stops and won.any():
            self._fell(self.left[won], self._of_left(files)[won])
        return kept

    def rest(self, done: Tensor) -> None:
        """Ask no more about those who are done (n,) bool."""
        stays = ~done[self.left]
        if not stays.all():
            self.left, self.objective = self.left[stays], self.objective.subset(stays)

    def _fell(self, at: Tensor, files: Tensor) -> None:
        self.files[at] = files
        self.fallen[at] = True
        self.rest(self.fallen)

    def _settled(self, pixels: Tensor, at: Tensor) -> Tensor:
        clean = self.clean[at]
        return settle(pixels[at], clean, self._budget.norm, self._budget.eps) if self._budget else round_nearest(pixels[at])

    def _of_left(self, pixels: Tensor) -> Tensor:
        return pixels if len(self) == len(pixels) else pixels[self.left]

    def _spread(self, answers: Tensor) -> Tensor:
        if len(answers) == len(self.files):
            return answers
        return answers.new_zeros((len(self.files), *answers.shape[1:])).index_copy_(0, self.left, answers)
