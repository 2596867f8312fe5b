"""The power spectrum of an image by averaged windows, its rings, and filters given by what they do to it.

Source: Welch, "The Use of Fast Fourier Transform for the Estimation of Power Spectra", IEEE Trans. Audio and Electroacoustics 15, 1967;
rings of equal frequency as in Durall et al., "Watch Your Up-Convolution", CVPR 2020, arXiv:2003.01826, eq. 2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from redteam.imaging.filters import reflect

WINDOW = 32  # pixels along a side: grids of 2, 4, 8 and 16 pixels fall on whole frequencies
RINGS = 24  # of one frequency step each; the corner of the plane is in ring 23
AROUND = 6  # frequencies of the whole image on each side of a line that its floor is the median of
FLOOR = 1e-7  # power, image units squared: what rounding to 8 bits leaves is twelve times as much


def log_power(image: Tensor) -> Tensor:
    """Image (c, h, w) in [0, 1] -> (c, 32, 17) float64: the natural logarithm of its power at each frequency of a half plane, averaged over windows.

    Windows of 32 x 32 pixels stand every 16; smaller images are mirrored.

    >>> wave = torch.cos(torch.pi * torch.arange(64) / 2).expand(1, 64, 64)
    >>> log_power(wave)[0, 0].argmax().item()
    8
    """
    for dim in (-1, -2):
        image = reflect(image, -(-max(0, WINDOW - image.shape[dim]) // 2), dim)
    taper = torch.hann_window(WINDOW, dtype=torch.float64, device=image.device)
    taper = taper[:, None] * taper
    strips = image.double().unfold(-2, WINDOW, WINDOW // 2).unbind(-3)  # (c, w, 32) each: memory for a row of windows
    return (sum(_power(strip, taper) for strip in strips) / len(strips) + FLOOR).log()


def _power(strip: Tensor, taper: Tensor) -> Tensor:
    windows = strip.unfold(1, WINDOW, WINDOW // 2)  # (c, columns, 32, 32)
    windows = windows - windows.mean((-2, -1), keepdim=True)  # a mean would leak into the lowest frequencies
    return torch.fft.rfft2(windows * taper).abs().square().mean(1) / taper.square().sum()


@functools.cache
def rings() -> Tensor:
    """(32, 17) int64: the distance of each frequency from zero, in whole steps of 1/32 cycles a pixel.

    >>> rings()[0, :3].tolist(), rings()[16, 16].item()
    ([0, 1, 2], 23)
    """
    down, across = torch.fft.fftfreq(WINDOW, 1 / WINDOW), torch.arange(WINDOW // 2 + 1.0)
    return (down[:, None].square() + across.square()).sqrt().round().long()


def radial(spectrum: Tensor) -> Tensor:
    """Spectrum (c, 32, 17) -> (c, 24), its mean over each ring.

    >>> radial(rings().double()[None])[0, :4].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    ring = rings().to(spectrum.device).flatten()
    sums = spectrum.new_zeros(len(spectrum), RINGS).index_add(1, ring, spectrum.flatten(1))
    return sums / torch.bincount(ring, minlength=RINGS)


def filtered(image: Tensor, log_gain: Tensor) -> Tensor:
    """Image (c, h, w) and the logarithm of a gain (c, 32, 17) at each frequency of a half plane -> the image filtered, without shift, borders mirrored.

    >>> image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(filtered(image, torch.zeros(1, 32, 17)), image, atol=1e-6)
    True
    """
    taps = torch.fft.fftshift(torch.fft.irfft2(log_gain.double().exp(), (WINDOW, WINDOW)), (-2, -1))  # (c, 32, 32), from -16 to 15
    taps = torch.cat([taps, taps[..., :1]], -1)
    taps = torch.cat([taps, taps[..., :1, :]], -2)
    taps[..., [0, -1]] /= 2
    taps[..., [0, -1], :] /= 2  # the tap at 16 stands on both sides
    kernel = torch.zeros(len(image), *(length + WINDOW for length in image.shape[-2:]), dtype=torch.float64, device=image.device)
    kernel[..., : WINDOW + 1, : WINDOW + 1] = taps
    response = torch.fft.rfft2(kernel.roll((-WINDOW // 2, -WINDOW // 2), (-2, -1)))
    return _in_frequencies(image, lambda spectrum: spectrum * response)


def notched(image: Tensor, lines: Tensor) -> Tensor:
    """Image (c, h, w) and frequencies (32, 17) bool -> the image with the lines at these frequencies lowered to the median of what lies around them.

    >>> wave = 0.5 + 0.1 * torch.cos(torch.pi * torch.arange(64) / 2).expand(1, 64, 64); lines = torch.zeros(32, 17, dtype=torch.bool); lines[0, 8] = True
    >>> notched(wave, lines).std().item() < 0.5 * wave.std().item()
    True
    """
    return _in_frequencies(image, lambda spectrum: _without(spectrum, lines))


def _without(spectrum: Tensor, lines: Tensor) -> Tensor:
    spectrum = spectrum.clone()
    height, width = spectrum.shape[1], 2 * (spectrum.shape[2] - 1)
    for down, across in lines.nonzero().tolist():
        row, column = round(down * height / WINDOW), min(round(across * width / WINDOW), width // 2)

        def near(reach: int, row: int = row, column: int = column) -> tuple[slice, Tensor, Tensor]:
            rows = torch.arange(row - reach, row + reach + 1, device=spectrum.device) % height
            return slice(None), rows[:, None], torch.arange(max(0, column - reach), min(width // 2, column + reach) + 1, device=spectrum.device)

        floor = spectrum[near(AROUND)].abs().flatten(1).median(1).values[:, None, None]
        spectrum[near(1)] *= (floor / spectrum[near(1)].abs().clamp(min=1e-12)).clamp(max=1)
    return spectrum


def _in_frequencies(image: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The image after a change of its spectrum; half a window is mirrored on each side, so that opposite borders do not meet."""
    half, (height, width) = WINDOW // 2, image.shape[-2:]
    padded = reflect(reflect(image.double(), half, -1), half, -2)
    changed = torch.fft.irfft2(change(torch.fft.rfft2(padded)), padded.shape[-2:])
    return changed[..., half : half + height, half : half + width].to(image)
