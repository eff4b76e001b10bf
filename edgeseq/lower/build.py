"""All of lowering: a prepared model -> programs, and programs -> the files of a target."""

from __future__ import annotations

import base64
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import tvm

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.kernels.schedules import cpu
from edgeseq.lower import (
    arena,
    fuse,
    program,
    relax_import,
    scan_body,
    scan_functions,
    sources,
    tir,
    weights,
)
from edgeseq.lower.arena import Layout, Port, Space
from edgeseq.lower.interface import HEADER, Interface, State, Tensor, c_names
from edgeseq.lower.program import Call, KernelCall, LoopCall
from edgeseq.lower.toolchain import Toolchain
from edgeseq.targets._target import Isa, Target

# Contraction and reassociation let LLVM vectorise reductions; nothing that changes NaN or Inf.
FAST_MATH = {"fast-math-contract": True, "fast-math-reassoc": True}


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A model as programs, before any target.

    Args:
        interface: The model from outside.
        layouts: `step` and/or `run`.
        weights: The constants of both.
        kernels: Symbol -> scheduled PrimFunc.
        reasons: Node name -> why no hand-written kernel computes it.
    """

    interface: Interface
    layouts: Mapping[str, Layout]
    weights: weights.Weights
    kernels: Mapping[str, Any]
    reasons: Mapping[str, str]

    def fingerprint(self) -> str:
        """Tells apart whatever leads to different files; the model is in it by its hash."""
        return repr(self.interface)

    def arena_bytes(self, steps: int) -> int:
        """Size of the arena for this many steps."""
        layout = self.layouts.get("run") if steps > 1 else None
        layout = layout or self.layouts.get("step") or self.layouts["run"]
        slots = [max(x.at({"T": steps}) for x in sizes) for sizes in layout.slot_sizes]
        return max(layout.arena_size + sum(map(arena.align, slots)), arena.ALIGN)

    def kernel_calls(self) -> list[KernelCall]:
        """The calls of hand-written kernels of the last entry (`step` where there is one)."""
        layout = self.layouts.get("step") or self.layouts["run"]
        return [c for c in _flat(layout.calls) if isinstance(c, KernelCall)]


def _flat(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls, and those in the bodies of loops."""
    for call in calls:
        yield call
        if isinstance(call, LoopCall):
            yield from _flat(call.body.layout.calls)


@dataclasses.dataclass(frozen=True)
class Modes:
    """Which entries to build.

    Args:
        step: Build `step` (T = 1 where there is a time axis).
        reason: Why not.
        symbol: The time symbol; None: the model is one step, and `run` repeats it.
        low: Least T.
        high: Largest T.
    """

    step: bool
    reason: str | None
    symbol: str | None
    low: int
    high: int


def lower(
    model: ir.Model, name: str, model_hash: str, modes: Modes, passes: Sequence[str]
) -> Lowered:
    """Lower a prepared model to programs."""
    interface = describe(model, name, model_hash, modes, passes)
    flat = scan_functions.inlined(model)
    programs: dict[str, program.Program] = {}
    reasons: dict[str, str] = {}
    bindings: dict[str, dict[str, int]] = {}
    if modes.step:
        bindings["step"] = {} if modes.symbol is None else {modes.symbol: 1}
    if modes.symbol is not None:
        bindings["run"] = {}
    kernels: dict[str, Any] = {}
    for entry, bind in bindings.items():
        imported = relax_import.import_graph(flat, bind)
        built = _program(imported, f"{entry}_")
        programs[entry] = built
        kernels.update(built.kernels)
        reasons.update({n.name or n.op_type: why for n, why in imported.reasons.items()})
    ports = _ports(model, interface)
    layouts = {entry: arena.plan(p, *ports) for entry, p in programs.items()}
    return Lowered(interface, layouts, weights.collect(layouts.values()), kernels, reasons)


def _program(imported: relax_import.Imported, prefix: str) -> program.Program:
    """Fuse a graph and flatten it; the bodies of its loops first."""
    bodies = {}
    for i, (name, loop) in enumerate(imported.loops.items()):
        own = f"{prefix}scan{i}"
        body = _program(loop.imported, f"{own}_")
        bodies[name] = scan_body.plan(loop.scan, body, loop.trips, own)
    fused = fuse.fuse(imported.module, _host_target())
    return program.build(imported, fused, cpu.schedule, prefix, bodies)


def _host_target() -> Any:
    return tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3", **FAST_MATH})


def describe(
    model: ir.Model, name: str, model_hash: str, modes: Modes, passes: Sequence[str]
) -> Interface:
    """The interface of a prepared model."""
    states, offset = [], HEADER
    by_output: set[str] = set()
    for value in model.graph.inputs:
        fact = facts.get(value, facts.State)
        if fact is None:
            continue
        assert value.name is not None
        by_output.add(fact.output)
        shape = tuple(int(d) for d in relax_import.static_shape(value))
        initial = facts.get(value, facts.InitialState)
        init = None if initial is None else base64.b64decode(initial.data)
        state = State(value.name, fact.output, relax_import.dtype_of(value), shape, offset, init)
        states.append(state)
        offset = arena.align(offset + state.nbytes)
    inputs = [v for v in model.graph.inputs if facts.get(v, facts.State) is None]
    outputs = [v for v in model.graph.outputs if v.name not in by_output]
    names = c_names([str(v.name) for v in (*inputs, *outputs)])
    tensors = [_tensor(v, c) for v, c in zip((*inputs, *outputs), names, strict=True)]
    return Interface(
        name=name,
        inputs=tuple(tensors[: len(inputs)]),
        outputs=tuple(tensors[len(inputs) :]),
        states=tuple(states),
        model_hash=model_hash,
        step=modes.step,
        step_reason=modes.reason,
        graph=modes.symbol is not None,
        min_t=modes.low,
        max_t=modes.high,
        passes=tuple(passes),
    )


def _tensor(value: ir.Value, c_name: str) -> Tensor:
    shape = relax_import.symbolic_shape(value)
    axes = [i for i, d in enumerate(shape) if isinstance(d, str)]
    assert value.name is not None
    return Tensor(
        value.name, c_name, relax_import.dtype_of(value), shape, axes[0] if axes else None
    )


def _ports(model: ir.Model, interface: Interface) -> tuple[list[Port], list[Port]]:
    inputs = {t.name: Port(Space.INPUT, i) for i, t in enumerate(interface.inputs)}
    inputs |= {s.input: Port(Space.STATE, i) for i, s in enumerate(interface.states)}
    outputs = {t.name: Port(Space.OUTPUT, i) for i, t in enumerate(interface.outputs)}
    outputs |= {s.output: Port(Space.STATE, i) for i, s in enumerate(interface.states)}
    return (
        [inputs[str(v.name)] for v in model.graph.inputs],
        [outputs[str(v.name)] for v in model.graph.outputs],
    )


def emit(lowered: Lowered, target: Target, isa: str | None, folder: Path) -> list[str]:
    """Write the files of one target into a folder and return their names."""
    if target.source_only:
        return _emit_source(lowered, folder)
    levels = target.dispatched(isa)
    if not levels:
        known = ", ".join(i.level for i in target.isas)
        raise UsageError(f"target '{target.name}' has no level '{isa}'", fix=f"--isa: {known}")
    return _emit_native(lowered, target, levels, folder)


def _emit_source(lowered: Lowered, folder: Path) -> list[str]:
    m = lowered.interface.name
    generated = tir.c_source(_named(lowered))
    header, source = sources.single(lowered.interface, lowered.layouts, lowered.weights, generated)
    (folder / f"{m}.h").write_text(header)
    (folder / f"{m}.c").write_text(source)
    return [f"{m}.c", f"{m}.h"]


def _named(lowered: Lowered) -> dict[str, Any]:
    return {f"{lowered.interface.name}_t_{n}": f for n, f in lowered.kernels.items()}


def _emit_native(
    lowered: Lowered, target: Target, levels: Sequence[Isa], folder: Path
) -> list[str]:
    m = lowered.interface.name
    text = sources.native(
        lowered.interface, lowered.layouts, lowered.weights, [i.header for i in levels]
    )
    with tempfile.TemporaryDirectory(prefix="edgeseq-") as temporary:
        work = Path(temporary)
        objects = _compile_all(lowered, target, levels, text, work)
        tools = Toolchain(target.triple, work)
        tools.archive(objects, f"lib{m}.a")
        exports = [f"{m}_{n}" for n in EXPORTS if n != "step" or lowered.interface.step]
        tools.shared(objects, f"lib{m}.so", exports)
        for name in (f"lib{m}.a", f"lib{m}.so"):
            (folder / name).write_bytes((work / name).read_bytes())
    (folder / f"{m}.h").write_text(text.header)
    return [f"{m}.h", f"lib{m}.a", f"lib{m}.so"]


EXPORTS = [
    "state_size",
    "arena_size",
    "init",
    "reset",
    "step",
    "run",
    "save",
    "load",
    "version",
    "strerror",
]


def _compile_all(
    lowered: Lowered, target: Target, levels: Sequence[Isa], text: sources.Sources, work: Path
) -> list[str]:
    m = lowered.interface.name
    tools = Toolchain(target.triple, work)
    includes = [Path(), sources.kernel_folder()]
    objects: list[str] = []

    def compile_text(name: str, source: str, cpu_name: str) -> None:
        (work / f"{name}.c").write_text(source)
        tools.compile(f"{name}.c", f"{name}.o", cpu_name, includes)
        objects.append(f"{name}.o")

    (work / f"{m}.h").write_text(text.header)
    (work / "table.h").write_text(text.table)
    compile_text(f"{m}_entry", text.entry, levels[0].cpu)
    for level in levels:
        compile_text(f"{m}_{level.header}", text.kernels[level.header], level.cpu)
    (work / "weights.bin").write_bytes(lowered.weights.blob() or bytes(64))
    compile_text(f"{m}_weights", _incbin(f"{m}_weights", "weights.bin"), levels[0].cpu)
    if lowered.kernels:
        described = tvm.target.Target({**target.tvm, **levels[0].tvm, **FAST_MATH})
        (work / f"{m}_generated.o").write_bytes(tir.object_code(_named(lowered), described))
        objects.append(f"{m}_generated.o")
        compile_text(f"{m}_math", _math(), levels[0].cpu)
    return objects


def _incbin(symbol: str, path: str) -> str:
    return (
        f'__asm__(".section .rodata\\n.balign 64\\n.globl {symbol}\\n.hidden {symbol}\\n'
        f'{symbol}:\\n.incbin \\"{path}\\"\\n.previous\\n");\n'
    )


def _math() -> str:
    """What generated code may call: esm.h, and the two functions LLVM makes of loops."""
    hidden = '__attribute__((weak, visibility("hidden")))'
    return f"""#include <stddef.h>
#define ESM_FN {hidden}
#include "esm.h"
typedef uint64_t word __attribute__((aligned(1), may_alias));
{hidden} void *memset(void *to, int value, size_t bytes) {{
    unsigned char *p = to;
    const uint64_t all = 0x0101010101010101ULL * (unsigned char)value;
    for (; bytes >= 8; bytes -= 8, p += 8) *(word *)p = all;
    for (; bytes; bytes--) *p++ = (unsigned char)value;
    return to;
}}
{hidden} void *memcpy(void *to, const void *from, size_t bytes) {{
    unsigned char *p = to;
    const unsigned char *q = from;
    for (; bytes >= 8; bytes -= 8, p += 8, q += 8) *(word *)p = *(const word *)q;
    for (; bytes; bytes--) *p++ = *q++;
    return to;
}}
"""
