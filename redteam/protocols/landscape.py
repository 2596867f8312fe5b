"""How rugged a detector's score is around a clean image: what flag R6 rests on.

Source: the change of the loss at random points is that of Pintor et al., "Indicators of Attack Failure", NeurIPS 2022, arXiv:2106.09947, section 3
("unstable predictions").
Deviation: a weak target changes under noise too and is none the less smooth; what misleads a gradient is a score that is not nearly straight over
the smallest step that a file can hold, so the score half-way is held against the straight line.
"""

from __future__ import annotations

import torch
from torch import Tensor

from redteam.images import Images
from redteam.seeding import SampleRNG
from redteam.target import Detector

RADIUS = 1 / 255  # one 8-bit level
POINTS = 6  # random ones for each image


def landscape(detector: Detector, images: Images) -> tuple[list[float], list[float]]:
    """Clean images (n, 3, h, w) -> (n,) how far the score is off at random points one level away, and (n,) how far it is off the straight line half-way, both in log-odds."""
    rng = SampleRNG.of(0, "landscape", {}, images.ids)
    x = images.pixels
    start = _scores(detector, x)
    change, bend = torch.zeros_like(start), torch.zeros_like(start)
    for _ in range(POINTS):
        end = (x + RADIUS * rng.signs_like(x)).clamp(0, 1)
        there, half = _scores(detector, end), _scores(detector, (x + end) / 2)
        change += (there - start).abs() / POINTS
        bend += (half - (start + there) / 2).abs() / POINTS
    return change.tolist(), bend.tolist()


def _scores(detector: Detector, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return detector.respond(pixels.clone()).double().cpu()
