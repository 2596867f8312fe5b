"""Crops of the photographs that scikit-image and scikit-learn install with themselves; nothing is downloaded.

| scene     | what                                              | licence            | credit, and where it ships                          |
|-----------|---------------------------------------------------|--------------------|-----------------------------------------------------|
| astronaut | Eileen Collins, studio portrait, 512 x 512        | public domain      | NASA, flic.kr/p/r9qvLn; scikit-image                |
| chelsea   | a cat's face, 451 x 300                           | CC0                | Stefan van der Walt; scikit-image                   |
| china     | Summer Palace roofs and trees, 640 x 427          | CC BY 2.0          | danielbuechele, Flickr 6061409035; scikit-learn     |
| coffee    | an espresso cup on wood, 600 x 400                | CC0                | Rachel Michetti, Pikolo Espresso Bar; scikit-image  |
| flower    | a dahlia before leaves, 640 x 427                 | CC BY 2.0          | vultilion, Flickr 6056698931; scikit-learn          |
| rocket    | Falcon 9 launch at dusk, 640 x 427                | public domain      | SpaceX, Flickr 16511594820; scikit-image            |

Their other pictures are grey, drawn, microscopic, astronomic, or without a stated licence (the Middlebury stereo pair).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

_STREAM = 0x0F07A6
_SKIMAGE = ("astronaut", "chelsea", "coffee", "rocket")
_SKLEARN = ("china", "flower")


def scenes() -> tuple[str, ...]:
    """The names of the photographs, in a fixed order."""
    return tuple(sorted(_SKIMAGE + _SKLEARN))


def crop(scene: str, index: int, size: int) -> np.ndarray:
    """Crop number `index` of a photograph -> (size, size, 3) uint8; the same arguments give the same bytes.

    Even crops come from the photograph at half size, where that is at least size, so that they show things; odd ones, and all where it
    is not, from the photograph as it is, so that its own traces are kept. Where even that is smaller, it is enlarged to fit.
    Number 0 is from the middle, the others from random places.
    """
    if scene not in scenes():
        raise ValueError(f"photos: scene must be one of {', '.join(scenes())}, got {scene!r}")
    whole = _photograph(scene)
    short = min(whole.shape[:2])
    if index % 2 == 0 and short // 2 >= size:
        whole = _halved(scene)
    elif short < size:
        scale = size / short
        whole = np.asarray(Image.fromarray(whole).resize((max(size, round(whole.shape[1] * scale)), max(size, round(whole.shape[0] * scale)))))
    room = np.array(whole.shape[:2]) - size
    rng = np.random.default_rng([_STREAM, scenes().index(scene), index])
    top, left = room // 2 if index == 0 else rng.integers(0, room + 1)
    return whole[top : top + size, left : left + size].copy()


@cache
def _photograph(scene: str) -> np.ndarray:
    if scene in _SKLEARN:
        from sklearn.datasets import load_sample_image

        return np.asarray(load_sample_image(f"{scene}.jpg"))
    from skimage import data

    return np.asarray(getattr(data, scene)())


@cache
def _halved(scene: str) -> np.ndarray:
    return np.asarray(Image.fromarray(_photograph(scene)).reduce(2))
