"""A simulated camera over procedural scenes, and the corpus that it gives: photographs whose forensic traces are known.

Lens (depth-dependent defocus, chromatic aberration, vignetting), Bayer mosaic, shot and read noise, demosaicing, white balance,
colour matrix, tone curve, sharpening, JPEG, in the order of a real camera.

Source: Malvar, He and Cutler, "High-Quality Linear Interpolation for Demosaicing of Bayer-Patterned Color Images", ICASSP 2004
(the four 5 x 5 filters); Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data",
IEEE TIP 2008 (noise).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from redteam.data.scenes import Scene, compose
from redteam.data.surfaces import F32

_STREAM = 0x0CA3E2A  # separates this corpus' random streams from those of others that take the same seed and index
PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")

# Malvar-He-Cutler filters times 8, as (offset, weight) in the order centre, then rings.
_GREEN_AT_CHROMA = {(0, 0): 4.0, (0, 1): 2.0, (0, -1): 2.0, (1, 0): 2.0, (-1, 0): 2.0, (0, 2): -1.0, (0, -2): -1.0, (2, 0): -1.0, (-2, 0): -1.0}
_CHROMA_ALONG_ROW = {(0, 0): 5.0, (0, 1): 4.0, (0, -1): 4.0, (0, 2): -1.0, (0, -2): -1.0, (1, 1): -1.0, (1, -1): -1.0, (-1, 1): -1.0,
                     (-1, -1): -1.0, (2, 0): 0.5, (-2, 0): 0.5}
_CHROMA_ALONG_COLUMN = {(dy, dx): w for (dx, dy), w in _CHROMA_ALONG_ROW.items()}
_CHROMA_DIAGONAL = {(0, 0): 6.0, (1, 1): 2.0, (1, -1): 2.0, (-1, 1): 2.0, (-1, -1): 2.0, (0, 2): -1.5, (0, -2): -1.5, (2, 0): -1.5, (-2, 0): -1.5}
_CROSS = {(0, 1): 2.0, (0, -1): 2.0, (1, 0): 2.0, (-1, 0): 2.0}
_ROW, _COLUMN = {(0, 1): 4.0, (0, -1): 4.0}, {(1, 0): 4.0, (-1, 0): 4.0}
_DIAGONAL = {(1, 1): 2.0, (1, -1): 2.0, (-1, 1): 2.0, (-1, -1): 2.0}
_FILTERS = {"malvar": (_GREEN_AT_CHROMA, _CHROMA_ALONG_ROW, _CHROMA_ALONG_COLUMN, _CHROMA_DIAGONAL),
            "bilinear": (_CROSS, _ROW, _COLUMN, _DIAGONAL)}


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The settings of one exposure, so that the traces in a picture are known.

    pattern:      Bayer pattern, the colours of the top left 2 x 2 pixels
    demosaic:     `malvar` or `bilinear`
    reduction:    sensor pixels per picture pixel, 1 or 2; at 2 the picture was reduced in the camera and its mosaic traces fade
    blur:         deviation of the lens' blur in focus, sensor pixels
    aperture:     deviation of the blur of the farthest object when the nearest is in focus, in hundredths of the frame
    focus:        depth in focus, [0, 1]
    aberration:   growth of the red plane against the blue, relative
    vignette:     light lost in the corners, [0, 1]
    exposure:     target of the mean linear level, [0, 1]
    shot, read:   noise variance is shot * level + read**2, levels in [0, 1]
    balance:      gains of red and blue
    balance_error: what is left of the light's colour after white balance, per channel
    crosstalk:    share of each channel that leaks into its neighbours before the colour matrix
    contrast:     strength of the tone curve's S, [0, 1]
    saturation:   factor on chroma
    chroma_denoise: deviation of the blur of colour differences, sensor pixels
    sharpening:   amount of unsharp masking
    quality:      JPEG quality
    subsampling:  chroma subsampling as Pillow counts, 0 is 4:4:4 and 2 is 4:2:0
    """

    pattern: str
    demosaic: str
    reduction: int
    blur: float
    aperture: float
    focus: float
    aberration: float
    vignette: float
    exposure: float
    shot: float
    read: float
    balance: tuple[float, float]
    balance_error: tuple[float, float, float]
    crosstalk: float
    contrast: float
    saturation: float
    chroma_denoise: float
    sharpening: float
    quality: int
    subsampling: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """A random camera and exposure."""
    iso = float(np.exp(rng.uniform(np.log(50), np.log(1200))))
    reduction = 1 if rng.random() < 0.4 else 2
    return Camera(
        pattern=PATTERNS[int(rng.integers(4))],
        demosaic="malvar" if rng.random() < 0.65 else "bilinear",
        reduction=reduction,
        blur=float(rng.uniform(0.2, 0.6)),
        aperture=float(rng.choice([0.0, 0.0, rng.uniform(0.1, 1.0), rng.uniform(0.5, 2.5)])),
        focus=float(rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 1.0)])),
        aberration=float(rng.normal(0, 0.0015)),
        vignette=float(rng.uniform(0, 0.35)),
        exposure=float(rng.uniform(0.08, 0.3)),
        shot=7e-7 * iso,
        read=float(6e-4 * np.sqrt(iso / 100) * rng.uniform(0.7, 1.5)),
        balance=(float(rng.uniform(1.3, 2.2)), float(rng.uniform(1.2, 2.0))),
        balance_error=tuple(float(v) for v in np.exp(rng.normal(0, 0.05, 3))),
        crosstalk=float(rng.uniform(0.05, 0.2)),
        contrast=float(rng.uniform(0.0, 1.0)),
        saturation=float(rng.uniform(0.8, 1.25)),
        chroma_denoise=float(rng.choice([0.0, rng.uniform(0.5, 1.3)])),
        sharpening=float(rng.choice([0.0, rng.uniform(0.2, 0.6), rng.uniform(0.4, 1.4)])) * (0.5 if reduction == 1 else 1.0),
        quality=int(rng.integers(85, 99)),
        subsampling=int(rng.choice([0, 2])),
    )


def render(seed: int, index: int, size: int) -> np.ndarray:
    """Picture `index` of the camera corpus under `seed` -> (size, size, 3) uint8; the same arguments give the same bytes."""
    if size < 32:
        raise ValueError(f"camera: size must be >= 32, got {size}")
    rng = np.random.default_rng([_STREAM, seed, index])
    camera = draw_camera(rng)
    return shoot(compose(rng, 2 * size), camera, rng)


def camera_of(seed: int, index: int) -> Camera:
    """The camera that `render` used for this picture."""
    return draw_camera(np.random.default_rng([_STREAM, seed, index]))


def shoot(scene: Scene, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Take a picture at half the scene's resolution: radiance (3, 2h, 2w) -> (h, w, 3) uint8."""
    if camera.reduction == 1:
        scene = Scene(_halve(scene.radiance), scene.depth[::2, ::2], scene.place)
    light = through_lens(scene, camera)
    raw = expose(light, camera, rng)
    linear = demosaic(raw, camera.pattern, camera.demosaic)
    picture = develop(linear, camera)
    if camera.reduction == 2:
        picture = _halve(picture)
    picture = _sharpen(picture, camera.sharpening)
    eight_bit = np.ascontiguousarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
    return resave(eight_bit, camera.quality, subsampling=camera.subsampling)


def resave(image: np.ndarray, quality: int, *, subsampling: int = 2) -> np.ndarray:
    """(h, w, 3) uint8 -> what a JPEG file of this quality holds, decoded."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, format="JPEG", quality=int(quality), subsampling=subsampling)
    return np.asarray(Image.open(held))


def through_lens(scene: Scene, camera: Camera) -> np.ndarray:
    """Radiance and depth -> the light on the sensor (3, h, w), scaled to the exposure, blurred where it is out of focus."""
    side = scene.radiance.shape[1]
    sampled = scene.radiance[:, ::4, ::4]
    metered = np.minimum(sampled, 4 * np.median(sampled)).mean()
    light = scene.radiance * F32(camera.exposure / metered)
    light = _blur(np.minimum(light, 8), camera.blur)
    if camera.aperture > 0:
        circle = np.abs(scene.depth - F32(camera.focus)) * F32(camera.aperture * side / 100)
        light = _defocus(light, ndimage.uniform_filter(circle, 5))
    light = _aberrate(light, camera.aberration)
    axis = (np.arange(side, dtype=F32) + F32(0.5)) / F32(side / 2) - 1
    return light * (1 - F32(camera.vignette / 2) * (axis[:, None] ** 2 + axis[None, :] ** 2))


def _defocus(light: np.ndarray, circle: np.ndarray) -> np.ndarray:
    """Blend a stack of blurred pictures by the local circle of confusion (h, w), deviations in pixels."""
    most, out, low = float(circle.max()), light, 0.0
    for high in (1.0, 2.5, 6.0):
        if most <= low:
            break
        blurred = _blur(light, high) if high < 2 else _double(_blur(_halve(light), high / 2))
        out = out + np.clip((circle - F32(low)) / F32(high - low), 0, 1) * (blurred - out)
        low = high
    return out


def expose(light: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Light (3, h, w) -> raw mosaic (h, w) in [0, 1], 12 bit, with shot and read noise."""
    gains = np.array(camera.balance_error) / np.array([camera.balance[0], 1.0, camera.balance[1]])
    seen = _mix(gains[:, None] * _crosstalk(camera.crosstalk), light)
    raw = np.empty(light.shape[1:], F32)
    for colour, (top, left) in zip(camera.pattern, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        raw[top::2, left::2] = seen["RGB".index(colour), top::2, left::2]
    raw += rng.standard_normal(raw.shape, dtype=F32) * np.sqrt(F32(camera.shot) * raw + F32(camera.read**2))
    return np.rint(np.clip(raw, 0, 1) * 4095) / F32(4095)


def demosaic(raw: np.ndarray, pattern: str, method: str) -> np.ndarray:
    """Bayer mosaic (h, w) -> (3, h, w); `malvar` or `bilinear`; a sample that was measured keeps its value."""
    green_f, row_f, column_f, diagonal_f = _FILTERS[method]
    padded = np.pad(raw, 2, mode="reflect")  # mirrors about the edge pixel, which keeps the pattern's parity
    green, row, column, diagonal = (_correlate(padded, taps) for taps in (green_f, row_f, column_f, diagonal_f))
    out = np.empty((3, *raw.shape), F32)
    for k, (top, left) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        site = (slice(top, None, 2), slice(left, None, 2))
        if pattern[k] == "G":
            beside = "RGB".index(pattern[k ^ 1])  # the colour of the neighbours in this row
            out[1, *site], out[beside, *site], out[2 - beside, *site] = raw[site], row[site], column[site]
        else:
            own = "RGB".index(pattern[k])
            out[own, *site], out[1, *site], out[2 - own, *site] = raw[site], green[site], diagonal[site]
    return out


def develop(linear: np.ndarray, camera: Camera) -> np.ndarray:
    """Demosaiced (3, h, w) -> display-referred picture in [0, 1]: white balance, colour matrix, sRGB curve with an S, saturation."""
    gains = np.array([camera.balance[0], 1.0, camera.balance[1]], F32).reshape(3, 1, 1)
    balanced = _mix(np.linalg.inv(_crosstalk(camera.crosstalk)), np.minimum(linear * gains, 1))
    level = np.linspace(0, 1, 16384)
    curve = np.where(level <= 0.0031308, 12.92 * level, 1.055 * np.maximum(level, 1e-6) ** (1 / 2.4) - 0.055)
    curve += camera.contrast * 0.8 * (curve * curve * (3 - 2 * curve) - curve)
    encoded = curve.astype(F32)[(np.clip(balanced, 0, 1) * 16383).astype(np.int32)]
    grey = _mix(np.array([[0.299, 0.587, 0.114]]), encoded)
    chroma = F32(camera.saturation) * (encoded - grey)
    if camera.chroma_denoise > 0:
        chroma = _blur(chroma, camera.chroma_denoise)
    return np.clip(grey + chroma, 0, 1)


def _crosstalk(leak: float) -> np.ndarray:
    """The sensor's mixing of colours (3, 3); rows sum to 1, so that grey stays grey."""
    return (1 - 1.5 * leak) * np.eye(3) + leak / 2


def _mix(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """(k, 3) x (3, h, w) -> (k, h, w), summed in a fixed order."""
    rows = [F32(a) * planes[0] + F32(b) * planes[1] + F32(c) * planes[2] for a, b, c in matrix]
    return np.stack(rows)


def _correlate(padded: np.ndarray, taps: dict[tuple[int, int], float]) -> np.ndarray:
    height, width = padded.shape[0] - 4, padded.shape[1] - 4
    out = np.zeros((height, width), F32)
    for (dy, dx), weight in taps.items():
        out += F32(weight / 8) * padded[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
    return out


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (0, sigma, sigma), truncate=2.5, mode="mirror")


def _halve(image: np.ndarray) -> np.ndarray:
    return (image[:, 0::2, 0::2] + image[:, 1::2, 0::2] + image[:, 0::2, 1::2] + image[:, 1::2, 1::2]) * F32(0.25)


def _double(image: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(np.repeat(np.repeat(image, 2, 1), 2, 2), (1, 3, 3))


def _aberrate(light: np.ndarray, growth: float) -> np.ndarray:
    """Red grows and blue shrinks about the centre."""
    out, middle = light.copy(), (light.shape[1] - 1) / 2
    if abs(growth) * middle < 0.1:
        return out
    for channel, scale in ((0, 1 - growth), (2, 1 + growth)):
        offset = middle * (1 - scale)
        out[channel] = ndimage.affine_transform(light[channel], [scale, scale], [offset, offset], order=1, mode="mirror")
    return out


def _sharpen(picture: np.ndarray, amount: float) -> np.ndarray:
    return picture if amount == 0 else picture + F32(amount) * (picture - _blur(picture, 0.8))
