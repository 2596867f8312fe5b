"""Real image files through Pillow: what a score sees is what a file would hold.

Source: JPEG by libjpeg-turbo, WebP by libwebp, PNG by zlib, in the versions that `codec_versions` names.
Deviation: Pillow ignores options that it does not know and reads JPEG quality 0 as 75; both are errors here.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor
from torch.autograd.function import FunctionCtx

from redteam.imaging.grid import from_levels, to_levels

OPTIONS = {"jpeg": ("quality", "subsampling"), "webp": ("quality", "lossless"), "png": ("compress_level",)}
LOWEST_QUALITY = {"jpeg": 1, "webp": 0}
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
WORKERS = min(4, os.cpu_count() or 1)  # codecs release the interpreter lock: 1.3-1.9 times faster on two cores, same bytes

Pixels8 = NDArray[np.uint8]


def jpeg(pixels: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> what a JPEG file of quality 1..100 gives back, on the 8-bit grid; no gradient.

    >>> (jpeg(torch.full((1, 3, 8, 8), 0.4), quality=10)[0, :, 0, 0] * 255).tolist()
    [98.0, 98.0, 98.0]
    """
    return _through_file(pixels, "jpeg", quality=quality, subsampling=subsampling)


def webp(pixels: Tensor, quality: int) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> what a lossy WebP file of quality 0..100 gives back, on the 8-bit grid; no gradient.

    >>> webp(torch.full((1, 3, 8, 8), 0.4), quality=80).shape
    torch.Size([1, 3, 8, 8])
    """
    return _through_file(pixels, "webp", quality=quality)


def png(pixels: Tensor) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> what a PNG file gives back: the nearest levels and no other change; no gradient.

    >>> round(float(png(torch.full((1, 3, 2, 2), 0.1))[0, 0, 0, 0]) * 255, 3)
    26.0
    """
    return _through_file(pixels, "png", compress_level=1)  # the fastest; the pixels are the same at every level


def encode(image: Pixels8, format: str, **options: Any) -> bytes:
    """Image (h, w, 3) uint8 and "jpeg", "webp" or "png" with the options that OPTIONS lists -> the bytes of the file.

    >>> encode(np.zeros((8, 8, 3), np.uint8), "jpeg", quality=90)[:2].hex()
    'ffd8'
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"encode: image must be (h, w, 3) uint8, got {image.shape} {image.dtype}")
    _check_options(format, options)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format.upper(), **options)
    return file.getvalue()


def decode(file: bytes) -> Pixels8:
    """The bytes of any still image that Pillow reads -> (h, w, 3) uint8; grey is repeated, transparency dropped.

    >>> decode(encode(np.full((1, 2, 3), 7, np.uint8), "png")).tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image.convert("RGB"))


def with_straight_through(pixels: Tensor, transformed: Tensor) -> Tensor:
    """The values of `transformed` to the bit, with a gradient that reaches `pixels` unchanged; both of one shape.

    Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013, arXiv:1308.3432;
    Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, arXiv:1802.00420 (BPDA).

    >>> x = torch.tensor([0.3], requires_grad=True)
    >>> (3 * with_straight_through(x, torch.tensor([0.5]))).backward(); x.grad.item()
    3.0
    """
    if pixels.shape != transformed.shape:
        raise ValueError(f"with_straight_through: both must have one shape, got {tuple(pixels.shape)} and {tuple(transformed.shape)}")
    result: Tensor = _StraightThrough.apply(pixels, transformed)
    return result


def codec_versions() -> dict[str, str | None]:
    """Version of each library that pixels go through, for the record of the environment; None where Pillow was built without it.

    >>> sorted(codec_versions())
    ['libjpeg_turbo', 'libwebp', 'pillow', 'zlib']
    """
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
        "libwebp": features.version_module("webp"),
        "zlib": features.version_codec("zlib"),
    }


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, pixels: Tensor, transformed: Tensor) -> Tensor:
        return transformed.detach().clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _through_file(pixels: Tensor, format: str, **options: Any) -> Tensor:
    levels = to_levels(pixels).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    _check_options(format, options)
    decoded = _each_through_file(levels, format, options)
    stacked = np.stack(decoded) if decoded else levels
    return from_levels(torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()).to(pixels.device)


def _each_through_file(images: Sequence[Pixels8] | Pixels8, format: str, options: dict[str, Any]) -> list[Pixels8]:
    def through(image: Pixels8) -> Pixels8:
        return decode(encode(image, format, **options))

    if min(len(images), WORKERS) < 2:
        return [through(image) for image in images]
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(through, images))


def _check_options(format: str, options: dict[str, Any]) -> None:
    if format not in OPTIONS:
        raise ValueError(f"encode: format must be one of {', '.join(OPTIONS)}, got {format!r}")
    for name in options:
        if name not in OPTIONS[format]:
            near = difflib.get_close_matches(name, OPTIONS[format], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(OPTIONS[format])}"
            raise ValueError(f"encode: {format} has no option {name!r}; {hint}")
    quality = options.get("quality", 100)
    if isinstance(quality, bool) or not isinstance(quality, int) or not LOWEST_QUALITY.get(format, 0) <= quality <= 100:
        raise ValueError(f"encode: {format} quality must be a whole number in [{LOWEST_QUALITY[format]}, 100], got {quality!r}")
    if options.get("subsampling", "4:2:0") not in SUBSAMPLINGS:
        raise ValueError(f"encode: jpeg subsampling must be one of {', '.join(SUBSAMPLINGS)}, got {options['subsampling']!r}")
