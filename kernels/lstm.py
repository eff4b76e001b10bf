"""LSTM as ONNX defines it, with peepholes and coupled gates; c/lstm.c.

Packed weights of a chain, in panels of up to 16 units: biases of i, o, f, c (with peepholes also
those of i, o, f), then the input weights and the recurrent weights in the order i, o, f, c.
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
    w: Array, r: Array, b: Array | None = None, p: Array | None = None, form: Format = F32
) -> Array:
    """Pack ONNX tensors for the `w` argument of a dense kernel.

    Args:
        w: Input weights [chains, 4H, I], gates i, o, f, c.
        r: Recurrent weights [chains, 4H, H].
        b: Biases [chains, 8H], input then recurrent, or None.
        p: Peepholes [chains, 3H] of i, o, f, or None.
        form: How w and r are stored.
    """
    return rec.pack(_chains(w, r, b, p), form)


def pack_blocks(w: Array, r: Array, b: Array | None, p: Array | None, form: Format) -> Blocks:
    """The same for a block-sparse kernel: `counts`, `index`, `w`, and the size `blocks`."""
    return rec.pack_blocks(_chains(w, r, b, p), form)


def _chains(w: Array, r: Array, b: Array | None, p: Array | None) -> list[rec.Chain]:
    hidden = r.shape[2]
    chains = []
    for i in range(len(w)):
        head = np.zeros((4, hidden))
        if b is not None:
            head = b[i].astype(np.float64).reshape(2, 4, hidden).sum(axis=0)
        if p is not None:
            head = np.concatenate([head, p[i].reshape(3, hidden)])
        gates = (w[i].reshape(4, hidden, -1), r[i].reshape(4, hidden, hidden))
        chains.append(rec.Chain(head, *gates))
    return chains


def unpack(
    packed: Array | Blocks,
    chains: int,
    inputs: int,
    hidden: int,
    form: Format = F32,
    *,
    peepholes: bool,
) -> tuple[Array, Array, Array, Array]:
    """Return w, r, b (both parts of a bias summed in the first) and p (empty without peepholes)."""
    rows = 7 if peepholes else 4
    found = [rec.unpack(packed, i, rows, 4, inputs, hidden, form) for i in range(chains)]
    zeros = np.zeros(4 * hidden, np.float32)
    return (
        np.stack([c.w.reshape(4 * hidden, inputs) for c in found]),
        np.stack([c.r.reshape(4 * hidden, hidden) for c in found]),
        np.stack([np.concatenate([c.head[:4].reshape(-1), zeros]) for c in found]),
        np.stack([c.head[4:].reshape(-1) for c in found]),
    )


def scratch(sizes: Sizes, form: Format = F32) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=4, states=3, form=form)


def reference(case: Case, form: Format = F32) -> dict[str, Array]:
    """The equations of ONNX in float64."""
    of_x, of_h = (rec.gates_of(case, name, 4, form) for name in ("w", "r"))

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        b = case.raw["b"][chain].astype(np.float64).reshape(2, 4, -1).sum(axis=0)
        gates = zip(of_x[chain], of_h[chain], b, strict=True)
        i, o, f, g = (wx(x) + rh(h) + bias for wx, rh, bias in gates)
        p_i, p_o, p_f = np.split(case.raw["p"][chain].astype(np.float64), 3)
        i = rec.gate(case, 0, "Sigmoid", i + p_i * c)
        f = 1 - i if case.sizes["couple"] else rec.gate(case, 0, "Sigmoid", f + p_f * c)
        c = f * c + i * rec.gate(case, 1, "Tanh", g)
        o = rec.gate(case, 0, "Sigmoid", o + p_o * c)
        return o * rec.gate(case, 2, "Tanh", c), c

    return rec.run(case, ["h0", "c0"], step)


def cases(rng: np.random.Generator, form: Format = F32) -> Iterator[Case]:
    """Every shared shape, some with peepholes or coupled gates, and other activations."""
    odd = rec.Shape(
        *(3, 2, 5, 19),
        activations=("HardSigmoid", "ScaledTanh", "Elu"),
        pairs=((0.2, 0.5), (1.7, 0.6), (0.7, 0)),
    )
    shapes = rec.shapes() if form == F32 else rec.few_shapes()
    for n, shape in enumerate((*shapes, odd)):
        yield _case(shape, rng, form, peepholes=n % 3 == 1, couple=n % 5 == 2)


def _case(
    shape: rec.Shape, rng: np.random.Generator, form: Format, *, peepholes: bool, couple: bool
) -> Case:
    flags = (("peepholes", int(peepholes)), ("couple", int(couple)))
    case = rec.fill(dataclasses.replace(shape, flags=flags), rng, ["h0", "c0"])
    hidden = shape.H
    dims = {"w": (4 * hidden, shape.I), "r": (4 * hidden, hidden), "b": (8 * hidden,)}
    dims["p"] = (3 * hidden,)
    raw = rec.draw(rng, dims, shape, form)
    if not peepholes:
        raw["p"][:] = 0
    chains = _chains(raw["w"], raw["r"], raw["b"], raw["p"] if peepholes else None)
    return rec.with_weights(case, raw, chains, form)


def _kernel(form: Format) -> Kernel:
    return Kernel(
        name=f"lstm_{form.name}",
        source="lstm.c",
        sizes=rec.sizes(("peepholes", "couple"), form),
        args=rec.args(form, cell=True),
        scratch=functools.partial(scratch, form=form),
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n", "c_n"]),
        reference=functools.partial(reference, form=form),
        cases=functools.partial(cases, form=form),
        # As for GRU; c may grow with T, and its error with it, hence relative to the largest value.
        tolerance=3e-6,
        sharing=_sharing.recurrent(4, rec.STEPS, lists=form.width > 0, width=form.width),
    )


KERNELS = tuple(_kernel(form) for form in _formats.ALL)
