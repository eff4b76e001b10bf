"""RNN as ONNX defines it; c/rnn.c.

Packed weights of a chain, in panels of up to 16 units: bias, input weights, recurrent weights.
Stored in every format of kernels/_formats.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _formats, _sharing
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._blocks import Blocks
from edgeseq.kernels._family import Array, Case, Kernel, Sizes
from edgeseq.kernels._formats import F32, Format


def pack(w: Array, r: Array, b: Array | None = None, form: Format = F32) -> Array:
    """Pack ONNX tensors: w [chains, H, I], r [chains, H, H], b [chains, 2H] or None."""
    return rec.pack(_chains(w, r, b), form)


def pack_blocks(w: Array, r: Array, b: Array | None, form: Format) -> Blocks:
    """The same for a block-sparse kernel: `counts`, `index`, `w`, and the size `blocks`."""
    return rec.pack_blocks(_chains(w, r, b), form)


def _chains(w: Array, r: Array, b: Array | None) -> list[rec.Chain]:
    hidden = r.shape[2]
    b = np.zeros((len(w), 2 * hidden)) if b is None else b.astype(np.float64)
    heads = b.reshape(-1, 2, hidden).sum(axis=1)[:, None]
    return [rec.Chain(heads[i], w[i][None], r[i][None]) for i in range(len(w))]


def unpack(
    packed: Array | Blocks, chains: int, inputs: int, hidden: int, form: Format = F32
) -> tuple[Array, Array, Array]:
    """Return w, r and b (both parts of a bias summed in the first)."""
    found = [rec.unpack(packed, i, 1, 1, inputs, hidden, form) for i in range(chains)]
    zeros = np.zeros(hidden, np.float32)
    return (
        np.stack([c.w[0] for c in found]),
        np.stack([c.r[0] for c in found]),
        np.stack([np.concatenate([c.head[0], zeros]) for c in found]),
    )


def scratch(sizes: Sizes, form: Format = F32) -> int:
    """Bytes of scratch memory."""
    return rec.scratch(sizes, gates=1, states=2, form=form)


def reference(case: Case, form: Format = F32) -> dict[str, Array]:
    """H = f(W x + R h + b) in float64."""
    of_x, of_h = (rec.gates_of(case, name, 1, form) for name in ("w", "r"))

    def step(chain: int, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        b = case.raw["b"][chain].astype(np.float64).reshape(2, -1).sum(axis=0)
        return (rec.gate(case, 0, "Tanh", of_x[chain][0](x) + of_h[chain][0](h) + b),)

    return rec.run(case, ["h0"], step)


def cases(rng: np.random.Generator, form: Format = F32) -> Iterator[Case]:
    """Every shared shape, and every activation."""
    for shape in rec.shapes() if form == F32 else rec.few_shapes():
        yield _case(shape, rng, form)
    for name in rec.ACTIVATIONS if form == F32 else ():
        shape = rec.Shape(T=3, B=2, I=4, H=11, activations=(name,), pairs=((0.6, 0.8),))
        yield _case(shape, rng, form)


def _case(shape: rec.Shape, rng: np.random.Generator, form: Format) -> Case:
    case = rec.fill(shape, rng, ["h0"])
    dims = {"w": (shape.H, shape.I), "r": (shape.H, shape.H), "b": (2 * shape.H,)}
    raw = rec.draw(rng, dims, shape, form)
    return rec.with_weights(case, raw, _chains(raw["w"], raw["r"], raw["b"]), form)


def _kernel(form: Format) -> Kernel:
    return Kernel(
        name=f"rnn_{form.name}",
        source="rnn.c",
        sizes=rec.sizes((), form),
        args=rec.args(form, cell=False),
        scratch=functools.partial(scratch, form=form),
        out_shapes=lambda sizes: rec.out_shapes(sizes, ["h_n"]),
        reference=functools.partial(reference, form=form),
        cases=functools.partial(cases, form=form),
        # As for GRU; nothing damps the state's error here, and 130 steps of it add up.
        tolerance=5e-6,
        sharing=_sharing.recurrent(1, rec.STEPS, lists=form.width > 0, width=form.width),
    )


KERNELS = tuple(_kernel(form) for form in _formats.ALL)
