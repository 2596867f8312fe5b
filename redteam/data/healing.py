"""Seamless blending: a region is given the differences between neighbours of another picture, and the border of its own.

Source: Pérez, Gangnet and Blake, "Poisson Image Editing", ACM TOG 22(3), 2003, eq. 7.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # from a pixel to its neighbours, as (rows, columns)


def heal(host: np.ndarray, inside: np.ndarray, wanted: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray:
    """The host with its inside filled so that neighbours differ as wanted, and by the host's own values at the border.

    Host (h, w, 3) uint8, inside (h, w) bool, wanted: step -> (n, 3), the difference between each of the n inside pixels, row by row, and
    its neighbour at that step. Returns (h, w, 3) uint8; outside the host is untouched.
    """
    rows, cols = np.nonzero(inside)
    number = np.full(inside.shape, -1)
    number[rows, cols] = np.arange(len(rows))
    degree, total = np.zeros(len(rows)), np.zeros((len(rows), 3))
    pairs = []
    for step in STEPS:
        there_rows, there_cols = rows + step[0], cols + step[1]
        exists = (there_rows >= 0) & (there_rows < inside.shape[0]) & (there_cols >= 0) & (there_cols < inside.shape[1])
        here, there_rows, there_cols = np.flatnonzero(exists), there_rows[exists], there_cols[exists]
        degree += exists
        total[here] += wanted[step][here]
        neighbour = number[there_rows, there_cols]
        border = neighbour < 0
        total[here[border]] += host[there_rows[border], there_cols[border]]
        pairs.append(np.stack([here[~border], neighbour[~border]]))
    ends = np.concatenate(pairs, axis=1)
    laplacian = sparse.diags(degree) - sparse.coo_matrix((np.ones(ends.shape[1]), ends), shape=(len(rows), len(rows)))
    healed = host.copy()
    healed[rows, cols] = np.rint(np.clip(splu(laplacian.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(total), 0, 255)).astype(np.uint8)
    return healed


def differences(picture: np.ndarray, rows: np.ndarray, cols: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Pixels (n, 3) of a picture at places minus their neighbours at a step; a neighbour beyond the frame is the nearest in it."""
    height, width = picture.shape[:2]
    there = picture[np.clip(rows + step[0], 0, height - 1), np.clip(cols + step[1], 0, width - 1)]
    return picture[np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)].astype(np.float64) - there
