"""GRU as ONNX defines it, with linear_before_reset 0 or 1; c/gru.c.

Packed weights of a chain, in panels of up to 16 units: bias of n (input part), of z, of r, of n
(recurrent part); input weights in the order n, z, r; recurrent weights in the order z, r, n.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._family import Array, Case, Kernel, Sizes


def pack(w: Array, r: Array, b: Array | None = None, *, reset_first: bool) -> Array:
    """Pack ONNX tensors for the `w` argument.

    Args:
        w: Input weights [chains, 3H, I], gates z, r, h.
        r: Recurrent weights [chains, 3H, H].
        b: Biases [chains, 6H], input then recurrent, or None.
        reset_first: linear_before_reset = 0.
    """
    hidden = r.shape[2]
    b = np.zeros((len(w), 6 * hidden), np.float32) if b is None else b
    return rec.join([_pack_one(*chain, reset_first) for chain in zip(w, r, b, strict=True)])


def _pack_one(w: Array, r: Array, b: Array, reset_first: bool) -> Array:
    hidden = r.shape[1]
    wz, wr, wn, rz, rr, rn = b.astype(np.float64).reshape(6, hidden)
    if reset_first:
        head = np.stack([wn + rn, wz + rz, wr + rr, np.zeros(hidden)])
    else:
        head = np.stack([wn, wz + rz, wr + rr, rn])
    z_r_n = w.reshape(3, hidden, -1)
    return rec.pack_chain(head, z_r_n[[2, 0, 1]], r.reshape(3, hidden, hidden))


def unpack(packed: Array, chains: int, inputs: int, hidden: int) -> tuple[Array, Array, Array]:
    """Return w, r and b; in b the recurrent part holds only what could not be merged."""
    size = rec.chain_floats(4, 3, inputs, hidden)
    ws, rs, bs = [], [], []
    for i in range(chains):
        head, w, r = rec.unpack_chain(packed[i * size :], 4, 3, inputs, hidden)
        zeros = np.zeros(2 * hidden, np.float32)
        ws.append(w[[1, 2, 0]].reshape(3 * hidden, inputs))
        rs.append(r.reshape(3 * hidden, hidden))
        bs.append(np.concatenate([head[1], head[2], head[0], zeros, head[3]]))
    return np.stack(ws), np.stack(rs), np.stack(bs)


def scratch(sizes: Sizes) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=3, states=2)


def reference(case: Case) -> dict[str, Array]:
    """The equations of ONNX in float64."""

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        w, r, b = (case.raw[n][chain].astype(np.float64) for n in ("w", "r", "b"))
        wz, wr, wn = np.split(w, 3)
        rz, rr, rn = np.split(r, 3)
        bz, br, bn, cz, cr, cn = np.split(b, 6)
        z = rec.gate(case, 0, "Sigmoid", x @ wz.T + h @ rz.T + bz + cz)
        reset = rec.gate(case, 0, "Sigmoid", x @ wr.T + h @ rr.T + br + cr)
        inner = (reset * h) @ rn.T + cn if case.sizes["reset_first"] else reset * (h @ rn.T + cn)
        n = rec.gate(case, 1, "Tanh", x @ wn.T + bn + inner)
        return ((1 - z) * n + z * h,)

    return rec.run(case, ["h0"], step)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Every shared shape with both orders of the reset gate, and other activations."""
    odd = rec.Shape(
        T=3, B=2, I=5, H=19, activations=("HardSigmoid", "Softsign"), pairs=((0.2, 0.5), (0, 0))
    )
    for shape in (*rec.shapes(), odd):
        for reset_first in (0, 1):
            flagged = dataclasses.replace(shape, flags=(("reset_first", reset_first),))
            yield _case(flagged, rng, bias=shape.H != 8)


def _case(shape: rec.Shape, rng: np.random.Generator, *, bias: bool) -> Case:
    case = rec.fill(shape, rng, ["h0"])
    chains, scale = shape.groups * shape.directions, 1 / np.sqrt(shape.H)
    dims = {"w": (3 * shape.H, shape.I), "r": (3 * shape.H, shape.H), "b": (6 * shape.H,)}
    raw = {n: rng.uniform(-scale, scale, (chains, *d)).astype(np.float32) for n, d in dims.items()}
    if not bias:
        raw["b"][:] = 0
    first = bool(case.sizes["reset_first"])
    packed = pack(raw["w"], raw["r"], raw["b"] if bias else None, reset_first=first)
    return dataclasses.replace(case, arrays=case.arrays | {"w": packed}, raw=case.raw | raw)


KERNELS = (
    Kernel(
        name="gru_f32",
        source="gru.c",
        sizes=(
            *("T", "B", "I", "H", "groups", "directions", "reverse", "reset_first"),
            *("acts", "clip"),
            *rec.STRIDES,
        ),
        args=rec.args(cell=False),
        scratch=scratch,
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n"]),
        reference=reference,
        cases=cases,
        # Float sums of up to I + H = 192 terms of size one, about 1e-7 each in the mean, through
        # activations of slope one; the state contracts, so that steps do not add up.
        tolerance=2e-6,
    ),
)
