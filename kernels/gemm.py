"""y = act(bias + x w) with constant w; c/gemm.c.

Packed: panels of 32 outputs, the last one narrower but a multiple of 4, each the biases and then,
for every input, the weights of the panel's outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._recurrent import OVERREAD, apply, round_up

PANEL = 32

# Activations without parameters; Silu has no ONNX name in the recurrent operators.
ACTIVATIONS = {"": 0, "Relu": 1, "Sigmoid": 2, "Tanh": 3, "Silu": 4}


def pack(w: Array, bias: Array | None = None) -> Array:
    """Pack w [K, N] (as MatMul takes it) and bias [N] for the `w` argument."""
    inputs, outputs = w.shape
    rows = np.zeros((1 + inputs, round_up(outputs, 4)), np.float32)
    rows[1:, :outputs] = w
    if bias is not None:
        rows[0, :outputs] = bias
    panels = [rows[:, u : u + PANEL].reshape(-1) for u in range(0, rows.shape[1], PANEL)]
    return np.concatenate([*panels, np.zeros(OVERREAD, np.float32)])


def unpack(packed: Array, inputs: int, outputs: int) -> tuple[Array, Array]:
    """Return w [K, N] and bias [N]."""
    padded = round_up(outputs, 4)
    panels = []
    for u in range(0, padded, PANEL):
        width = min(PANEL, padded - u)
        start = u * (1 + inputs)
        panels.append(packed[start : start + width * (1 + inputs)].reshape(1 + inputs, width))
    rows = np.concatenate([np.zeros((1 + inputs, 0), np.float32), *panels], axis=1)[:, :outputs]
    return rows[1:], rows[0]


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y as flat memory: M rows, ldy apart."""
    rows, outputs = sizes["M"], sizes["N"]
    return {"y": ((rows - 1) * sizes["ldy"] + outputs if rows and outputs else 0,)}


def reference(case: Case) -> dict[str, Array]:
    """The product in float64, laid out by ldy."""
    s = case.sizes
    x, w, bias = (case.raw[n].astype(np.float64) for n in ("x", "w", "bias"))
    v = x @ w + bias
    dense = v / (1 + np.exp(-v)) if s["act"] == ACTIVATIONS["Silu"] else v
    if s["act"] in (1, 2, 3):
        dense = apply(s["act"], 0, v, 0, 0)
    y = np.full(s["M"] * s["ldy"], UNTOUCHED)
    y.reshape(s["M"], s["ldy"])[:, : s["N"]] = dense
    return {"y": y[: out_shapes(s)["y"][0]]}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Rows and outputs below, at and above each tile; rows further apart than they are long."""
    for rows in (1, 2, 3, 4, 5, 33):
        for outputs in (1, 3, 4, 8, 12, 15, 16, 17, 31, 32, 33, 61):
            yield _case(rng, rows, outputs, inputs=int(rng.integers(1, 9)))
    for inputs in (0, 1, 2, 3, 4, 5, 16, 33, 257):
        yield _case(rng, 1, 64, inputs)
        yield _case(rng, 7, 20, inputs, bias=False)
    for act in ACTIVATIONS.values():
        yield _case(rng, 3, 37, 10, act=act, gap=3)
    yield _case(rng, 0, 8, 8)


def _case(
    rng: np.random.Generator,
    rows: int,
    outputs: int,
    inputs: int,
    *,
    act: int = 0,
    gap: int = 0,
    bias: bool = True,
) -> Case:
    x = rng.standard_normal((rows, inputs)).astype(np.float32)
    w = (rng.standard_normal((inputs, outputs)) / np.sqrt(max(inputs, 1))).astype(np.float32)
    b = rng.standard_normal(outputs).astype(np.float32) * np.float32(bias)
    memory = np.full((rows, inputs + gap), np.nan, np.float32)
    memory[:, :inputs] = x
    sizes = {"M": rows, "N": outputs, "K": inputs, "ldx": inputs + gap, "ldy": outputs + gap}
    flat = memory.reshape(-1)
    return Case(
        sizes | {"act": act},
        {"x": flat[: max(len(flat) - gap, 0)], "w": pack(w, b if bias else None)},
        {"x": x, "w": w, "bias": b},
    )


KERNELS = (
    Kernel(
        name="gemm_f32",
        source="gemm.c",
        sizes=("M", "N", "K", "ldx", "ldy", "act"),
        args=(Arg("x", Role.IN), Arg("w", Role.CONST), Arg("y", Role.OUT)),
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        # Sums of up to 257 products scaled to variance one: the rounding of partial sums of size
        # up to 4 grows as the root of their number, 16 * 2^-24 * 4, halved by several accumulators.
        tolerance=2e-6,
    ),
)
