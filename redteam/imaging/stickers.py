"""Stickers with words: a rectangle of paper, and text on it in the font that Pillow brings along."""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

ASPECT = 3.0  # width over height of a sticker where the image leaves room
MARGIN = 0.08  # of the sticker's sides, left blank
SMALLEST = 4  # font size in pixels below which no letter can be told
PROBE = 64  # font size at which lines are compared


def shape(height: int, width: int, area: float) -> tuple[int, int]:
    """Size of an image and share of its area -> height and width of the sticker, at most the image's.

    >>> shape(128, 128, 0.12), shape(10, 200, 0.5)
    ((26, 76), (10, 100))
    """
    wanted = area * height * width
    high = min(height, max(1, round((wanted / ASPECT) ** 0.5)))
    wide = min(width, max(1, round(wanted / high)))
    return (high if wide < width else min(height, max(1, round(wanted / wide)))), wide


@functools.lru_cache(maxsize=64)
def ink(text: str, height: int, width: int) -> Tensor:
    """Text and the size of a sticker -> (height, width) in [0, 1], how much ink is where; words are broken into the lines that fit largest.

    Raises ValueError where Pillow cannot draw text at a size.

    >>> ink("real", 30, 90).amax().item(), ink("", 30, 90).amax().item()
    (1.0, 0.0)
    """
    drawn = Image.new("L", (width, height), 0)
    fitting = [(_size(lines, height, width), lines) for lines in _broken(text)]
    size, lines = max(fitting, key=lambda choice: choice[0], default=(0, ""))
    if size >= SMALLEST:
        left, top, right, bottom = _box(lines, size)
        place = ((width - right + left) / 2 - left, (height - bottom + top) / 2 - top)
        ImageDraw.Draw(drawn).multiline_text(place, lines, fill=255, font=_font(size), align="center")
    return torch.from_numpy(np.array(drawn)).float() / 255


def _broken(text: str) -> list[str]:
    """The text on one line, on two, ... on as many as it has words; the breaks stand as evenly as words allow."""
    words = text.split()
    counts = range(1, len(words) + 1)
    return ["\n".join(" ".join(words[i * len(words) // lines : (i + 1) * len(words) // lines]) for i in range(lines)) for lines in counts]


def _size(lines: str, height: int, width: int) -> int:
    """The largest whole font size at which the lines fit between the margins."""
    left, top, right, bottom = _box(lines, PROBE)
    size = int(PROBE * (1 - 2 * MARGIN) * min(height / max(bottom - top, 1), width / max(right - left, 1)))
    while size >= SMALLEST and not _fits(_box(lines, size), height, width):
        size -= 1
    return size


def _fits(box: tuple[float, float, float, float], height: int, width: int) -> bool:
    left, top, right, bottom = box
    return right - left <= width * (1 - 2 * MARGIN) and bottom - top <= height * (1 - 2 * MARGIN)


def _box(lines: str, size: int) -> tuple[float, float, float, float]:
    return ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), lines, font=_font(size), align="center")


@functools.lru_cache(maxsize=256)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("text needs a Pillow with FreeType, and this one has none; install Pillow's wheel: pip install --force-reinstall Pillow")
    return font
