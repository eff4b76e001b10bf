"""Matrix-vector products and pointwise convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeseq import registry
from edgeseq.bench.harness import Array
from edgeseq.bench.suite import problem
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.native import Call, find_kernel
from edgeseq.bench.suite.problem import FRAMES, Problem
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import gemm, gemv_i4, spmv
from edgeseq.kernels._formats import Format
from edgeseq.lower import work
from edgeseq.quantize import levels

GROUP = 32  # inputs of int4 weights that share a scale


def build(case: Case, rng: np.random.Generator) -> Problem | None:
    """Return the case with numbers in it, or None where there is no such kernel."""
    form = work.parse(f"{'spmv' if case.density < 1 else 'gemm'}_{case.form}")
    found = None if form is None else make(form, case.sizes, case.density, rng)
    if form is None or found is None:
        return None
    call, weights = found
    from onnx import helper

    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    inputs, outputs = weights.shape
    stored = sum(a.nbytes for a in call.consts.values())
    return Problem(
        call=call,
        model=problem.model_of([node], {"x": [1, inputs]}, {"y": [1, outputs]}, {"W": weights}),
        frames=call.frames,
        states={},
        pairs=[],
        outputs={"y": "y"},
        footprint=stored,
        moved=stored + 4 * inputs,
        tolerance=problem.TOLERANCE[form.weights],
    )


def make(
    form: work.Format, sizes: Mapping[str, int], density: float, rng: np.random.Generator
) -> tuple[Call, Array] | None:
    """Return a call and its weights [K, N] in float32, or None where there is no such kernel.

    Args:
        form: The kernel's name, taken apart.
        sizes: K, N and perhaps M.
        density: Share of the blocks that are kept.
        rng: Source of all numbers.
    """
    kernel = find_kernel(form.name)
    if kernel is None:
        return None
    rows, inputs, outputs = sizes.get("M", 1), sizes["K"], sizes["N"]
    full = rng.uniform(-1, 1, (outputs, inputs)).astype(np.float32)
    kept = full * problem.mask(rng, outputs, inputs, form, density)
    weights = np.ascontiguousarray(problem.representable(kept, form.weights).T)
    known = {"M": rows, "K": inputs, "N": outputs, "ldx": inputs, "ldy": outputs}
    known["x_zero"] = exact.MIDDLE
    extra, consts = _pack(form, weights)
    all_sizes = {name: known.get(name, 0) for name in kernel.sizes} | extra
    xs = [rng.uniform(-1, 1, (rows, inputs)).astype(np.float32) for _ in range(FRAMES)]
    return Call(kernel, all_sizes, consts, [{"x": x} for x in xs]), weights


def _pack(form: work.Format, weights: Array) -> tuple[dict[str, int], dict[str, Array]]:
    """Return the sizes and the CONST arguments that the format adds."""
    if form.family == "gemv":
        return _levels(form, weights)
    if form.weights == "i8":
        family = registry.find("kernels", f"{form.family}-i8")
        values, scale = problem.quantized(weights.T)
        layout = {"layout": form.layout} if form.sparse else {}
        packed = family.pack(values.T, scale, x_scale=1 / 127, **layout)
        return packed.sizes, packed.arrays
    stored = Format(form.weights, form.rows if form.sparse else 0, form.window)
    if not form.sparse:
        return {}, {"w": gemm.pack(weights, form=stored)}
    blocks = spmv.pack(weights, None, stored)
    return {"blocks": blocks.blocks}, blocks.arrays()


def _levels(form: work.Format, weights: Array) -> tuple[dict[str, int], dict[str, Array]]:
    """Weights [K, N] as levels that are scaled while they are multiplied."""
    if form.weights == "i8w":
        values, scale = problem.quantized(weights.T)
        return {}, gemv_i4.pack_i8(values.T, scale)
    scales = levels.group_scales(weights.T, GROUP)
    full = levels.spread(scales, GROUP, len(weights))
    found = levels.to_levels(weights.T, full, levels.TOP4)
    kind = np.float16 if form.weights == "i4_f16" else np.float32
    return {"group": GROUP}, gemv_i4.pack(found.T, scales.T.astype(kind), group=GROUP)
