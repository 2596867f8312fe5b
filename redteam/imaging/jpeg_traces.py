"""What JPEG leaves in the histograms of its coefficients, and how to blur it away: steps found again, Laplacian dither, softer block borders.

Source: Fan and de Queiroz, "Identification of Bitmap Compression History: JPEG Detection and Quantizer Estimation", IEEE TIP 12, 2003 (steps
by likelihood); ITU-T T.81, table K.1, scaled by quality as libjpeg does; Stamm and Liu, "Anti-Forensics of Digital Image Compression", IEEE TIFS 6, 2011, section IV (Laplacian dither, with the
likelihood of its scale by Price and Rabbani); Fan, Wang, Cayre and Xiong, "JPEG Anti-Forensics With Improved Tradeoff Between Forensic
Undetectability and Image Quality", IEEE TIFS 9, 2014 (deblocking that keeps each coefficient in its bin).
Deviation: borders are levelled with the slope beside them instead of by total variation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from redteam.imaging.dct import dct, idct

SIDE = 8  # of a block, pixels
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
TABLE = (  # quantisation steps of the luma at quality 50
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92), (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
LARGEST = 128  # steps that are looked for
ROUNDING = 0.4  # deviation of a coefficient after decoding: the luma is rounded once, and red, green and blue again; sqrt(1/12 + 0.45/12) = 0.35
OUTLIERS = 0.05  # share of coefficients that clipping moved off their comb
SURE = 10.0  # nats by which a step must beat no step: the square of the number of choices
TAPER = (0.4, 0.2, 0.1)  # of a border's excess, taken by the pixels on each side


def luma(pixels: Tensor) -> Tensor:
    """Pixels (3, h, w) in [0, 1] -> (h, w) float64 luma in levels, 0..255.

    >>> round(luma(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)).item(), 3)
    76.245
    """
    red, green, blue = pixels.double()
    return 255 * (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)


def quantisation_table(quality: int) -> Tensor:
    """Quality 1..100 -> (8, 8) float64 steps of the luma, as libjpeg scales the standard's table.

    >>> quantisation_table(50)[0, 0].item(), quantisation_table(90)[0, 0].item(), quantisation_table(100).unique().item()
    (16.0, 3.0, 1.0)
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(TABLE, dtype=torch.float64) * percent + 50) / 100).floor().clamp(1, 255)


def coefficients(plane: Tensor) -> Tensor:
    """Luma (h, w) in levels -> (rows, columns, 8, 8) float64 coefficients of the whole 8 x 8 blocks, from the top left.

    >>> coefficients(torch.full((9, 17), 130.0, dtype=torch.float64))[..., 0, 0].round(decimals=6).tolist()
    [[16.0, 16.0]]
    """
    height, width = (length // SIDE * SIDE for length in plane.shape)
    return dct(plane[None, None, :height, :width] - 128, SIDE)[0, 0].unfold(0, SIDE, SIDE).unfold(1, SIDE, SIDE)


def plane_of(found: Tensor) -> Tensor:
    """Coefficients (rows, columns, 8, 8) -> the luma (8 rows, 8 columns) that has them.

    >>> plane = torch.arange(256.0).double().view(16, 16); torch.allclose(plane_of(coefficients(plane)), plane)
    True
    """
    rows, columns = found.shape[:2]
    return idct(found.permute(0, 2, 1, 3).reshape(1, 1, SIDE * rows, SIDE * columns), SIDE)[0, 0] + 128


def quantisation_steps(found: Tensor) -> Tensor:
    """Coefficients (rows, columns, 8, 8) -> (8, 8) float64, the step that each frequency was quantised with; 1 where none shows.

    >>> spread = 40 * torch.randn(20, 20, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> quantisation_steps((spread / 7).round() * 7).unique().tolist(), quantisation_steps(spread).unique().tolist()
    ([7.0], [1.0])
    """
    values = found.flatten(0, 1)  # (blocks, 8, 8)
    speaks = values.abs() >= 1  # zeros lie on every comb
    best, steps = torch.full((SIDE, SIDE), SURE, dtype=torch.float64), torch.ones(SIDE, SIDE, dtype=torch.float64)
    for step in range(2, LARGEST + 1):
        away = values - step * (values / step).round()
        density = torch.exp(-0.5 * (away / ROUNDING).square()) / (ROUNDING * math.sqrt(2 * math.pi))
        gain = (((1 - OUTLIERS) * step * density + OUTLIERS).log() * speaks).sum(0)  # nats over an even spread
        better = gain > best
        best, steps = torch.where(better, gain, best), torch.where(better, float(step), steps)
    return steps


def laplacian_scale(found: Tensor, steps: Tensor) -> Tensor:
    """Coefficients (rows, columns, 8, 8) and steps (8, 8) -> (8, 8) rates of the Laplacians that most likely lay under the quantised ones.

    >>> values = torch.distributions.Laplace(0.0, 10.0).icdf(torch.linspace(0.0005, 0.9995, 1000).double()).view(20, 50, 1, 1).expand(20, 50, 8, 8)
    >>> round(laplacian_scale((values / 12).round() * 12, torch.full((8, 8), 12.0).double())[0, 1].item(), 3)
    0.1
    """
    bins = (found / steps).round().abs().flatten(0, 1)
    total, zeros, size = len(bins), (bins == 0).sum(0).double(), bins.sum(0)  # size: of all in steps
    beyond = 2 * size - (total - zeros)
    root = (zeros.square() + 4 * (total + 2 * size) * beyond).sqrt()
    gamma = (root - zeros) / (2 * (total + 2 * size)).clamp(min=1)  # exp(-rate * step / 2)
    return (-2 * gamma.clamp(1e-12, 1 - 1e-6).log() / steps).to(found)


def dithered(found: Tensor, steps: Tensor, uniform: Tensor) -> Tensor:
    """Coefficients (rows, columns, 8, 8), steps (8, 8) and as many numbers in [0, 1) as coefficients -> coefficients spread over their bins.

    Frequencies with a step of 1 stay as they are; the constant term is spread evenly, the others as their Laplacian lies in the bin.

    >>> one = torch.full((1, 1, 8, 8), 20.0, dtype=torch.float64)
    >>> dithered(one, torch.full((8, 8), 10.0).double(), torch.full_like(one, 0.75))[0, 0, 0, 0].item()
    22.5
    """
    middle = steps * (found / steps).round()
    rate = laplacian_scale(found, steps)
    outward = _inverse(uniform, rate, steps) - steps / 2  # the density falls away from zero
    signed = 2 * uniform - 1
    inner = signed.sign() * _inverse(signed.abs(), rate, steps / 2)
    moved = torch.where(middle == 0, inner, middle.sign() * outward)
    moved[..., 0, 0] = (uniform[..., 0, 0] - 0.5) * steps[0, 0]
    return torch.where(steps > 1, middle + moved, found)


def _inverse(share: Tensor, rate: Tensor, length: Tensor) -> Tensor:
    """Where `share` of an exponential on [0, length] lies below."""
    return -torch.log1p(share * torch.expm1(-rate * length)) / rate


def deblocked(plane: Tensor, before: Tensor, steps: Tensor, rounds: int) -> Tensor:
    """Luma (h, w) in levels, coefficients before dither and steps -> the luma with softer block borders, each coefficient still in its bin.

    >>> flat = torch.full((8, 16), 128.0, dtype=torch.float64); flat[:, 8:] += 4
    >>> out = deblocked(flat, coefficients(flat), torch.full((8, 8), 64.0).double(), rounds=1)
    >>> bool((out[:, 8] - out[:, 7] < 4).all())
    True
    """
    rows, columns = (SIDE * count for count in before.shape[:2])
    middle, plane = steps * (before / steps).round(), plane.clone()
    free = torch.where(steps > 1, steps / 2, torch.inf)  # frequencies that were not quantised are bound by nothing
    for _ in range(rounds):
        levelled = _levelled(_levelled(plane, steps[0, 0].item()).T, steps[0, 0].item()).T
        kept = torch.minimum(torch.maximum(coefficients(levelled), middle - free), middle + free)
        plane[:rows, :columns] = plane_of(kept)
    return plane


def _levelled(plane: Tensor, most: float) -> Tensor:
    """Every vertical block border brought nearer to the slope beside it; a step of more than `most` levels is an edge and stays."""
    width = plane.shape[1] // SIDE * SIDE
    right = torch.arange(SIDE, width, SIDE)
    if not len(right):
        return plane
    slope = (plane[:, right - 1] - plane[:, right - 2] + plane[:, right + 1] - plane[:, right]) / 2
    excess = plane[:, right] - plane[:, right - 1] - slope
    excess = torch.where(excess.abs() <= most, excess, 0.0)
    out = plane.clone()
    for away, share in enumerate(TAPER):
        out[:, right - 1 - away] += share * excess
        out[:, right + away] -= share * excess
    return out
