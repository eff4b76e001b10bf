"""Fused Relax -> a program: a flat list of calls over buffers and views.

Reshapes and slices stay where they are, as views or rows of views. Concatenations become copies
into slots; `arena` drops those whose producer can write to the slot itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, tirx

from edgeseq.errors import InternalError
from edgeseq.lower import select, tir
from edgeseq.lower.relax_import import CONCAT, Imported
from edgeseq.lower.rows import Rows, compose, of_copy
from edgeseq.lower.scan import SCAN
from edgeseq.lower.size import Size

if TYPE_CHECKING:
    from edgeseq.lower.scan_body import Body

Array = npt.NDArray[Any]
ZERO = Size.of(0)


@dataclasses.dataclass(eq=False)
class Buffer:
    """A piece of memory: a graph input, a constant, or a temporary."""

    size: Size  # bytes
    dtype: str
    input_index: int | None = None
    constant: Array | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """A buffer from byte `offset` on, for `extent` bytes or to its end."""

    buffer: Buffer
    offset: Size = ZERO
    extent: Size | None = None

    def shifted(self, by: Size) -> View:
        """The view `by` bytes further on."""
        return View(self.buffer, self.offset + by)


@dataclasses.dataclass(eq=False)
class Strided:
    """A value that stands as rows in another one's memory, copied out only where it must be.

    Args:
        view: Where the first row starts.
        rows: The rows.
        dtype: Element type.
        dense: The copy, once somebody needed it.
    """

    view: View
    rows: Rows
    dtype: str
    dense: View | None = None


@dataclasses.dataclass(frozen=True)
class TirCall:
    """Call of a kernel that TVM generated: pointers, then scratch, then int64 scalars."""

    kernel: str
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    scratch: tuple[View, ...] = ()
    scalars: tuple[Size, ...] = ()


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """Call of a hand-written kernel; `consts` are its packed weights, None passes NULL."""

    choice: select.Choice
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    consts: tuple[View | None, ...]
    scratch: tuple[View, ...]


@dataclasses.dataclass(frozen=True)
class CopyCall:
    """Copy rows of equal length, with a stride on both sides (one operand of a Concat)."""

    reads: tuple[View, ...]
    writes: tuple[View, ...]
    source: Rows
    target: Rows


@dataclasses.dataclass(frozen=True)
class LoopCall:
    """Run a body once per step (a Scan).

    It reads the first states, the sequences and what the body captures; it writes the last
    states and the sequences.
    """

    body: Body
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    scratch: tuple[View, ...]


Call = TirCall | KernelCall | CopyCall | LoopCall


@dataclasses.dataclass(frozen=True)
class Program:
    """One entry: what `step` or `run` executes.

    Args:
        calls: In order.
        outputs: Where each graph output stands afterwards.
        output_sizes: Bytes of each.
        kernels: Symbol -> scheduled PrimFunc, those that `calls` use.
        input_sizes: Bytes of each graph input.
    """

    calls: tuple[Call, ...]
    outputs: tuple[View, ...]
    output_sizes: tuple[Size, ...]
    kernels: Mapping[str, Any]
    input_sizes: tuple[Size, ...] = ()


def build(
    imported: Imported,
    fused: Any,
    schedule: Callable[[Any], Any],
    prefix: str,
    bodies: Mapping[str, Body],
) -> Program:
    """Walk the fused `main`.

    Args:
        imported: What the import made, for the kernel calls behind opaque names.
        fused: The module after `fuse.fuse`.
        schedule: PrimFunc -> scheduled PrimFunc.
        prefix: Put before kernel names, so that the entries of a model do not clash.
        bodies: The loops behind opaque names.
    """
    return _Walk(imported, fused, schedule, prefix, bodies).run()


class _Walk:
    def __init__(
        self,
        imported: Imported,
        fused: Any,
        schedule: Callable[[Any], Any],
        prefix: str,
        bodies: Mapping[str, Body],
    ) -> None:
        self.bodies = bodies
        self.externs = imported.externs
        self.main = fused["main"]
        functions = {
            gv.name_hint: f for gv, f in fused.functions.items() if isinstance(f, tirx.PrimFunc)
        }
        self.symbols = {name: _symbol(prefix, i, name) for i, name in enumerate(sorted(functions))}
        self.kernels = {self.symbols[name]: schedule(f) for name, f in functions.items()}
        self.copies = {name: _copied_rows(f) for name, f in self.kernels.items()}
        renaming = relax.analysis.has_reshape_pattern  # of any size, where rows are of known ones
        self.renames = {self.symbols[name] for name, f in functions.items() if renaming(f)}
        self.env: dict[Any, Any] = {}
        self.calls: list[Call] = []

    def run(self) -> Program:
        for i, param in enumerate(self.main.params):
            self.env[param] = View(Buffer(_bytes(param.ty), str(param.ty.dtype), input_index=i))
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.env[binding.var] = self.bind(binding.value, binding.var)
        outputs = tuple(map(self.dense, self.flat([self.main.body.body])))
        used = {c.kernel for c in self.calls if isinstance(c, TirCall)}
        kernels = {name: f for name, f in self.kernels.items() if name in used}
        for call in self.calls:
            kernels.update(call.body.kernels if isinstance(call, LoopCall) else {})
        sizes = tuple(_bytes(ty) for ty in _fields(self.main.body.body.ty))
        given = tuple(_bytes(param.ty) for param in self.main.params)
        return Program(tuple(self.calls), outputs, sizes, kernels, given)

    def bind(self, value: Any, var: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return [self.locate(field) for field in value.fields]
        if isinstance(value, relax.TupleGetItem):
            return self.env[value.tuple_value][value.index]
        if not isinstance(value, relax.Call):
            return self.locate(value)
        op = value.op.name if isinstance(value.op, tvm.ir.Op) else str(value.op)
        if op == "relax.call_tir":
            return self.call_tir(value, var)
        if op == "relax.call_dps_packed":
            return self.call_opaque(value, var)
        if op in ("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.memory.view"):
            return self.locate(value.args[0])
        raise InternalError(f"no lowering for Relax {op}: {str(value)[:300]}")

    def locate(self, expr: Any) -> Any:
        """Views, strided values and (nested) lists of them."""
        if isinstance(expr, relax.Tuple):
            return [self.locate(field) for field in expr.fields]
        if isinstance(expr, tvm.ir.GenericConst):
            return _constant(expr.value.numpy())
        return self.env[expr]

    def flat(self, exprs: Sequence[Any]) -> list[View | Strided]:
        found: list[View | Strided] = []
        for expr in exprs:
            known = isinstance(expr, (View, Strided, list))
            located = expr if known else self.locate(expr)
            found += self.flat(located) if isinstance(located, list) else [located]
        return found

    def dense(self, value: View | Strided) -> View:
        """The value without gaps, copied if need be."""
        if isinstance(value, View):
            return value
        if value.dense is None:
            rows = value.rows
            value.dense = View(Buffer(rows.count * rows.row, value.dtype))
            packed = Rows(rows.count, rows.row, rows.row)
            self.calls.append(CopyCall((value.view,), (value.dense,), rows, packed))
        return value.dense

    def renamed(self, value: View | Strided, offset: Size, rows: Rows, dtype: str) -> Any:
        """Rows of a value, without a copy where their form allows."""
        if isinstance(value, Strided):
            inner = offset.constant if offset.known else None
            found = None if inner is None else compose(value.rows, inner, rows)
            if found is not None:
                start, both = found
                return _rows_at(value.view.shifted(Size.of(start)), both, dtype)
        return _rows_at(self.dense(value).shifted(offset), rows, dtype)

    def call_tir(self, value: Any, var: Any) -> Any:
        name = self.symbols[value.args[0].name_hint]
        tensors = [a for a in value.args[1].fields if not _is_scalar(a)]
        values = self.flat(tensors)
        types = _fields(value.ty_args[0])
        copied = self.copies[name]
        if copied is not None:
            offset, rows = copied
            dtype = str(types[0].dtype)
            if rows.count == Size.of(1):
                rows = Rows.dense(_bytes(types[0]))
            return self.renamed(values[0], Size.of(offset), rows, dtype)
        reads = tuple(map(self.dense, values))
        if name in self.renames:
            return reads[0]
        writes = tuple(View(Buffer(_bytes(ty), str(ty.dtype))) for ty in types)
        extra = [a for a in value.args[1].fields if _is_scalar(a)]
        shapes = [ty for arg in tensors for ty in _fields(arg.ty)] + types
        scratch, scalars = self.auxiliary(name, shapes, extra)
        self.calls.append(TirCall(name, reads, writes, scratch, scalars))
        return _packed(writes, var)

    def auxiliary(
        self, name: str, shapes: Sequence[Any], extra: Sequence[Any]
    ) -> tuple[tuple[View, ...], tuple[Size, ...]]:
        """Scratch and scalar arguments of a kernel, from the shapes it is called with."""
        found = tir.signature(self.kernels[name])
        values = dict(zip([v.name for v in found.scalars], map(Size.from_tir, extra), strict=False))
        for buffer, ty in zip(found.buffers, shapes, strict=True):
            for own, given in zip(buffer.ty.shape, _dims(ty), strict=True):
                if isinstance(own, tirx.Var):
                    values.setdefault(own.name, Size.from_tir(given))
        sizes = [
            Size.product(buffer.ty.shape, lambda v: values[v.name])
            * np.dtype(_storage(str(buffer.ty.dtype))).itemsize
            for buffer in found.scratch
        ]
        scratch = tuple(View(Buffer(size, "uint8")) for size in sizes)
        return scratch, tuple(values[v.name] for v in found.scalars)

    def call_opaque(self, value: Any, var: Any) -> Any:
        name = str(value.args[0].global_symbol)
        values = self.flat([value.args[1]])
        types = _fields(value.ty_args[0])
        writes = tuple(View(Buffer(_bytes(ty), str(ty.dtype))) for ty in types)
        if name.startswith(CONCAT):
            shapes = [arg.ty for arg in value.args[1].fields]
            self.concat(values, shapes, types[0], int(name.rpartition(".")[2]), writes[0])
            return _packed(writes, var)
        if name.startswith(SCAN):
            body = self.bodies[name]
            space = View(Buffer(body.scratch(), "uint8"))
            self.calls.append(LoopCall(body, tuple(map(self.dense, values)), writes, (space,)))
            return _packed(writes, var)
        choice = self.externs[name]
        reads: list[View] = []
        for i, operand in enumerate(values):
            moved = choice.reading(i, operand.rows) if isinstance(operand, Strided) else None
            if moved is not None and isinstance(operand, Strided):
                choice = moved
                reads.append(operand.view)
            else:
                reads.append(self.dense(operand))
        scratch_size = choice.scratch()
        needed = scratch_size != Size.of(0)
        scratch = (View(Buffer(scratch_size, "uint8")),) if needed else ()
        consts = tuple(None if a is None else _constant(a) for a in choice.consts)
        self.calls.append(KernelCall(choice, tuple(reads), writes, consts, scratch))
        return _packed(writes, var)

    def concat(
        self,
        values: Sequence[View | Strided],
        types: Sequence[Any],
        out: Any,
        axis: int,
        write: View,
    ) -> None:
        item = np.dtype(_storage(str(out.dtype))).itemsize
        count = Size.product(_dims(out)[:axis])
        stride = Size.product(_dims(out)[axis:]) * item
        start = Size.of(0)
        for value, ty in zip(values, types, strict=True):
            row = Size.product(_dims(ty)[axis:]) * item
            target = Rows.dense(row) if count == Size.of(1) else Rows(count, row, stride)
            view, source = self.operand(value, target)
            if source.count != target.count:  # the slot is one piece, the operand is not
                target = Rows(source.count, source.row, source.row)
            self.calls.append(CopyCall((view,), (write.shifted(start),), source, target))
            start = start + row

    def operand(self, value: View | Strided, target: Rows) -> tuple[View, Rows]:
        """A concatenation's operand as rows like the slot's, or into a slot in one piece."""
        if isinstance(value, Strided):
            same = value.rows.count == target.count and value.rows.row == target.row
            if same or target.count == Size.of(1):
                return value.view, value.rows
        dense = Rows(target.count, target.row, target.row)
        return self.dense(value), dense


def _rows_at(view: View, rows: Rows, dtype: str) -> View | Strided:
    return view if rows.count == Size.of(1) else Strided(view, rows, dtype)


def _symbol(prefix: str, index: int, name: str) -> str:
    """A short C name: what the kernel fuses, as far as forty letters tell."""
    words = re.sub(r"_+", "_", re.sub(r"\W|fused_|tir_|lambda|\d", "_", name)).strip("_")
    return f"{prefix}{index}_{words[:40].strip('_')}"


def _constant(array: Array) -> View:
    return View(Buffer(Size.of(array.nbytes), str(array.dtype), constant=array))


def _is_scalar(expr: Any) -> bool:
    return isinstance(expr.ty, tvm.ir.PrimType)


def _dims(ty: Any) -> list[Any]:
    return list(ty.shape.values) if hasattr(ty.shape, "values") else list(ty.shape)


def _fields(ty: Any) -> list[Any]:
    return list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]


def _packed(writes: tuple[View, ...], var: Any) -> Any:
    return list(writes) if isinstance(var.ty, relax.TupleType) else writes[0]


def _bytes(ty: Any) -> Size:
    return Size.product(_dims(ty)) * np.dtype(_storage(str(ty.dtype))).itemsize


def _storage(dtype: str) -> str:
    return {"bool": "uint8", "bfloat16": "uint16"}.get(dtype, dtype)


def _copied_rows(func: Any) -> tuple[int, Rows] | None:
    buffers = [p for p in func.params if tirx.buffer.is_buffer_var(p)]
    return of_copy(func, np.dtype(_storage(str(buffers[0].ty.dtype))).itemsize)
