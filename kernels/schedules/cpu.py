"""One schedule for every fused kernel on a CPU.

Strategy:
    1. Inline what is computed element by element, so that a fused kernel is few loops; but no
       more than two functions around each other: TVM's time grows with a power of their number.
    2. In a reduction, move the last spatial axis innermost and the reduction outside it, so that
       LLVM vectorises along contiguous memory; unroll four rows, so that loads are shared.
Not done: explicit vectorisation and tiling of the spatial axes. Measured on gtcrn, LLVM's own
vectoriser does as well, and C compilers cannot take TIR's vector types. Matrix products with
constant weights and convolutions are hand-written kernels and do not come here.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import ir, s_tir, tirx

ROWS = 4
NESTED = 2
# What code generation writes out as polynomials, in Lets; the keys of `lower.mathlib`.
FUNCTIONS = frozenset(f"tirx.{name}" for name in ("exp", "log", "log1p", "sigmoid", "tanh"))
EXPENSIVE = ("exp(", "tanh(", "sigmoid(", "sqrt(", "erf(", "log(", "pow(", " / ")


def schedule(func: Any) -> Any:
    """Return the scheduled PrimFunc."""
    sch = s_tir.Schedule(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}))
    root = sch.get_sblock("root")
    for block in sch.get_child_blocks(root):
        if _worth_inlining(sch, block):
            _try_inline(sch, block)
    for block in sch.get_child_blocks(root):
        if _is_reduction(sch, block):
            _schedule_reduction(sch, block)
    return sch.mod["main"]


def _is_reduction(sch: Any, block: Any) -> bool:
    return any(iv.iter_type == tirx.IterVar.CommReduce for iv in sch.get(block).iter_vars)


def _extent(sch: Any, loop: Any) -> int | None:
    extent = sch.get(loop).extent
    return int(extent) if isinstance(extent, (int, tirx.IntImm)) else None


def _worth_inlining(sch: Any, block: Any) -> bool:
    consumers = sch.get_consumers(block)
    if _is_reduction(sch, block) or not consumers:
        return False
    if _nested(sch, block, consumers) > NESTED:
        return False
    value = str(getattr(sch.get(block).body, "value", "if_then_else"))
    expensive = any(word in value for word in EXPENSIVE)
    if any(_is_reduction(sch, c) for c in consumers):
        # a reduction reads each element many times: padding tests and divisions would repeat
        return not expensive and "if_then_else" not in value
    if not expensive:
        return True
    if len(consumers) > 1:
        return False
    # a broadcast would repeat the expensive value: inline only element to element
    return _volume(sch, block) == _volume(sch, consumers[0]) is not None


def _nested(sch: Any, block: Any, consumers: Any) -> int:
    """How many functions (exp, tanh, ...) would stand around each other with a block inlined."""
    own = sch.get(block).body
    within = _depth(own, None, 0)
    bodies = [sch.get(consumer).body for consumer in consumers]
    return max(_depth(body, getattr(own, "buffer", None), within) for body in bodies)


def _depth(body: Any, buffer: Any, within: int) -> int:
    """Of the functions in a statement, where what is read from a buffer has some by itself."""
    found = 0

    def call(one: Any) -> tvm_ffi.WalkResult:
        nonlocal found
        if getattr(one.op, "name", "") not in FUNCTIONS:
            return tvm_ffi.WalkResult.ADVANCE
        inside = max((_depth(argument, buffer, within) for argument in one.args), default=0)
        found = max(found, 1 + inside)
        return tvm_ffi.WalkResult.SKIP

    def load(one: Any) -> tvm_ffi.WalkResult:
        nonlocal found
        if buffer is not None and one.source.same_as(buffer):
            found = max(found, within)
        return tvm_ffi.WalkResult.ADVANCE

    tvm_ffi.structural_walk(body, [(ir.Call, call), (ir.TensorLoad, load)], order="pre")
    return found


def _volume(sch: Any, block: Any) -> int | None:
    volume = 1
    for loop in sch.get_loops(block):
        extent = _extent(sch, loop)
        if extent is None:
            return None
        volume *= extent
    return volume


def _try_inline(sch: Any, block: Any) -> None:
    try:
        sch.compute_inline(block)
    except s_tir.ScheduleError:
        return  # opaque access or an output: stays a loop of its own


def _schedule_reduction(sch: Any, block: Any) -> None:
    loops = sch.get_loops(block)
    iters = sch.get(block).iter_vars
    if len(loops) != len(iters):
        return
    kinds = [iv.iter_type == tirx.IterVar.CommReduce for iv in iters]
    reduce = [loop for loop, is_reduce in zip(loops, kinds, strict=True) if is_reduce]
    spatial = [
        loop
        for loop, is_reduce in zip(loops, kinds, strict=True)
        if not is_reduce and _extent(sch, loop) != 1
    ]
    if not spatial or not reduce:
        return  # a full reduction: reassociation lets LLVM vectorise it
    inner, outer = spatial[-1], spatial[:-1]
    rows = _extent(sch, outer[-1]) if outer else None
    if rows is not None and rows % ROWS == 0:
        split, unrolled = sch.split(outer[-1], [None, ROWS])
        sch.reorder(*outer[:-1], split, *reduce, unrolled, inner)
        sch.unroll(unrolled)
    else:
        sch.reorder(*outer, *reduce, inner)
    sch.decompose_reduction(block, reduce[0])
