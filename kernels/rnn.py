"""RNN as ONNX defines it; c/rnn.c.

Packed weights of a chain, in panels of up to 16 units: bias, input weights, recurrent weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._family import Array, Case, Kernel, Sizes


def pack(w: Array, r: Array, b: Array | None = None) -> Array:
    """Pack ONNX tensors: w [chains, H, I], r [chains, H, H], b [chains, 2H] or None."""
    hidden = r.shape[2]
    b = np.zeros((len(w), 2 * hidden)) if b is None else b.astype(np.float64)
    heads = b.reshape(-1, 2, hidden).sum(axis=1)[:, None]
    return rec.join([rec.pack_chain(heads[i], w[i][None], r[i][None]) for i in range(len(w))])


def unpack(packed: Array, chains: int, inputs: int, hidden: int) -> tuple[Array, Array, Array]:
    """Return w, r and b (both parts of a bias summed in the first)."""
    size = rec.chain_floats(1, 1, inputs, hidden)
    found = [rec.unpack_chain(packed[i * size :], 1, 1, inputs, hidden) for i in range(chains)]
    zeros = np.zeros(hidden, np.float32)
    return (
        np.stack([w[0] for _, w, _ in found]),
        np.stack([r[0] for _, _, r in found]),
        np.stack([np.concatenate([head[0], zeros]) for head, _, _ in found]),
    )


def scratch(sizes: Sizes) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=1, states=2)


def reference(case: Case) -> dict[str, Array]:
    """H = f(W x + R h + b) in float64."""

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        w, r, b = (case.raw[n][chain].astype(np.float64) for n in ("w", "r", "b"))
        return (rec.gate(case, 0, "Tanh", x @ w.T + h @ r.T + b.reshape(2, -1).sum(axis=0)),)

    return rec.run(case, ["h0"], step)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every shared shape, and every activation."""
    for shape in rec.shapes():
        yield _case(shape, rng)
    for name in rec.ACTIVATIONS:
        shape = rec.Shape(T=3, B=2, I=4, H=11, activations=(name,), pairs=((0.6, 0.8),))
        yield _case(shape, rng)


def _case(shape: rec.Shape, rng: np.random.Generator) -> Case:
    case = rec.fill(shape, rng, ["h0"])
    chains, scale = shape.groups * shape.directions, 1 / np.sqrt(shape.H)
    dims = {"w": (shape.H, shape.I), "r": (shape.H, shape.H), "b": (2 * shape.H,)}
    raw = {n: rng.uniform(-scale, scale, (chains, *d)).astype(np.float32) for n, d in dims.items()}
    packed = pack(raw["w"], raw["r"], raw["b"])
    return dataclasses.replace(case, arrays=case.arrays | {"w": packed}, raw=case.raw | raw)


KERNELS = (
    Kernel(
        name="rnn_f32",
        source="rnn.c",
        sizes=(
            *("T", "B", "I", "H", "groups", "directions", "reverse", "acts", "clip"),
            *rec.STRIDES,
        ),
        args=rec.args(cell=False),
        scratch=scratch,
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n"]),
        reference=reference,
        cases=cases,
        # As for GRU; nothing damps the state's error here, and 130 steps of it add up.
        tolerance=5e-6,
    ),
)
