"""From what an activation was to the scale and zero point it is quantized with.

Every range holds 0. `scale = (high - low) / 254`, `zero_point = round(-low / scale)`; symmetric:
`scale = max / 127`, `zero_point = 127`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError

Array = npt.NDArray[Any]

LEVELS = 254
MIDDLE = 127
WORSE = 10.0  # dB; DTLN's magnitudes lose 25, the states and features of other models 0 to 6
ERASED = 1 / 3  # power spectra lose 0.4, magnitudes 0.27, all else seen so far less than 0.2
_TINY = 2.0**-100
_BINS = 2048
_CANDIDATES = 100
_DECAY = 0.9


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How an activation is quantized: `clamp(round(v / scale) + zero_point, 0, 254)`."""

    scale: float
    zero_point: int = MIDDLE

    def round_trip(self, v: Array) -> Array:
        """Quantize and dequantize."""
        levels = np.clip(np.rint(v / np.float32(self.scale)) + self.zero_point, 0, LEVELS)
        return np.asarray((levels - self.zero_point) * np.float32(self.scale), np.float32)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen of one activation.

    Args:
        low: The least value.
        high: The greatest.
        recent: Least and greatest of each run, oldest first.
        rows: Rows (its last axis) at random, [count, width].
    """

    low: float
    high: float
    recent: tuple[tuple[float, float], ...]
    rows: Array


def encoding(
    seen: Seen, observer: str, *, percentile: float = 99.99, symmetric: bool = False
) -> Encoding:
    """Choose scale and zero point.

    Raises:
        UsageError: there is no such observer.
    """
    values = seen.rows.reshape(-1)
    match observer:
        case "min-max":
            low, high = seen.low, seen.high
        case "moving":
            low, high = _moving(seen)
        case "percentile":
            low, high = _percentile(values, percentile)
        case "mse":
            return _best(values, seen, symmetric)
        case "entropy":
            top = _entropy(np.abs(values))
            low, high = max(seen.low, -top), min(seen.high, top)
        case _:
            raise UsageError(
                f"unknown observer '{observer}'",
                fix="one of min-max, moving, percentile, mse, entropy",
            )
    return of_range(low, high, symmetric=symmetric)


def of_range(low: float, high: float, *, symmetric: bool) -> Encoding:
    """The encoding of a range; 0 is in it and is a level."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Encoding(float(np.float32(max(high, -low, _TINY) / MIDDLE)))
    scale = float(np.float32(max(high - low, _TINY) / LEVELS))
    return Encoding(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def loses(static: Encoding, rows: Array) -> bool:
    """Whether one scale for all rows costs far more than a scale for each.

    So it is where loudness varies, as in the magnitudes of a spectrum: the mean over rows of the
    ratio of squared errors, in dB, is held against `WORSE`.
    """
    exact = rows.astype(np.float64)  # squares of 1e30 are beyond float32
    largest = np.abs(exact).max(axis=1, keepdims=True)
    exact, largest = exact[largest[:, 0] > 0], largest[largest > 0][:, None]
    if not len(exact):
        return False
    own = np.rint(exact / (largest / MIDDLE)) * (largest / MIDDLE)
    floor = np.square(largest[:, 0] * 1e-4)  # no error matters below 80 dB
    both = (static.round_trip(exact).astype(np.float64), own)
    errors = [np.square(one - exact).mean(axis=1) + floor for one in both]
    return float(10 * np.mean(np.log10(errors[0] / errors[1]))) > WORSE


def erases(rows: Array) -> bool:
    """Whether even a scale for each row makes zeros of too much that is not zero.

    So it is where one row spans decades, as a power spectrum does.
    """
    sizes = np.abs(rows)
    something = sizes > 0
    lost = something & (sizes < sizes.max(axis=1, keepdims=True) / (2 * MIDDLE))
    return bool(lost.sum() > ERASED * something.sum())


def _moving(seen: Seen) -> tuple[float, float]:
    low, high = seen.recent[0]
    for a, b in seen.recent[1:]:
        low, high = _DECAY * low + (1 - _DECAY) * a, _DECAY * high + (1 - _DECAY) * b
    return low, high


def _percentile(values: Array, percentile: float) -> tuple[float, float]:
    """Cut half of what is left over off each side; a side of few outliers loses little."""
    rest = (100 - percentile) / 2
    low, high = np.percentile(values, [rest, 100 - rest])
    return float(low), float(high)


def _best(values: Array, seen: Seen, symmetric: bool) -> Encoding:
    """The candidate between 0.3 and 1.0 of the range whose squared error is least."""
    values = values[:: max(1, len(values) // 20_000)]
    found, least = of_range(seen.low, seen.high, symmetric=symmetric), math.inf
    for share in np.linspace(0.3, 1.0, _CANDIDATES):
        one = of_range(seen.low * share, seen.high * share, symmetric=symmetric)
        error = float(np.square(one.round_trip(values) - values, dtype=np.float64).mean())
        if error <= least:
            found, least = one, error
    return found


def _entropy(sizes: Array) -> float:
    """The largest size such that the histogram cut there and its 128 levels differ least (KL)."""
    counts, edges = np.histogram(sizes, _BINS)
    best, least = _BINS, math.inf
    for cut in range(128, _BINS + 1, 32):
        kept = counts[:cut].astype(np.float64)
        clipped = kept.copy()
        clipped[-1] += counts[cut:].sum()
        error = _divergence(clipped, _coarse(kept))
        if error < least:
            best, least = cut, error
    return float(edges[best])


def _coarse(kept: Array) -> Array:
    """Spread each of 128 levels evenly over those of its bins that are not empty."""
    out = np.zeros_like(kept)
    for part in np.array_split(np.arange(len(kept)), 128):
        used = part[kept[part] > 0]
        out[used] = kept[part].sum() / max(len(used), 1)
    return out


def _divergence(p: Array, q: Array) -> float:
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    both = p > 0
    return float(np.sum(p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))))
