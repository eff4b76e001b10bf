"""Real Fourier transforms of windowed frames, forth and back; c/fourier.c.

What an STFT of known length is made of, be it written as such, as a convolution with waves or as
a product with them (`edgeseq/ir/fourier.py` recognises those). Of 512 points a matrix takes a
megabyte and 263 thousand products; here it is 4 kB and about twenty thousand operations.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes

PAD = 16  # ES_FFT_PAD
WIDEST = 16  # lanes of the widest vector: what scratch is rounded to
_PRIMES = (2, 3, 5)

_COMMON = ("B", "M", "N", "R", "K", "bins", "sign", "L", "pad")
SIZES = (*_COMMON, "x_bs", "x_ms", "y_bs", "y_ms", "y_ks", "re_at", "im_at")
INVERSE_SIZES = (*_COMMON, "x_bs", "x_ms", "x_ks", "re_at", "im_at", "y_bs", "y_ms", "add")


@functools.cache
def split(points: int) -> int | None:
    """R, the number of points of the inner transforms; None where there is no kernel for so many.

    Both factors may have the prime factors 2, 3 and 5 alone, and N / R is even. Of those the one
    with the least operations on vectors of eight lanes.
    """
    found = [
        (_cost(r, points // r), r)
        for r in range(2, points // 2 + 1)
        if points % (2 * r) == 0 and _smooth(r) and _smooth(points // r)
    ]
    return min(found)[1] if found else None


def _smooth(number: int) -> bool:
    for prime in _PRIMES:
        while number % prime == 0:
            number //= prime
    return number == 1


def _cost(rows: int, columns: int, lanes: int = 8) -> float:
    across, down = -(-columns // 2 // lanes), -(-(rows // 2 + 1) // lanes)
    inner, outer = rows * math.log2(rows), columns * math.log2(columns)
    return 5 * (across * inner + down * outer) + 10 * down * columns


def radices(points: int) -> list[int]:
    """The stages of a transform, in the order of c/fourier.c."""
    found = []
    while points > 1:
        found.append(next(r for r in (4, 2, 3, 5) if points % r == 0))
        points //= found[-1]
    return found


def table(points: int) -> Array:
    """The constants of a transform (`t` in C), float32.

    Raises:
        ValueError: there is no kernel for so many points.
    """
    rows = split(points)
    if rows is None:
        raise ValueError(f"no transform of {points} points")
    columns = points // rows
    at = np.outer(np.arange(rows // 2 + 1), np.arange(columns))
    twist = _waves(at, points) / 2
    parts = [twist.real.ravel(), twist.imag.ravel(), np.zeros(PAD)]
    for size in (rows, columns):
        left = size
        for radix in radices(size):
            left //= radix
            at = np.outer(np.arange(1, left), np.arange(1, radix))
            turns = _waves(at, radix * left).ravel()
            parts.append(np.stack([turns.real, turns.imag], axis=1).ravel())
    return np.concatenate(parts).astype(np.float32)


def _waves(at: Array, points: int) -> Array:
    """exp(-2 pi i at / points), from reduced angles."""
    return np.asarray(np.exp(-2j * np.pi * (at % points) / points))


def scratch(sizes: Sizes) -> int:
    """Bytes for the frame, its bins and three steps between them."""
    points, rows = sizes["N"], sizes["R"]
    columns = points // rows
    line = _up(points // 2 + 1) + PAD
    tall, wide = rows * _up(columns // 2), columns * _up(rows // 2 + 1)
    area = max(tall, wide) + PAD
    return 4 * (_up(points) + PAD + 2 * line + 6 * area)


def _up(count: int) -> int:
    return -(-count // WIDEST) * WIDEST


def _extent(*steps: tuple[int, int]) -> int:
    """Elements of an array of (count, stride) axes."""
    return 1 + sum((count - 1) * stride for count, stride in steps)


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y, flat, up to its last element."""
    steps = ((sizes["B"], sizes["y_bs"]), (sizes["M"], sizes["y_ms"]))
    last = max(sizes["re_at"], sizes["im_at"])
    if any(count == 0 for count, _ in steps):
        return {"y": (0,)}
    return {"y": (last + _extent(*steps, (sizes["bins"], sizes["y_ks"])),)}


def inverse_out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y, flat: L numbers for each of the batch."""
    return {"y": ((sizes["B"] - 1) * sizes["y_bs"] + sizes["L"],)}


def _frames(case: Case) -> Array:
    """The windowed frames of a forward case, [B, M, N], in float64."""
    s, x = case.sizes, case.raw["x"].astype(np.float64)
    frames = np.zeros((s["B"], s["M"], s["N"]))
    for b, m, i in itertools.product(range(s["B"]), range(s["M"]), range(s["K"])):
        at = m * s["x_ms"] - s["pad"] + i
        if 0 <= at < s["L"]:
            frames[b, m, i] = x[b * s["x_bs"] + at] * case.raw["w"][i]
    return frames


def reference(case: Case) -> dict[str, Array]:
    """Numpy's rfft in float64; as in a product, a NaN reaches all bins."""
    s, frames = case.sizes, _frames(case)
    spectrum = np.fft.rfft(frames)[..., : s["bins"]]
    spectrum[np.isnan(frames).any(-1)] = complex(np.nan, np.nan)
    y = np.full(out_shapes(s)["y"], UNTOUCHED)
    for b, m in itertools.product(range(s["B"]), range(s["M"])):
        at = b * s["y_bs"] + m * s["y_ms"] + np.arange(s["bins"]) * s["y_ks"]
        if s["re_at"] >= 0:
            y[at + s["re_at"]] = spectrum[b, m].real
        if s["im_at"] >= 0:
            y[at + s["im_at"]] = spectrum[b, m].imag * s["sign"]
    return {"y": y}


def inverse_reference(case: Case) -> dict[str, Array]:
    """The sum over bins as it is written, in float64."""
    s, x = case.sizes, case.raw["x"].astype(np.float64)
    y = np.full(inverse_out_shapes(s)["y"], UNTOUCHED)
    turns = np.outer(np.arange(s["bins"]), np.arange(s["K"])) % s["N"]
    waves = np.exp(2j * np.pi * turns / s["N"]) * case.raw["scale"][:, None]
    edge = (np.arange(s["bins"]) * 2) % s["N"] == 0
    waves[~edge] *= 2  # they stand for their mirror images too
    for b in range(s["B"]):
        total = np.zeros(s["L"])
        for m in range(s["M"]):
            at = b * s["x_bs"] + m * s["x_ms"] + np.arange(s["bins"]) * s["x_ks"]
            imaginary = np.where(edge, 0.0, s["sign"] * x[at + s["im_at"]])
            parts = x[at + s["re_at"]] + 1j * imaginary
            frame = (parts[:, None] * waves / 2).real.sum(0) * case.raw["w"]
            place = m * s["y_ms"] - s["pad"] + np.arange(s["K"])
            inside = (place >= 0) & (place < s["L"])
            total[place[inside]] += frame[inside]
        y[b * s["y_bs"] : b * s["y_bs"] + s["L"]] = total
    return {"y": y}


# Points, window, bins: every radix, columns that fill no vector, fewer bins than there are.
_FRAMES = (
    *((4, 4, 3), (8, 8, 5), (12, 12, 7), (16, 11, 9), (20, 20, 11), (30, 30, 16), (32, 32, 17)),
    *((36, 36, 10), (48, 40, 25), (60, 60, 31), (100, 99, 51), (128, 128, 64), (160, 160, 81)),
    *((256, 256, 129), (320, 320, 161), (400, 400, 201), (480, 480, 241), (512, 400, 257)),
)


def _layouts(bins: int, rows: int) -> Iterator[dict[str, int]]:
    """Parts one behind the other, in turn, as channels of a convolution, and alone."""
    yield {"bs": 2 * bins * rows, "ms": 2 * bins, "ks": 1, "re_at": 0, "im_at": bins}
    yield {"bs": 2 * bins * rows, "ms": 2 * bins, "ks": 2, "re_at": 0, "im_at": 1}
    yield {"bs": 2 * bins * rows, "ms": 1, "ks": rows, "re_at": bins * rows, "im_at": 0}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """All layouts, frames that overlap and reach beyond the signal, one part alone."""
    for number, (points, window, bins) in enumerate(_FRAMES):
        for way, layout in enumerate(_layouts(bins, rows := 1 + number % 3)):
            hop, pad = max(1, window // (1 + way)), (number + way) % 4
            batch, length = 1 + (number + way) % 2, max(1, (rows - 1) * hop + window - 2 * pad)
            sizes = {
                **{"B": batch, "M": rows, "N": points, "R": split(points) or 0, "K": window},
                **{"bins": bins, "sign": (1, -1)[way % 2], "L": length, "pad": pad},
                **{"x_bs": length + 3, "x_ms": hop},
                **{f"y_{n}": layout[n] for n in ("bs", "ms", "ks")},
                **{n: layout[n] for n in ("re_at", "im_at")},
            }
            if number % 4 == 3 and way == 2:
                sizes |= {"re_at": -1} if number % 8 == 3 else {"im_at": -1}
            x = rng.standard_normal(_extent((batch, length + 3)) + length).astype(np.float32)
            w = rng.standard_normal(window).astype(np.float32)
            raw = {"x": x, "w": w}
            yield Case(sizes, {**raw, "t": table(points)}, raw)


def inverse_cases(rng: np.random.Generator) -> Iterator[Case]:
    """The same the other way, frames apart and added."""
    for number, (points, window, bins) in enumerate(_FRAMES):
        for way, layout in enumerate(_layouts(bins, rows := 1 + number % 3)):
            add = int(way > 0)
            hop = window // 2 if add and window > 1 else window
            pad = number % 3 if add else 0
            batch, length = 1 + (number + way) % 2, max(1, (rows - 1) * hop + window - 2 * pad)
            sizes = {
                **{"B": batch, "M": rows, "N": points, "R": split(points) or 0, "K": window},
                **{"bins": bins, "sign": (1, -1)[way % 2], "L": length, "pad": pad},
                **{f"x_{n}": layout[n] for n in ("bs", "ms", "ks")},
                **{n: layout[n] for n in ("re_at", "im_at")},
                **{"y_bs": length, "y_ms": hop, "add": add},
            }
            steps = ((batch, layout["bs"]), (rows, layout["ms"]), (bins, layout["ks"]))
            count = max(layout["re_at"], layout["im_at"]) + _extent(*steps)
            raw = {
                "x": rng.standard_normal(count).astype(np.float32),
                "scale": rng.uniform(0.5, 1.0, bins).astype(np.float32),
                "w": rng.standard_normal(window).astype(np.float32),
            }
            yield Case(sizes, {**raw, "t": table(points)}, raw)


# A sum of N products, N up to 512, in log2(N) additions: relative to the largest bin, of size
# sqrt(N), some 2^-24 log2(N); a factor of ten is left.
TOLERANCE = 5e-6

KERNELS = (
    Kernel(
        name="rfft_f32",
        source="fourier.c",
        sizes=SIZES,
        args=(
            *(Arg("x", Role.IN), Arg("w", Role.CONST), Arg("t", Role.CONST)),
            *(Arg("y", Role.OUT), Arg("scratch", Role.SCRATCH)),
        ),
        scratch=scratch,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        tolerance=TOLERANCE,
    ),
    Kernel(
        name="irfft_f32",
        source="fourier.c",
        sizes=INVERSE_SIZES,
        args=(
            *(Arg("x", Role.IN), Arg("scale", Role.CONST), Arg("w", Role.CONST)),
            *(Arg("t", Role.CONST), Arg("y", Role.OUT), Arg("scratch", Role.SCRATCH)),
        ),
        scratch=scratch,
        out_shapes=inverse_out_shapes,
        reference=inverse_reference,
        cases=inverse_cases,
        tolerance=TOLERANCE,
    ),
)
