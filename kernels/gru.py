"""GRU as ONNX defines it, with linear_before_reset 0 or 1; c/gru.c.

Packed weights of a chain, in panels of up to 16 units: bias of n (input part), of z, of r, of n
(recurrent part); input weights in the order n, z, r; recurrent weights in the order z, r, n.
Stored in every format of kernels/_formats.py.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _formats, _sharing
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._blocks import Blocks
from edgeseq.kernels._family import Array, Case, Kernel, Sizes
from edgeseq.kernels._formats import F32, Format


def pack(
    w: Array, r: Array, b: Array | None = None, *, reset_first: bool, form: Format = F32
) -> Array:
    """Pack ONNX tensors for the `w` argument of a dense kernel.

    Args:
        w: Input weights [chains, 3H, I], gates z, r, h.
        r: Recurrent weights [chains, 3H, H].
        b: Biases [chains, 6H], input then recurrent, or None.
        reset_first: linear_before_reset = 0.
        form: How w and r are stored.
    """
    return rec.pack(_chains(w, r, b, reset_first), form)


def pack_blocks(
    w: Array, r: Array, b: Array | None = None, *, reset_first: bool, form: Format
) -> Blocks:
    """The same for a block-sparse kernel: `counts`, `index`, `w`, and the size `blocks`."""
    return rec.pack_blocks(_chains(w, r, b, reset_first), form)


def _chains(w: Array, r: Array, b: Array | None, reset_first: bool) -> list[rec.Chain]:
    b = np.zeros((len(w), 6 * r.shape[2]), np.float32) if b is None else b
    return [_chain(*chain, reset_first) for chain in zip(w, r, b, strict=True)]


def _chain(w: Array, r: Array, b: Array, reset_first: bool) -> rec.Chain:
    hidden = r.shape[1]
    wz, wr, wn, rz, rr, rn = b.astype(np.float64).reshape(6, hidden)
    if reset_first:
        head = np.stack([wn + rn, wz + rz, wr + rr, np.zeros(hidden)])
    else:
        head = np.stack([wn, wz + rz, wr + rr, rn])
    z_r_n = w.reshape(3, hidden, -1)
    return rec.Chain(head, z_r_n[[2, 0, 1]], r.reshape(3, hidden, hidden))


def unpack(
    packed: Array | Blocks, chains: int, inputs: int, hidden: int, form: Format = F32
) -> tuple[Array, Array, Array]:
    """Return w, r and b; in b the recurrent part holds only what could not be merged."""
    ws, rs, bs = [], [], []
    for i in range(chains):
        one = rec.unpack(packed, i, 4, 3, inputs, hidden, form)
        zeros = np.zeros(2 * hidden, np.float32)
        ws.append(one.w[[1, 2, 0]].reshape(3 * hidden, inputs))
        rs.append(one.r.reshape(3 * hidden, hidden))
        bs.append(np.concatenate([one.head[1], one.head[2], one.head[0], zeros, one.head[3]]))
    return np.stack(ws), np.stack(rs), np.stack(bs)


def scratch(sizes: Sizes, form: Format = F32) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=3, states=2, form=form)


def reference(case: Case, form: Format = F32) -> dict[str, Array]:
    """The equations of ONNX in float64."""
    of_x, of_h = (rec.gates_of(case, name, 3, form) for name in ("w", "r"))

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        (wz, wr, wn), (rz, rr, rn) = of_x[chain], of_h[chain]
        bz, br, bn, cz, cr, cn = np.split(case.raw["b"][chain].astype(np.float64), 6)
        z = rec.gate(case, 0, "Sigmoid", wz(x) + rz(h) + bz + cz)
        reset = rec.gate(case, 0, "Sigmoid", wr(x) + rr(h) + br + cr)
        inner = rn(reset * h) + cn if case.sizes["reset_first"] else reset * (rn(h) + cn)
        n = rec.gate(case, 1, "Tanh", wn(x) + bn + inner)
        return ((1 - z) * n + z * h,)

    return rec.run(case, ["h0"], step)


def cases(rng: np.random.Generator, form: Format = F32) -> Iterator[Case]:
    """Every shared shape with both orders of the reset gate, and other activations."""
    odd = rec.Shape(
        T=3, B=2, I=5, H=19, activations=("HardSigmoid", "Softsign"), pairs=((0.2, 0.5), (0, 0))
    )
    for shape in (*(rec.shapes() if form == F32 else rec.few_shapes()), odd):
        for reset_first in (0, 1):
            flagged = dataclasses.replace(shape, flags=(("reset_first", reset_first),))
            yield _case(flagged, rng, form, bias=shape.H != 8)


def _case(shape: rec.Shape, rng: np.random.Generator, form: Format, *, bias: bool) -> Case:
    case = rec.fill(shape, rng, ["h0"])
    dims = {"w": (3 * shape.H, shape.I), "r": (3 * shape.H, shape.H), "b": (6 * shape.H,)}
    raw = rec.draw(rng, dims, shape, form)
    if not bias:
        raw["b"][:] = 0
    first, b = bool(case.sizes["reset_first"]), raw["b"] if bias else None
    return rec.with_weights(case, raw, _chains(raw["w"], raw["r"], b, first), form)


def _kernel(form: Format) -> Kernel:
    return Kernel(
        name=f"gru_{form.name}",
        source="gru.c",
        sizes=rec.sizes(("reset_first",), form),
        args=rec.args(form, cell=False),
        scratch=functools.partial(scratch, form=form),
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n"]),
        reference=functools.partial(reference, form=form),
        cases=functools.partial(cases, form=form),
        # Float sums of up to I + H = 192 terms of size one, about 1e-7 each in the mean, through
        # activations of slope one; the state contracts, so that steps do not add up.
        tolerance=2e-6,
        sharing=_sharing.recurrent(3, rec.STEPS, lists=form.width > 0, width=form.width),
    )


KERNELS = tuple(_kernel(form) for form in _formats.ALL)
