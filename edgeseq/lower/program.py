"""Fused Relax -> a program: a flat list of calls over buffers and views.

Reshapes and copies that only rename memory become views. Concatenations become copies into slots,
and no copy at all where the producer can write to the slot itself.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax, s_tir, tirx

from edgeseq.errors import InternalError
from edgeseq.lower import select, tir
from edgeseq.lower.relax_import import CONCAT, Imported
from edgeseq.lower.size import Size

Array = npt.NDArray[Any]


@dataclasses.dataclass(eq=False)
class Buffer:
    """A piece of memory: a graph input, a constant, or a temporary."""

    size: Size  # bytes
    dtype: str
    input_index: int | None = None
    constant: Array | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """A buffer from byte `offset` on."""

    buffer: Buffer
    offset: Size = Size.of(0)

    def shifted(self, by: Size) -> View:
        return View(self.buffer, self.offset + by)


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
    """`rows` times: copy `row` bytes, with a stride on both sides (one operand of a Concat)."""

    reads: tuple[View, ...]
    writes: tuple[View, ...]
    rows: Size
    row: Size
    read_stride: Size
    write_stride: Size


Call = TirCall | KernelCall | CopyCall


@dataclasses.dataclass(frozen=True)
class Program:
    """One entry: what `step` or `run` executes.

    Args:
        calls: In order.
        outputs: Where each graph output stands afterwards.
        output_sizes: Bytes of each.
        kernels: Symbol -> scheduled PrimFunc, those that `calls` use.
    """

    calls: tuple[Call, ...]
    outputs: tuple[View, ...]
    output_sizes: tuple[Size, ...]
    kernels: Mapping[str, Any]


def build(
    imported: Imported, fused: Any, schedule: Callable[[Any], Any], prefix: str
) -> Program:
    """Walk the fused `main`.

    Args:
        imported: What the import made, for the kernel calls behind opaque names.
        fused: The module after `fuse.fuse`.
        schedule: PrimFunc -> scheduled PrimFunc.
        prefix: Put before kernel names, so that the entries of a model do not clash.
    """
    return _Walk(imported, fused, schedule, prefix).run()


class _Walk:
    def __init__(
        self, imported: Imported, fused: Any, schedule: Callable[[Any], Any], prefix: str
    ) -> None:
        self.externs = imported.externs
        self.main = fused["main"]
        functions = {
            gv.name_hint: f for gv, f in fused.functions.items() if isinstance(f, tirx.PrimFunc)
        }
        self.symbols = {name: _symbol(prefix, i, name) for i, name in enumerate(sorted(functions))}
        self.kernels = {self.symbols[name]: schedule(f) for name, f in functions.items()}
        self.renames = {name: _renamed_offset(f) for name, f in self.kernels.items()}
        self.env: dict[Any, Any] = {}
        self.calls: list[Call] = []

    def run(self) -> Program:
        for i, param in enumerate(self.main.params):
            self.env[param] = View(Buffer(_bytes(param.ty), str(param.ty.dtype), input_index=i))
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.env[binding.var] = self.bind(binding.value, binding.var)
        outputs = tuple(self.flat([self.main.body.body]))
        used = {c.kernel for c in self.calls if isinstance(c, TirCall)}
        kernels = {name: f for name, f in self.kernels.items() if name in used}
        sizes = tuple(_bytes(ty) for ty in _fields(self.main.body.body.ty))
        return Program(tuple(self.calls), outputs, sizes, kernels)

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
        if isinstance(expr, relax.Tuple):
            return [self.locate(field) for field in expr.fields]
        if isinstance(expr, tvm.ir.GenericConst):
            return _constant(expr.value.numpy())
        return self.env[expr]

    def flat(self, exprs: Sequence[Any]) -> list[View]:
        found: list[View] = []
        for expr in exprs:
            located = self.locate(expr) if not isinstance(expr, (View, list)) else expr
            found += self.flat(located) if isinstance(located, list) else [located]
        return found

    def call_tir(self, value: Any, var: Any) -> Any:
        name = self.symbols[value.args[0].name_hint]
        tensors = [a for a in value.args[1].fields if not _is_scalar(a)]
        reads = tuple(self.flat(tensors))
        types = _fields(value.ty_args[0])
        offset = self.renames[name]
        if offset is not None:
            return reads[0].shifted(offset)
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
        reads = tuple(self.flat([value.args[1]]))
        types = _fields(value.ty_args[0])
        writes = tuple(View(Buffer(_bytes(ty), str(ty.dtype))) for ty in types)
        if name.startswith(CONCAT):
            shapes = [arg.ty for arg in value.args[1].fields]
            self.concat(reads, shapes, types[0], int(name.rpartition(".")[2]), writes[0])
            return _packed(writes, var)
        choice = self.externs[name]
        scratch_size = choice.scratch()
        needed = scratch_size != Size.of(0)
        scratch = (View(Buffer(scratch_size, "uint8")),) if needed else ()
        consts = tuple(None if a is None else _constant(a) for a in choice.consts)
        self.calls.append(KernelCall(choice, reads, writes, consts, scratch))
        return _packed(writes, var)

    def concat(
        self, reads: Sequence[View], types: Sequence[Any], out: Any, axis: int, write: View
    ) -> None:
        item = np.dtype(str(out.dtype)).itemsize
        rows = Size.product(_dims(out)[:axis])
        stride = Size.product(_dims(out)[axis:]) * item
        start = Size.of(0)
        for read, ty in zip(reads, types, strict=True):
            row = Size.product(_dims(ty)[axis:]) * item
            self.calls.append(
                CopyCall((read,), (write.shifted(start),), rows, row, row, stride)
            )
            start = start + row


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


def _renamed_offset(func: Any) -> Size | None:
    """Byte offset, if the kernel only copies a contiguous piece of its input unchanged."""
    buffers = [p for p in func.params if tirx.buffer.is_buffer_var(p)]
    if len(buffers) != 2 or buffers[0].ty.dtype != buffers[1].ty.dtype:
        return None
    sch = s_tir.Schedule(tvm.IRModule({"main": func.with_attr("global_symbol", "main")}))
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    if len(blocks) != 1:
        return None
    block = sch.get(blocks[0])
    store = block.body
    if not isinstance(store, tirx.BufferStore):
        return None
    load = store.value
    if not isinstance(load, tvm.ir.expr.TensorLoad):
        return None
    analyzer = tvm.sym.Analyzer()
    for iv in block.iter_vars:
        analyzer.bind(iv.var, iv.dom)
    difference = analyzer.simplify(
        _linear(load.source, load.indices) - _linear(store.buffer, store.indices)
    )
    if not isinstance(difference, tirx.IntImm):
        return None
    item = np.dtype(_storage(str(buffers[0].ty.dtype))).itemsize
    return Size.of(int(difference.value) * item)


def _linear(buffer: Any, indices: Any) -> Any:
    position: Any = tirx.const(0, "int64")
    stride: Any = tirx.const(1, "int64")
    for extent, index in reversed(list(zip(buffer.ty.shape, indices, strict=True))):
        position = position + index * stride
        stride = stride * extent
    return position
