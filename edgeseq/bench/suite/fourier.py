"""Fourier transforms of real frames, beside the peer's own operator (DFT)."""

from __future__ import annotations

import numpy as np

from edgeseq.bench.suite import problem
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.native import Call, find_kernel
from edgeseq.bench.suite.problem import Problem
from edgeseq.kernels import fourier


def build(case: Case, rng: np.random.Generator) -> Problem | None:
    """Return the case with numbers in it, or None where there is no such kernel."""
    points, frames = case.sizes["N"], case.sizes["M"]
    kernel, rows = find_kernel("rfft_f32"), fourier.split(points)
    if kernel is None or rows is None:
        return None
    bins = points // 2 + 1
    x = rng.uniform(-1, 1, (frames, points)).astype(np.float32)
    known = {"B": 1, "M": frames, "N": points, "R": rows, "K": points, "bins": bins, "sign": 1}
    known |= {"L": frames * points, "x_ms": points}
    known |= {"y_ms": 2 * bins, "y_ks": 2, "im_at": 1}  # parts in turn, as the operator has them
    consts = {"w": np.ones(points, np.float32), "t": fourier.table(points)}
    sizes = {name: known.get(name, 0) for name in kernel.sizes}
    call = Call(kernel, sizes, consts, [{"x": x}])
    from onnx import helper

    node = helper.make_node("DFT", ["x", "", "axis"], ["y"], onesided=1)
    constants = {"axis": np.array(1, np.int64)}
    given, made = {"x": [frames, points, 1]}, {"y": [frames, bins, 2]}
    read = x.nbytes + sum(a.nbytes for a in consts.values())
    return Problem(
        call=call,
        model=problem.model_of([node], given, made, constants),
        frames=[{"x": x[..., None]}],
        states={},
        pairs=[],
        outputs={"y": "y"},
        footprint=read,
        moved=read,
        tolerance=problem.TOLERANCE["f32"],
    )
