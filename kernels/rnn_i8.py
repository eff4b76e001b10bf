"""RNN with int8 weights, inputs and states, with the same bits everywhere; c/rnn_i8.c.

The numbers are those of the function QuantizedRNN; docs/kernels-int8.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels import _recurrent_i8 as rec
from edgeseq.kernels._family import Array, Case

ACTIVATIONS = {"Relu": 1, "Tanh": 3}  # the `act` size: ES_RELU and ES_TANH in c/es_math.h


def pack(weights: q.Weights, b: Array | None = None, *, layout: str = "") -> q.Packed:
    """Pack the weights and ONNX's biases [chains, 2H], or None.

    Args:
        weights: The chains' weights and scales.
        b: Input biases, then recurrent ones.
        layout: "", "b16x4" or "b8x4".
    """
    return q.pack_chains(weights, merged(weights, b), 1, layout)


def merged(weights: q.Weights, b: Array | None) -> Array:
    """Biases [chains, 1, H]."""
    hidden = weights.r.shape[2]
    b = np.zeros((len(weights.w), 2 * hidden), np.float32) if b is None else b
    halves = b.astype(np.float32).reshape(-1, 2, 1, hidden)
    return np.asarray(halves[:, 0] + halves[:, 1])


def unpack(
    packed: q.Packed, chains: int, inputs: int, hidden: int, layout: str = ""
) -> tuple[Array, Array]:
    """Return the int8 weights: w [chains, H, I] and r [chains, H, H]."""
    return q.unpack_chains(packed, chains, 1, inputs, hidden, layout)


def cell(products: rec.Products, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    """One step, in float32, every operation rounded on its own."""
    w, r = np.split(products.case.raw["b"][products.chain], 2)
    v = (products.input(x) + products.state(states[0])) + (w + r)
    if products.case.sizes["act"] == ACTIVATIONS["Tanh"]:
        return (exact.tanh(v),)
    return (np.where(v < 0, np.float32(0), v),)


def cases(rng: np.random.Generator, layout: str) -> Iterator[Case]:
    """Every shared shape, every third with ReLU."""
    for i, (shape, numbers) in enumerate(rec.shapes()):
        act = ACTIVATIONS["Relu" if i % 3 == 1 else "Tanh"]
        flagged = dataclasses.replace(shape, flags=(("act", act),))
        case, weights, b = rec.draw(flagged, numbers, rng, 1, ["h0"])
        yield rec.finish(case, pack(weights, b, layout=layout))


KERNELS = rec.kernels("rnn", gates=1, flags=("act",), states=("h0",), cell=cell, cases=cases)
