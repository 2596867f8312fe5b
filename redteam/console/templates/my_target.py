"""The detector that scenario.yaml attacks. This stub works; put your own network in its place."""

import torch
from torch import nn


def build() -> nn.Module:
    """What `factory: my_target.py:build` calls. Return a module, or any function from pixels to scores.

    Yours may be as short as this; a scenario's `weights` are then loaded into it, strictly:

        from my_package.models import Detector
        return Detector()
    """
    return GridSteps()


class GridSteps(nn.Module):
    """A hand-made score: autoencoders leave larger steps between blocks of 4 pixels than inside them.

    It tells the regenerated images of scenario.yaml from the real ones (AUC about 0.93) and knows nothing else.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, h, w), as `input` prepared them -> one number an image, as `output` declares: here a logit, above 0 for fake."""
        return 25 * (steps_at_blocks(images) + steps_at_blocks(images.mT) - 0.12)


def steps_at_blocks(images: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) -> (n,): how much larger steps at every fourth column are than steps on average, as a logarithm."""
    steps = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2))  # (n, w - 1)
    return torch.log(steps[:, 3::4].mean(1) + 1e-3) - torch.log(steps.mean(1) + 1e-3)
