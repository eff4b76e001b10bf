"""Rows in memory: what a slice, or one operand of a concatenation, looks like.

`rows` pieces of `row` bytes, `stride` bytes apart. A slice along any one axis has this form, and
stays where it is: copies and kernels that take strides read it in place.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import s_tir, tirx

from edgeseq.lower.size import Size

MAX_ELEMENTS = 1 << 22  # of a copy that is looked at element by element


@dataclasses.dataclass(frozen=True)
class Rows:
    """`count` pieces of `row` bytes, `stride` bytes apart; dense where count is 1.

    Args:
        count: Number of pieces.
        row: Bytes of one.
        stride: Bytes from one to the next.
    """

    count: Size
    row: Size
    stride: Size

    @staticmethod
    def dense(size: Size) -> Rows:
        """One piece."""
        return Rows(Size.of(1), size, size)

    @property
    def extent(self) -> Size | None:
        """Bytes from the first to the last, where known."""
        if self.count == Size.of(1):
            return self.row
        if not (self.count.known and self.row.known and self.stride.known):
            return None
        return Size.of((self.count.constant - 1) * self.stride.constant + self.row.constant)

    def numbers(self) -> tuple[int, int, int] | None:
        """Count, row and stride, where known."""
        parts = (self.count, self.row, self.stride)
        if not all(p.known for p in parts):
            return None
        return self.count.constant, self.row.constant, self.stride.constant


def compose(outer: Rows, offset: int, inner: Rows) -> tuple[int, Rows] | None:
    """Rows of rows: `inner` starts at `offset` in the dense image of `outer`.

    Returns:
        The offset and the rows in the memory of `outer`; None if they have no such form.
    """
    a, b = outer.numbers(), inner.numbers()
    if a is None or b is None:
        return None
    pieces, row, stride = a
    count, piece, step = b
    if offset == 0 and count == 1 and piece == pieces * row:
        return 0, outer  # all of it, under another shape
    first, column = divmod(offset, row)
    if column + piece > row or (count > 1 and step % row):
        return None
    start = first * stride + column
    return start, Rows(
        inner.count, inner.row, Size.of(step // row * stride if count > 1 else piece)
    )


def of_copy(func: Any, item: int) -> tuple[int, Rows] | None:
    """What a scheduled kernel copies, if it copies rows of its only input, unchanged.

    Args:
        func: The PrimFunc.
        item: Bytes of an element.

    Returns:
        Byte offset of the first row, and the rows.
    """
    block = _only_copy(func)
    if block is None:
        return None
    dims = [iv.dom.extent for iv in block.iter_vars]
    if not all(isinstance(d, (int, tirx.IntImm)) for d in dims):
        return _renamed(block, item)
    extents = [int(d) for d in dims]
    if not 0 < math.prod(extents) <= MAX_ELEMENTS:
        return None
    load, store = block.body.value, block.body
    grid = np.indices(extents, dtype=np.int64).reshape(len(extents), -1)
    env = {iv.var: values for iv, values in zip(block.iter_vars, grid, strict=True)}
    source = _evaluate(_linear(load.source, load.indices), env)
    target = _evaluate(_linear(store.buffer, store.indices), env)
    if source is None or target is None:
        return None
    in_order = np.empty(grid.shape[1], np.int64)
    in_order[np.broadcast_to(target, in_order.shape)] = source
    return _as_rows(in_order, item)


def _as_rows(elements: npt.NDArray[np.int64], item: int) -> tuple[int, Rows] | None:
    """Where each element of a dense result comes from -> offset and rows."""
    breaks = np.flatnonzero(np.diff(elements) != 1)
    row = int(breaks[0]) + 1 if breaks.size else elements.size
    if elements.size % row:
        return None
    table = elements.reshape(-1, row)
    count = len(table)
    step = int(table[1, 0] - table[0, 0]) if count > 1 else row
    expected = table[0, 0] + np.arange(count)[:, None] * step + np.arange(row)
    if step < row or (table != expected).any():
        return None
    return int(table[0, 0]) * item, Rows(Size.of(count), Size.of(row * item), Size.of(step * item))


def _evaluate(expr: Any, env: Mapping[Any, Any]) -> Any:
    """An integer expression over arrays of its variables; None if it holds anything unusual."""
    if isinstance(expr, int):
        return expr
    if isinstance(expr, tirx.IntImm):
        return int(expr)
    if isinstance(expr, tirx.Var):
        return next((v for k, v in env.items() if k.same_as(expr)), None)
    if isinstance(expr, tirx.Cast):
        return _evaluate(expr.value, env)
    operation = _OPERATIONS.get(type(expr).__name__)
    if operation is None:
        return None
    a, b = _evaluate(expr.a, env), _evaluate(expr.b, env)
    return None if a is None or b is None else operation(a, b)


_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
    "FloorMod": operator.mod,
    "Div": operator.floordiv,
    "Mod": operator.mod,
    "Min": np.minimum,
    "Max": np.maximum,
}


def _only_copy(func: Any) -> Any:
    buffers = [p for p in func.params if tirx.buffer.is_buffer_var(p)]
    if len(buffers) != 2 or buffers[0].ty.dtype != buffers[1].ty.dtype:
        return None
    sch = s_tir.Schedule(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}))
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    if len(blocks) != 1:
        return None
    block = sch.get(blocks[0])
    store = block.body
    plain = isinstance(store, tirx.BufferStore) and isinstance(store.value, tvm.ir.expr.TensorLoad)
    return block if plain else None


def _renamed(block: Any, item: int) -> tuple[int, Rows] | None:
    """A copy of unknown length that only renames memory."""
    analyzer = tvm.sym.Analyzer()
    for iv in block.iter_vars:
        analyzer.bind(iv.var, iv.dom)
    load, store = block.body.value, block.body
    difference = analyzer.simplify(
        _linear(load.source, load.indices) - _linear(store.buffer, store.indices)
    )
    if not isinstance(difference, tirx.IntImm):
        return None
    whole = Size.product(store.buffer.ty.shape) * item
    return int(difference.value) * item, Rows.dense(whole)


def _linear(buffer: Any, indices: Any) -> Any:
    position: Any = tirx.const(0, "int64")
    stride: Any = tirx.const(1, "int64")
    for extent, index in reversed(list(zip(buffer.ty.shape, indices, strict=True))):
        position = position + index * stride
        stride = stride * extent
    return position
