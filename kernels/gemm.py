"""y = act(bias + x w) with constant w; c/gemm.c.

Packed: panels of 32 outputs, the last one narrower but a multiple of 4, each the biases and then,
for every input, the weights of the panel's outputs, in a dense format of kernels/_formats.py.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _sharing
from edgeseq.kernels._blocks import OVERREAD
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._formats import (
    DENSE,
    F32,
    Format,
    from_words,
    rounded,
    to_words,
    word_rows,
)
from edgeseq.kernels._recurrent import apply, linear, round_up

PANEL = 32

# Sums of up to 257 products scaled to variance one: the rounding of partial sums of size up to 4
# grows as the root of their number, 16 * 2^-24 * 4, halved by several accumulators.
TOLERANCE = 2e-6

# Activations without parameters; Silu has no ONNX name in the recurrent operators.
ACTIVATIONS = {"": 0, "Relu": 1, "Sigmoid": 2, "Tanh": 3, "Silu": 4}


def pack(w: Array, bias: Array | None = None, form: Format = F32) -> Array:
    """Pack w [K, N] (as MatMul takes it) and bias [N] for the `w` argument."""
    outputs = w.shape[1]
    pad = round_up(outputs, 4) - outputs
    head = np.zeros(outputs + pad, np.float32)
    if bias is not None:
        head[:outputs] = bias
    rows = np.pad(w, ((0, 0), (0, pad)))[:, None]
    parts = []
    for u in range(0, outputs + pad, PANEL):
        panel = to_words(rows[..., u : u + PANEL], form.element)
        parts += [head[u : u + PANEL], panel.reshape(-1)]
    return np.concatenate([*parts, np.zeros(OVERREAD, np.float32)])


def unpack(packed: Array, inputs: int, outputs: int, form: Format = F32) -> tuple[Array, Array]:
    """Return w [K, N] and bias [N]."""
    padded, rows = round_up(outputs, 4), 1 + word_rows(inputs, form.element)
    heads, panels = [np.zeros(0, np.float32)], [np.zeros((inputs, 0), np.float32)]
    for u in range(0, padded, PANEL):
        width = min(PANEL, padded - u)
        panel = packed[u * rows : (u + width) * rows].reshape(rows, 1, width)
        heads.append(panel[0, 0])
        panels.append(from_words(panel[1:], inputs, form.element)[:, 0])
    return np.concatenate(panels, axis=1)[:, :outputs], np.concatenate(heads)[:outputs]


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y as flat memory: M rows, ldy apart."""
    rows, outputs = sizes["M"], sizes["N"]
    return {"y": ((rows - 1) * sizes["ldy"] + outputs if rows and outputs else 0,)}


def reference(case: Case, form: Format = F32) -> dict[str, Array]:
    """The product in float64, laid out by ldy."""
    s = case.sizes
    x, bias = (case.raw[n].astype(np.float64) for n in ("x", "bias"))
    v = linear(case.raw["w"].T, form)(x) + bias
    dense = v / (1 + np.exp(-v)) if s["act"] == ACTIVATIONS["Silu"] else v
    if s["act"] in (1, 2, 3):
        dense = apply(s["act"], 0, v, 0, 0)
    y = np.full(s["M"] * s["ldy"], UNTOUCHED)
    y.reshape(s["M"], s["ldy"])[:, : s["N"]] = dense
    return {"y": y[: out_shapes(s)["y"][0]]}


def cases(rng: np.random.Generator, form: Format = F32) -> Iterator[Case]:
    """Rows and outputs below, at and above each tile; rows further apart than they are long."""
    for shape in shapes(rng):
        case = fill(rng, **shape)
        w = rounded(case.raw["w"], form.element)
        packed = pack(w, case.raw["bias"], form)
        yield dataclasses.replace(case, arrays=case.arrays | {"w": packed}, raw=case.raw | {"w": w})


def shapes(rng: np.random.Generator) -> Iterator[dict[str, int]]:
    """Sizes of test cases, and whether there is a bias."""
    for rows in (1, 2, 3, 4, 5, 33):
        for outputs in (1, 3, 4, 8, 12, 15, 16, 17, 31, 32, 33, 61):
            yield {"rows": rows, "outputs": outputs, "inputs": int(rng.integers(1, 9))}
    for inputs in (0, 1, 2, 3, 4, 5, 16, 33, 257):
        yield {"rows": 1, "outputs": 64, "inputs": inputs}
        yield {"rows": 7, "outputs": 20, "inputs": inputs, "bias": 0}
    for act in ACTIVATIONS.values():
        yield {"rows": 3, "outputs": 37, "inputs": 10, "act": act, "gap": 3}
    yield {"rows": 0, "outputs": 8, "inputs": 8}


def fill(
    rng: np.random.Generator,
    rows: int,
    outputs: int,
    inputs: int,
    *,
    act: int = 0,
    gap: int = 0,
    bias: int = 1,
) -> Case:
    """A case without packed weights."""
    x = rng.standard_normal((rows, inputs)).astype(np.float32)
    w = (rng.standard_normal((inputs, outputs)) / np.sqrt(max(inputs, 1))).astype(np.float32)
    b = rng.standard_normal(outputs).astype(np.float32) * np.float32(bias)
    memory = np.full((rows, inputs + gap), np.nan, np.float32)
    memory[:, :inputs] = x
    sizes = {"M": rows, "N": outputs, "K": inputs, "ldx": inputs + gap, "ldy": outputs + gap}
    flat = memory.reshape(-1)
    arrays = {"x": flat[: max(len(flat) - gap, 0)]}
    return Case(sizes | {"act": act}, arrays, {"x": x, "w": w, "bias": b})


def _kernel(form: Format) -> Kernel:
    return Kernel(
        name=f"gemm_{form.name}",
        source="gemm.c",
        sizes=("M", "N", "K", "ldx", "ldy", "act"),
        args=(Arg("x", Role.IN), Arg("w", Role.CONST), Arg("y", Role.OUT)),
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=functools.partial(reference, form=form),
        cases=functools.partial(cases, form=form),
        tolerance=TOLERANCE,
        sharing=_sharing.linear(32),
    )


KERNELS = tuple(_kernel(form) for form in DENSE)
