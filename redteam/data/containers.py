"""Whether files alone tell real images from fake ones: format, JPEG compression and size by class, from headers.

A detector that is trained or judged on PNG fakes and JPEG photographs can look good without seeing a forgery. Here each of these
properties plays the detector: a rule that looks at nothing else is fitted on all images but one and asked about that one.

Source: Grommelt et al., "Fake or JPEG? Revealing Common Biases in Generated Image Detection Datasets", 2024, arXiv:2403.17608.
Deviation: a header says what a file is, not what its pixels went through before: a JPEG that was saved again as PNG is a PNG here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log2

import numpy as np
from PIL import Image, JpegImagePlugin

from redteam.data.corpus import Container, Corpus, Sample
from redteam.measure.statistics import wilson

LEAST = 0.6  # balanced accuracy from which a property is worth a word
CONFIDENCE = 0.99  # of the intervals: several properties are looked at, each at two grains
RARE = 3  # images; values that fewer have are one value, so that a photograph of a size of its own is "of another size"
_CHROMA = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_LUMINANCE = np.array([  # ITU-T T.81, table K.1
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One property of files that tells the classes apart.

    name:     the property, such as file format
    accuracy: balanced accuracy of a rule that looks at this property alone, on images that it was not fitted on
    real, fake: {value: images}
    """

    name: str
    accuracy: float
    real: Mapping[Hashable, int]
    fake: Mapping[Hashable, int]


@dataclass(frozen=True)
class Survey:
    """The files of a corpus by class.

    real, fake: {format: images}; empty for a corpus that is made and not read
    unread:     images whose header cannot be read
    findings:   what tells the classes apart beyond chance, the strongest first
    """

    real: Mapping[str, int]
    fake: Mapping[str, int]
    unread: int
    findings: tuple[Finding, ...]

    def sentence(self) -> str | None:
        """What is wrong and what to do about it; None where the files are balanced, or one class is missing."""
        if not self.findings:
            return None
        first, *others = self.findings
        more = f" ({', '.join(f'{other.name} {other.accuracy:.2f}' for other in others)})" if others else ""
        return (
            f"{first.name} alone tells real from fake images with balanced accuracy {first.accuracy:.2f}{more}: real ones are {_shares(first.real)}, fake ones {_shares(first.fake)}. "
            "A detector may have learned that instead of forgeries; save both classes in one format, quality and size"
        )


@dataclass(frozen=True)
class _Property:
    """name, and what it reads of a sample: an exact value and, for quantities, a coarse one; None where a sample has none."""

    name: str
    exact: Callable[[Sample], Hashable | None]
    coarse: Callable[[Sample], Hashable | None] | None = None


def survey(corpus: Corpus) -> Survey:
    """The files of a corpus; reads headers and hashes files as listing does. Raises CorpusError."""
    return survey_of(corpus.samples())


def survey_of(samples: Iterable[Sample]) -> Survey:
    """The files of samples that were listed before."""
    samples = list(samples)
    files = [s for s in samples if s.container]
    sides = [[s for s in files if s.label == label] for label in (0, 1)]
    found = [finding for prop in _PROPERTIES if (finding := _finding(prop, *sides))]
    formats = [_ordered(Counter(s.container.format for s in side)) for side in sides]
    return Survey(*formats, unread=sum(not s.height for s in samples), findings=tuple(sorted(found, key=lambda f: -f.accuracy)))


def container(picture: Image.Image) -> Container:
    """What the header of an opened picture says."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile):
        return Container(format=picture.format, mode=picture.mode)
    quality, standard = jpeg_quality(picture.quantization[min(picture.quantization)]) if picture.quantization else (None, None)
    chroma = _CHROMA.get(JpegImagePlugin.get_sampling(picture), "other") if picture.layers == 3 else None
    return Container(format="JPEG", mode=picture.mode, quality=quality, standard=standard, chroma=chroma)


def jpeg_quality(table: Sequence[int]) -> tuple[int, bool]:
    """The quality in [1, 100] whose luminance table is nearest to this one of 64 steps, row by row, and whether it is that table.

    >>> jpeg_quality(_scaled(90)), jpeg_quality([1] * 63 + [2])
    ((90, True), (100, False))
    """
    away = np.abs(_tables() - np.asarray(table)).sum(1)
    best = 100 - int(np.argmin(away[::-1]))  # of two alike the higher
    return best, not away[best - 1]


@cache
def _tables() -> np.ndarray:
    return np.stack([_scaled(quality) for quality in range(1, 101)])


def _scaled(quality: int) -> np.ndarray:
    """The standard's luminance table at a quality, as libjpeg scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMINANCE * percent + 50) // 100, 1, 255)


def _table(sample: Sample) -> Hashable | None:
    found = sample.container
    return found.quality and f"{'' if found.standard else 'about '}{found.quality}"


_PROPERTIES = (
    _Property("file format", lambda s: s.container.format),
    _Property("colour mode", lambda s: s.container.mode),
    _Property("JPEG quality", _table, lambda s: s.container.quality and f"{s.container.quality // 5 * 5} to {s.container.quality // 5 * 5 + 4}"),
    _Property("JPEG chroma subsampling", lambda s: s.container.chroma),
    _Property("image size", lambda s: f"{s.width} x {s.height}", lambda s: f"about {2 ** round(log2(s.width * s.height) / 2)} square"),
)


def _finding(prop: _Property, real: Sequence[Sample], fake: Sequence[Sample]) -> Finding | None:
    """What a property finds, at the grain that tells the classes apart best; None where that may be chance."""
    found = []
    for read in filter(None, (prop.exact, prop.coarse)):
        counts = [_ordered(Counter(value for s in side if (value := read(s)) is not None)) for side in (real, fake)]
        if all(counts) and (accuracy := beyond_chance(*counts)):
            found.append(Finding(prop.name, accuracy, *counts))
    return max(found, key=lambda finding: finding.accuracy, default=None)


def beyond_chance(real: Mapping[Hashable, int], fake: Mapping[Hashable, int]) -> float | None:
    """Balanced accuracy of telling the classes apart by a value; None below LEAST or where both recalls' intervals do not carry it.

    >>> beyond_chance({"JPEG": 50}, {"PNG": 50}), beyond_chance({"JPEG": 25, "PNG": 25}, {"JPEG": 24, "PNG": 26})
    (1.0, None)
    """
    recalls = [wilson(right, sum(counts.values()), CONFIDENCE) for right, counts in zip(_right(*_pooled(real, fake)), (real, fake), strict=True)]
    accuracy = sum(recall.value for recall in recalls) / 2
    return accuracy if accuracy >= LEAST and sum(recall.low for recall in recalls) > 1 else None


def _right(real: Mapping[Hashable, int], fake: Mapping[Hashable, int]) -> tuple[float, float]:
    """How many images of each class a rule gets right that knows all others: by the share of the value in each class, a tie counts half."""
    totals, right = (sum(real.values()), sum(fake.values())), [0.0, 0.0]
    for value in real.keys() | fake.keys():
        counts = (real.get(value, 0), fake.get(value, 0))
        for own, other in ((0, 1), (1, 0)):
            mine = (counts[own] - 1) / max(totals[own] - 1, 1)
            theirs = counts[other] / totals[other]
            right[own] += counts[own] * (1.0 if mine > theirs else 0.5 if mine == theirs else 0.0)
    return right[0], right[1]


def _pooled(real: Mapping[Hashable, int], fake: Mapping[Hashable, int]) -> list[Counter]:
    """The counts with all rare values as one."""
    sides = []
    for counts in (real, fake):
        sides.append(pooled := Counter())
        for value, n in counts.items():
            pooled[value if real.get(value, 0) + fake.get(value, 0) >= RARE else None] += n
    return sides


def _ordered(counts: Counter) -> dict:
    """The most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0]))))


def _shares(counts: Mapping[Hashable, int]) -> str:
    """The three most frequent values with their shares.

    >>> _shares({"JPEG": 97, "PNG": 3}), _shares({"PNG": 5})
    ('JPEG (97 %), PNG (3 %)', 'PNG')
    """
    if len(counts) == 1:
        return str(next(iter(counts)))
    total = sum(counts.values())
    shown = [f"{value} ({100 * n / total:.0f} %)" for value, n in list(counts.items())[:3]]
    return ", ".join([*shown, *([f"and {len(counts) - 3} others"] if len(counts) > 3 else [])])
