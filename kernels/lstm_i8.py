"""LSTM with int8 weights, inputs and states, with the same bits everywhere; c/lstm_i8.c.

The numbers are those of the function QuantizedLSTM; docs/kernels-int8.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels import _recurrent_i8 as rec
from edgeseq.kernels._family import Array, Case


def pack(weights: q.Weights, b: Array | None = None, *, layout: str = "") -> q.Packed:
    """Pack the weights, gates i, o, f, c, and ONNX's biases [chains, 8H], or None.

    Args:
        weights: The chains' weights and scales.
        b: Input biases, then recurrent ones.
        layout: "", "b16x4" or "b8x4".
    """
    return q.pack_chains(weights, merged(weights, b), 4, layout)


def merged(weights: q.Weights, b: Array | None) -> Array:
    """Biases [chains, 4, H]."""
    hidden = weights.r.shape[2]
    b = np.zeros((len(weights.w), 8 * hidden), np.float32) if b is None else b
    halves = b.astype(np.float32).reshape(-1, 2, 4, hidden)
    return np.asarray(halves[:, 0] + halves[:, 1])


def unpack(
    packed: q.Packed, chains: int, inputs: int, hidden: int, layout: str = ""
) -> tuple[Array, Array]:
    """Return the int8 weights: w [chains, 4H, I] and r [chains, 4H, H]."""
    return q.unpack_chains(packed, chains, 4, inputs, hidden, layout)


def cell(products: rec.Products, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    """One step, in float32, every operation rounded on its own."""
    h, c = states
    w, r = np.split(products.case.raw["b"][products.chain], 2)
    i, o, f, g = np.split((products.input(x) + products.state(h)) + (w + r), 4, axis=1)
    i, o, f = exact.sigmoid(i), exact.sigmoid(o), exact.sigmoid(f)
    c = i * exact.tanh(g) + exact.flush(f * c)
    return o * exact.tanh(c), c


def cases(rng: np.random.Generator, layout: str) -> Iterator[Case]:
    """Every shared shape."""
    for shape, numbers in rec.shapes():
        case, weights, b = rec.draw(shape, numbers, rng, 4, ["h0", "c0"])
        yield rec.finish(case, pack(weights, b, layout=layout))


KERNELS = rec.kernels("lstm", gates=4, flags=(), states=("h0", "c0"), cell=cell, cases=cases)
