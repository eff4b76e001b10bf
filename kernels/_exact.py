"""sigmoid, tanh, exp and quantization in float32 that have the same bits everywhere.

Every operation below is one of IEEE's in float32, rounded to nearest even, in the order written: no
fused multiply-add, no reassociation. c/exact.h computes the same on every instruction set, and the
functions of the `edgeseq` domain spell it in ONNX (Mul, Add, Sub, Div, Min, Max, Abs, Round, Cast,
Gather).

`exp(x)`, for -87 <= x <= 87:

    n = round(x * LOG2E)                    nearest integer, ties to even; |n| <= 126
    r = (x - n * LN2_HIGH) + n * LN2_LOW    both products rounded, the first of them exact
    p = ((((E5 * r + E4) * r + E3) * r + E2) * r + E1)
    e = (((p * r) * r) + r) + 1
    exp = e * POWERS[n + 126]               2^n from a table, or from the bits of a float

`sigmoid(x) = 1 / (1 + exp(-min(max(x, -87), 87)))`: 2 ulp, in [1.6e-38, 1].

`tanh(x)`: x is clipped to +-9.05 and u = x * x, then

    p = (((P4 * u + P3) * u + P2) * u + P1) * u + 1
    q = (((Q4 * u + Q3) * u + Q2) * u + Q1) * u + 1
    tanh = (x * p) / max(q, |x| * p)        so that rounding does not carry it beyond 1; 5 ulp

Min and Max keep a NaN, and so does everything after them; the index of the table is clipped, since
a NaN has no integer. The bounds in ulp are swept over all binades in tests/kernels/test_exact.py.
"""

from __future__ import annotations

import numpy as np
from edgeseq.kernels._family import Array

F = np.float32

EXP_LIMIT = F(87.0)
LOG2E = F(1.44269504)
LN2_HIGH = F(0.693359375)  # few enough bits for an exact product with n
LN2_LOW = F(2.12194440e-4)  # LN2_HIGH - ln 2
EXP = (F(0.0013814541), F(0.0083687454), F(0.041668389), F(0.16666521), F(0.49999994))  # E5 .. E1
POWER_LIMIT = 126
POWERS = np.exp2(np.arange(-POWER_LIMIT, POWER_LIMIT + 1)).astype(F)

TANH_LIMIT = F(9.05)
# From the highest power down; a minimax fit of relative error 2.2e-8, nothing cancels.
TANH_P = (F(1.32658442e-8), F(2.05451036e-5), F(0.00349170269), F(0.133777543), F(1.0))
TANH_Q = (F(7.74024724e-7), F(3.27927932e-4), F(0.0258622014), F(0.46711069), F(1.0))

# A carried product is rounded to multiples of 2^-123: denormals cost a hundred cycles each.
FLUSH = F(2.0**-100)

LEVELS = 254  # quantized activations lie in 0..254: two of them times weights fit sixteen bits
MIDDLE = 127  # the zero point of a dynamic scale and of every state
SMALLEST = F(2.0**-100)  # a dynamic scale never divides by less than SMALLEST / 127


def exp(x: Array) -> Array:
    """e^x for |x| <= 87; 2 ulp."""
    n = np.rint(x * LOG2E)
    r = (x - n * LN2_HIGH) + n * LN2_LOW
    p = _horner(EXP, r)
    e = ((p * r) * r + r) + F(1)
    at = np.where(np.isnan(n), 0, np.clip(n, -POWER_LIMIT, POWER_LIMIT)).astype(np.int32)
    return np.asarray(e * POWERS[at + POWER_LIMIT])


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    clipped = np.minimum(np.maximum(x, -EXP_LIMIT), EXP_LIMIT)
    return np.asarray(F(1) / (F(1) + exp(-clipped)))


def tanh(x: Array) -> Array:
    """The hyperbolic tangent, in [-1, 1]."""
    x = np.minimum(np.maximum(x, -TANH_LIMIT), TANH_LIMIT)
    u = x * x
    p, q = _horner(TANH_P, u), _horner(TANH_Q, u)
    return np.asarray((x * p) / np.maximum(q, np.abs(x) * p))


def _horner(coefficients: tuple[np.float32, ...], x: Array) -> Array:
    value = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = value * x + c
    return value


def flush(x: Array) -> Array:
    """Round to multiples of 2^-123 what is below 2^-76."""
    return np.asarray((x + FLUSH) - FLUSH)


def dynamic_scale(v: Array) -> Array:
    """The scale of each row of `v`, with its last axis kept: max(max|v|, 2^-100) / 127.

    A row of zeros has only zero products, whatever its scale. A NaN or an infinity in a row makes
    the scale a NaN or an infinity, and so every product of the row a NaN (see `quantize`).
    """
    largest = np.max(np.abs(v), axis=-1, keepdims=True, initial=SMALLEST)
    return np.asarray(largest / F(127))


def quantize(
    v: Array, scale: Array | np.float32, zero_point: int = MIDDLE, top: int = LEVELS
) -> Array:
    """clip(round(v / scale) + zero_point, 0, top) as uint8; a NaN becomes the zero point."""
    t = np.rint(v / scale)
    t = np.where(np.isnan(t), F(0), t)
    return np.clip(t + F(zero_point), F(0), F(top)).astype(np.uint8)


def product(u: Array, zero_point: int, w: Array) -> Array:
    """Exact sums of w[N, K] (u[.., K] - zero_point) as float32 [.., N].

    The sums are below 2^31 for fewer than 66572 inputs; float64 products of integers are exact, and
    faster in numpy than integer ones.
    """
    sums = (u.astype(np.float64) - zero_point) @ w.astype(np.float64).T
    return np.asarray(sums.astype(np.int32).astype(F))
