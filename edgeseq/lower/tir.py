"""Scheduled TIR -> functions with plain pointer parameters -> object code or C.

The artifact has no TVM runtime, so the packed calling convention is left out: the lowering
pipeline is TVM's own less AnnotateEntryFunc, SplitHostDevice, MakePackedAPI and LowerTVMBuiltin.
A kernel becomes `void k(float *in..., float *out..., int64_t T)` with noalias pointers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import s_tir, tirx

from edgeseq.lower import mathlib

# Intermediates of a kernel above this many bytes go to the arena: stacks of phones are small.
STACK_BYTES = 512


@dataclasses.dataclass(frozen=True)
class Signature:
    """The parameters of a scheduled kernel, in the order in which C passes them.

    Args:
        buffers: Buffer parameters: inputs, then outputs.
        scratch: Intermediates that the caller provides.
        scalars: int64 parameters: those the function has, then the symbols of its shapes.
    """

    buffers: tuple[Any, ...]
    scratch: tuple[Any, ...]
    scalars: tuple[Any, ...]


def signature(func: Any) -> Signature:
    """Parameters of a scheduled PrimFunc."""
    buffers = tuple(p for p in func.params if tirx.buffer.is_buffer_var(p))
    scalars = [p for p in func.params if not tirx.buffer.is_buffer_var(p)]
    allocated = list(func.body.block.alloc_buffers)
    for buffer in (*buffers, *allocated):
        for dim in buffer.ty.shape:
            for var in _variables(dim):
                if not any(var.same_as(known) for known in scalars):
                    scalars.append(var)
    scratch = tuple(b for b in allocated if not _fits_stack(b))
    return Signature(buffers, scratch, tuple(scalars))


def _variables(expr: Any) -> list[Any]:
    if isinstance(expr, tirx.Var):
        return [expr]
    parts = (getattr(expr, name, None) for name in ("a", "b", "value"))
    return [v for part in parts if isinstance(part, tvm.ir.Expr) for v in _variables(part)]


def _fits_stack(buffer: Any) -> bool:
    total = np.dtype(str(buffer.ty.dtype).replace("bool", "uint8")).itemsize
    for dim in buffer.ty.shape:
        if not isinstance(dim, (int, tirx.IntImm)):
            return False
        total *= int(dim)
    return total <= STACK_BYTES


def with_pointers(func: Any, name: str, target: Any) -> Any:
    """Replace buffer parameters by raw pointers and give the function its symbol.

    Args:
        func: A scheduled PrimFunc.
        name: The C symbol.
        target: The tvm Target the function is for.
    """
    # FuseTIR leaves symbolic element offsets: bind each buffer to a compact one of the same shape.
    compact = {
        p: tirx.decl_buffer(list(p.ty.shape), p.ty.dtype, name=p.name)
        for p in func.params
        if tirx.buffer.is_buffer_var(p)
    }
    func = func.specialize(compact)
    found = signature(func)
    pointers, declarations = [], []
    for p in (*found.buffers, *found.scratch):
        element = tvm.ir.PrimType(str(p.ty.dtype))
        pointer = tirx.Var(f"{p.name}_p", tvm.ir.PointerType(element, "global"))
        pointers.append(pointer)
        declarations.append(tirx.DeclBuffer(p, data=pointer))
    realize = func.body
    root = realize.block
    block = s_tir.SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        tirx.SeqStmt([*declarations, root.body]),
        root.init,
        [b for b in root.alloc_buffers if not any(b.same_as(s) for s in found.scratch)],
        root.match_buffers,
        root.annotations,
    )
    body = s_tir.SBlockRealize(realize.iter_values, realize.predicate, block)
    out = tirx.PrimFunc([*pointers, *found.scalars], body, attrs=func.attrs)
    out = out.with_attr("global_symbol", name).with_attr("target", target)
    return out.with_attr("tirx.noalias", True)


def lower(module: Any, target: Any) -> Any:
    """Run the TIR pipeline that ends in the raw C calling convention."""
    st, tr = s_tir.transform, tirx.transform
    passes = [
        st.CanonicalizeLoop(),
        st.LowerInitBlock(),
        st.PlanAndUpdateBufferAllocationLocation(),
        st.ConvertBlocksToOpaque(),
        st.CompactBufferAllocation(),
        st.LowerMatchBuffer(),
        st.StmtSimplify(),
        st.LowerOpaqueBlock(),
        tr.FlattenBuffer(),
        tr.NarrowDataType(32),
        st.LoopPartition(),
        tr.VectorizeLoop(True),
        tr.StorageRewrite(),
        st.HoistIfThenElse(),
        tr.UnrollLoop(),
        st.RenormalizeSplitPattern(),
        tr.StmtSimplify(),
        tr.RemoveNoOp(),
        st.RewriteUnsafeSelect(),
        tr.CommonSubexprElim(),
        tr.VerifyMemory(),
        tr.LowerIntrin(),
    ]
    with target:
        return tvm.transform.Sequential(passes)(module)


def object_code(funcs: Mapping[str, Any], target: Any) -> bytes:
    """Compile scheduled functions (symbol -> PrimFunc) into one relocatable object."""
    mathlib.install()
    module = _module(funcs, target)
    built = tvm.get_global_func("target.build.llvm")(lower(module, target), target)
    return _written(built)


def c_source(funcs: Mapping[str, Any]) -> str:
    """Return scheduled functions as plain C99: static functions, no includes."""
    mathlib.install()
    target = tvm.target.Target({"kind": "c"})
    module = _module(funcs, target)
    built = tvm.get_global_func("target.build.c")(lower(module, target), target)
    return _plain_c(built.inspect_source())


def _module(funcs: Mapping[str, Any], target: Any) -> Any:
    return tvm.IRModule(
        {tvm.ir.GlobalVar(name): with_pointers(f, name, target) for name, f in funcs.items()}
    )


def _written(built: Any) -> bytes:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.o"
        built.write_to_file(str(path))
        return path.read_bytes()


def _plain_c(source: str) -> str:
    """Strip what TVM's C code generator adds for its own runtime."""
    source = re.sub(r"(?m)^#(include|define|ifdef|endif|ifndef|if|else|undef).*\n", "", source)
    source = re.sub(r'(?m)^extern "C".*\n', "", source)
    source = re.sub(r"(?m)^void\* __tvm_ffi__library_ctx.*\n", "", source)
    source = re.sub(r"TVM_DLL [^{;]*;\n", "", source)  # forward declarations
    source = re.sub(r"(?:TVM_DLL )?(void|int32_t) (\w+)\(([^)]*)\) \{", _static_function, source)
    return source.strip() + "\n"


def _static_function(match: re.Match[str]) -> str:
    params = re.sub(r"\* (\w+)", r"* ES_RESTRICT \1", match[3])
    return f"static ES_NOINLINE ES_NO_CALLS {match[1]} {match[2]}({params}) {{"
