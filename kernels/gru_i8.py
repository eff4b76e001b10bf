"""GRU with int8 weights, inputs and states, with the same bits everywhere; c/gru_i8.c.

The numbers are those of the function QuantizedGRU; docs/kernels-int8.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels import _recurrent_i8 as rec
from edgeseq.kernels._family import Array, Case


def pack(
    weights: q.Weights, b: Array | None = None, *, reset_first: bool, layout: str = ""
) -> q.Packed:
    """Pack the weights, gates z, r, h, and ONNX's biases [chains, 6H], or None.

    Args:
        weights: The chains' weights and scales.
        b: Input biases, then recurrent ones.
        reset_first: linear_before_reset = 0.
        layout: "", "b16x4" or "b8x4".
    """
    return q.pack_chains(weights, merged(weights, b, reset_first), 3, layout)


def merged(weights: q.Weights, b: Array | None, reset_first: bool) -> Array:
    """Biases [chains, 4, H]: z, r, n and, unless the reset gate comes first, the recurrent n."""
    hidden = weights.r.shape[2]
    b = np.zeros((len(weights.w), 6 * hidden), np.float32) if b is None else b
    wz, wr, wn, rz, rr, rn = b.astype(np.float32).reshape(-1, 6, hidden).swapaxes(0, 1)
    last = (wn + rn, np.zeros_like(rn)) if reset_first else (wn, rn)
    return np.stack([wz + rz, wr + rr, *last], axis=1)


def unpack(
    packed: q.Packed, chains: int, inputs: int, hidden: int, layout: str = ""
) -> tuple[Array, Array]:
    """Return the int8 weights: w [chains, 3H, I] and r [chains, 3H, H]."""
    return q.unpack_chains(packed, chains, 3, inputs, hidden, layout)


def cell(products: rec.Products, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    """One step, in float32, every operation rounded on its own."""
    (h,) = states
    case, chain = products.case, products.chain
    wz, wr, wn, rz, rr, rn = case.raw["b"][chain].reshape(6, -1)
    hidden = len(wz)
    pz, pr, pn = np.split(products.input(x), 3, axis=1)
    qz, qr, qn = np.split(products.state(h), 3, axis=1)
    z = exact.sigmoid((pz + qz) + (wz + rz))
    r = exact.sigmoid((pr + qr) + (wr + rr))
    if case.sizes["reset_first"]:
        qn = products.state(r * h, slice(2 * hidden, None))
        n = exact.tanh((pn + qn) + (wn + rn))
    else:
        n = exact.tanh((pn + wn) + r * (qn + rn))
    return ((np.float32(1) - z) * n + exact.flush(z * h),)


def cases(rng: np.random.Generator, layout: str) -> Iterator[Case]:
    """Every shared shape with both orders of the reset gate."""
    for shape, numbers in rec.shapes():
        for reset_first in (0, 1):
            flagged = dataclasses.replace(shape, flags=(("reset_first", reset_first),))
            case, weights, b = rec.draw(flagged, numbers, rng, 3, ["h0"])
            packed = pack(weights, b, reset_first=bool(reset_first), layout=layout)
            yield rec.finish(case, packed)


KERNELS = rec.kernels(
    "gru", gates=3, flags=("reset_first",), states=("h0",), cell=cell, cases=cases
)
