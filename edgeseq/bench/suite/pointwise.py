"""Pointwise convolutions: a sparse matrix times all pixels, channels first."""

from __future__ import annotations

import math

import numpy as np

from edgeseq.bench.suite import problem
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.native import Call, find_kernel
from edgeseq.bench.suite.problem import Problem
from edgeseq.kernels import _conv, spmm
from edgeseq.lower import work


def build(case: Case, rng: np.random.Generator) -> Problem | None:
    """Return the case with numbers in it, or None where there is no such kernel."""
    kernel = find_kernel(f"spmm_{case.form}")
    if kernel is None:
        return None
    rows = int(case.form.partition("_b")[2].partition("x")[0] or 1)
    inputs, outputs, pixels = (case.sizes[n] for n in ("K", "N", "pixels"))
    blocks = work.Format("spmm", "f32", rows, 1, sparse=True)
    weights = rng.uniform(-1, 1, (outputs, inputs)).astype(np.float32)
    weights *= problem.mask(rng, outputs, inputs, blocks, case.density)
    packed = spmm.pack(weights, rows)
    x = rng.uniform(-1, 1, (1, inputs, pixels)).astype(np.float32)
    known = {"N": 1, "O": outputs, "C": inputs, "P": pixels, "blocks": packed.blocks}
    known |= {"x_ns": inputs * pixels, "x_cs": pixels}
    known |= {"y_ns": outputs * pixels, "y_cs": pixels}
    sizes = {name: known.get(name, 0) for name in kernel.sizes}
    consts = packed.arrays() | {"b": _conv.pack_bias(outputs)}
    call = Call(kernel, sizes, consts, [{"x": x}])
    from onnx import helper

    side = math.isqrt(pixels)
    node = helper.make_node("Conv", ["x", "W"], ["y"], kernel_shape=[1, 1])
    read = x.nbytes + sum(a.nbytes for a in consts.values())
    return Problem(
        call=call,
        model=problem.model_of(
            [node],
            {"x": [1, inputs, side, pixels // side]},
            {"y": [1, outputs, side, pixels // side]},
            {"W": weights[:, :, None, None]},
        ),
        frames=[{"x": x.reshape(1, inputs, side, pixels // side)}],
        states={},
        pairs=[],
        outputs={"y": "y"},
        footprint=read,
        moved=read,
        tolerance=problem.TOLERANCE["f32"],
    )
