"""Weights to integer levels and their scales, and back.

int8   one scale per output: max|w| / 127, levels -127..127
int4   one scale of half precision per output and group of inputs: max|w| / 7, levels -7..7
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TOP8, TOP4 = 127, 7
PAIR = 129  # 254 * 129 fits 16 bits: two products that `maddubs` adds never saturate
_TINY = 2.0**-100  # the largest weight of a row of zeros: its scale must not be zero
_TINY_HALF = 2.0**-14 * TOP4  # the same where the scale is of half precision


def row_scales(w: Array, *, saturation_free: bool = False) -> Array:
    """Scales of int8 rows: float32 of the shape of `w` without its last axis."""
    largest = np.max(np.abs(w), axis=-1, initial=_TINY) / TOP8
    if saturation_free and w.shape[-1] > 1:
        pairs = w[..., : w.shape[-1] // 2 * 2]
        sums = np.abs(pairs[..., 0::2] + pairs[..., 1::2])
        # Rounding may add half a level to each of the two.
        largest = np.maximum(largest, sums.max(axis=-1) / (PAIR - 1))
    return np.asarray(largest, np.float32)


def to_levels(w: Array, scales: Array, top: int = TOP8) -> Array:
    """Nearest levels of weights; `scales` broadcasts against `w`."""
    return np.asarray(np.clip(np.rint(w / scales), -top, top), np.int8)


def paired(found: Array) -> Array:
    """Levels whose pair sums fit 16 bits: rounding against data may have gone a level too far."""
    wide = found.astype(np.int32)
    pairs = wide[..., : wide.shape[-1] // 2 * 2].reshape(*wide.shape[:-1], -1, 2)
    sums = pairs.sum(axis=-1)
    excess = np.sign(sums) * np.maximum(np.abs(sums) - PAIR, 0)
    larger = np.abs(pairs[..., 1]) > np.abs(pairs[..., 0])
    pairs[..., 0] -= np.where(larger, 0, excess)
    pairs[..., 1] -= np.where(larger, excess, 0)
    wide[..., : wide.shape[-1] // 2 * 2] = pairs.reshape(*wide.shape[:-1], -1)
    return wide.astype(np.int8)


def group_scales(w: Array, group: int) -> Array:
    """Scales of int4 groups, float16 [outputs, groups]; the last group of a row may be short."""
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % group)))
    grouped = np.abs(padded.reshape(len(w), -1, group)).max(axis=-1)
    scales = np.maximum(grouped, _TINY_HALF) / TOP4
    return np.asarray(np.minimum(scales, np.finfo(np.float16).max), np.float16)


def spread(scales: Array, group: int, inputs: int) -> Array:
    """The float32 scale of every weight: [outputs, groups] -> [outputs, inputs]."""
    return np.repeat(scales.astype(np.float32), group, axis=1)[:, :inputs]


def pair_sums_fit(levels: Array) -> bool:
    """Whether products of these int8 weights with 0..254 may be added in pairs in 16 bits."""
    wide = levels.astype(np.int32)
    even = wide[..., : wide.shape[-1] // 2 * 2]
    sums = np.abs(even[..., 0::2] + even[..., 1::2])
    return bool(np.max(sums, initial=0) <= PAIR)
