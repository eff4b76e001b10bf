"""All of lowering: a prepared model -> programs, and programs -> the files of a target."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import tvm

from edgeseq.ir import facts
from edgeseq.kernels.schedules import cpu
from edgeseq.lower import (
    arena,
    fuse,
    program,
    relax_import,
    scan_body,
    scan_functions,
    weights,
)
from edgeseq.lower.arena import Layout, Port, Space
from edgeseq.lower.costs import Costing
from edgeseq.lower.emit import FAST_MATH
from edgeseq.lower.emit import emit as emit
from edgeseq.lower.interface import HEADER, Interface, State, Tensor, c_names
from edgeseq.lower.program import Call, KernelCall, LoopCall


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
        shares = [(c.choice.node.name, c.choice.cuts) for c in self.kernel_calls()]
        return repr(self.interface) + (repr(shares) if self.interface.threads > 1 else "")

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
    model: ir.Model,
    name: str,
    model_hash: str,
    modes: Modes,
    passes: Sequence[str],
    costing: Costing | None = None,
) -> Lowered:
    """Lower a prepared model to programs; without `costing` all weights stay dense."""
    interface = describe(model, name, model_hash, modes, passes)
    if costing is not None:
        interface = dataclasses.replace(interface, threads=costing.threads)
        costing = dataclasses.replace(costing, steps=modes.step)
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
        imported = relax_import.import_graph(flat, bind, costing)
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
