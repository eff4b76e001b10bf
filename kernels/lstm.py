"""LSTM as ONNX defines it, with peepholes and coupled gates; c/lstm.c.

Packed weights of a chain, in panels of up to 16 units: biases of i, o, f, c (with peepholes also
those of i, o, f), then the input weights and the recurrent weights in the order i, o, f, c.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._family import Array, Case, Kernel, Sizes


def pack(w: Array, r: Array, b: Array | None = None, p: Array | None = None) -> Array:
    """Pack ONNX tensors for the `w` argument.

    Args:
        w: Input weights [chains, 4H, I], gates i, o, f, c.
        r: Recurrent weights [chains, 4H, H].
        b: Biases [chains, 8H], input then recurrent, or None.
        p: Peepholes [chains, 3H] of i, o, f, or None.
    """
    hidden = r.shape[2]
    chains = []
    for i in range(len(w)):
        head = np.zeros((4, hidden))
        if b is not None:
            head = b[i].astype(np.float64).reshape(2, 4, hidden).sum(axis=0)
        if p is not None:
            head = np.concatenate([head, p[i].reshape(3, hidden)])
        gates = (w[i].reshape(4, hidden, -1), r[i].reshape(4, hidden, hidden))
        chains.append(rec.pack_chain(head, *gates))
    return rec.join(chains)


def unpack(
    packed: Array, chains: int, inputs: int, hidden: int, *, peepholes: bool
) -> tuple[Array, Array, Array, Array]:
    """Return w, r, b (both parts of a bias summed in the first) and p (empty without peepholes)."""
    rows = 7 if peepholes else 4
    size = rec.chain_floats(rows, 4, inputs, hidden)
    found = [rec.unpack_chain(packed[i * size :], rows, 4, inputs, hidden) for i in range(chains)]
    zeros = np.zeros(4 * hidden, np.float32)
    return (
        np.stack([w.reshape(4 * hidden, inputs) for _, w, _ in found]),
        np.stack([r.reshape(4 * hidden, hidden) for _, _, r in found]),
        np.stack([np.concatenate([head[:4].reshape(-1), zeros]) for head, _, _ in found]),
        np.stack([head[4:].reshape(-1) for head, _, _ in found]),
    )


def scratch(sizes: Sizes) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=4, states=3)


def reference(case: Case) -> dict[str, Array]:
    """The equations of ONNX in float64."""

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        w, r, b, p = (case.raw[n][chain].astype(np.float64) for n in ("w", "r", "b", "p"))
        i, o, f, g = np.split(x @ w.T + h @ r.T + b.reshape(2, -1).sum(axis=0), 4, axis=1)
        p_i, p_o, p_f = np.split(p, 3)
        i = rec.gate(case, 0, "Sigmoid", i + p_i * c)
        f = 1 - i if case.sizes["couple"] else rec.gate(case, 0, "Sigmoid", f + p_f * c)
        c = f * c + i * rec.gate(case, 1, "Tanh", g)
        o = rec.gate(case, 0, "Sigmoid", o + p_o * c)
        return o * rec.gate(case, 2, "Tanh", c), c

    return rec.run(case, ["h0", "c0"], step)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every shared shape, some with peepholes or coupled gates, and other activations."""
    odd = rec.Shape(
        *(3, 2, 5, 19),
        activations=("HardSigmoid", "ScaledTanh", "Elu"),
        pairs=((0.2, 0.5), (1.7, 0.6), (0.7, 0)),
    )
    for n, shape in enumerate((*rec.shapes(), odd)):
        yield _case(shape, rng, peepholes=n % 3 == 1, couple=n % 5 == 2)


def _case(shape: rec.Shape, rng: np.random.Generator, *, peepholes: bool, couple: bool) -> Case:
    flags = (("peepholes", int(peepholes)), ("couple", int(couple)))
    case = rec.fill(dataclasses.replace(shape, flags=flags), rng, ["h0", "c0"])
    hidden, scale = shape.H, 1 / np.sqrt(shape.H)
    dims = {"w": (4 * hidden, shape.I), "r": (4 * hidden, hidden), "b": (8 * hidden,)}
    dims["p"] = (3 * hidden,)
    chains = shape.groups * shape.directions
    raw = {n: rng.uniform(-scale, scale, (chains, *d)).astype(np.float32) for n, d in dims.items()}
    if not peepholes:
        raw["p"][:] = 0
    packed = pack(raw["w"], raw["r"], raw["b"], raw["p"] if peepholes else None)
    return dataclasses.replace(case, arrays=case.arrays | {"w": packed}, raw=case.raw | raw)


KERNELS = (
    Kernel(
        name="lstm_f32",
        source="lstm.c",
        sizes=(
            *("T", "B", "I", "H", "groups", "directions", "reverse", "peepholes", "couple"),
            *("acts", "clip"),
            *rec.STRIDES,
        ),
        args=rec.args(cell=True),
        scratch=scratch,
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n", "c_n"]),
        reference=reference,
        cases=cases,
        # As for GRU; c may grow with T, and its error with it, hence relative to the largest value.
        tolerance=3e-6,
    ),
)
