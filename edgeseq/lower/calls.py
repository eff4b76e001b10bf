"""A laid-out program -> lines of C, one call each, and the kernel wrappers they call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from edgeseq.kernels._family import Arg, Kernel, Role
from edgeseq.lower import shares
from edgeseq.lower.arena import ALIGN, Layout, Place, Space
from edgeseq.lower.interface import CTYPES, Interface
from edgeseq.lower.program import Call, CopyCall, KernelCall, LoopCall, TirCall, View
from edgeseq.lower.scan_body import Body
from edgeseq.lower.scan_print import Function, function
from edgeseq.lower.size import Size
from edgeseq.lower.weights import Weights


@dataclasses.dataclass(frozen=True)
class Wrapper:
    """One kernel at one set of sizes: constants where they are known.

    Args:
        kernel: The kernel.
        sizes: Values of its int parameters.
        null: Which pointer parameters are always NULL.
        cuts: Where the shares of threads lie; (): one thread computes all.
    """

    kernel: Kernel
    sizes: tuple[Size, ...]
    null: tuple[bool, ...]
    cuts: tuple[int, ...] = ()

    @property
    def takes_t(self) -> bool:
        """Whether a size depends on time."""
        return any(not s.known for s in self.sizes)

    def pointers(self) -> list[Arg]:
        """The parameters that are passed."""
        return [a for a, null in zip(self.kernel.args, self.null, strict=True) if not null]

    def parameters(self) -> str:
        """C parameter list."""
        team = ["const es_team *team"] if self.cuts else []
        return ", ".join([*self.declarations(), *team])

    def declarations(self) -> list[str]:
        """What the kernel is called with."""
        params = [
            f"{'const ' if a.role in (Role.IN, Role.CONST) else ''}{CTYPES[a.dtype]} *{a.name}"
            for a in self.pointers()
        ]
        return [*params, *(["int64_t T"] if self.takes_t else [])]

    def text(self, name: str, storage: str) -> str:
        """The function `name` in C, `storage` before it."""
        if self.cuts:
            return shares.text(self, name, storage)
        return f"{storage} void {name}({self.parameters()}) {{\n    {self.body()}\n}}"

    def body(self) -> str:
        """The call of the kernel."""
        return self.call(self.kernel.name, "", [])

    def call(self, kernel: str, prefix: str, more: Sequence[str]) -> str:
        """The call of a kernel whose pointers and T stand behind a prefix."""
        sizes = [s.c() if s.known else f"(int){s.c()}" for s in self.sizes]
        pointers = [
            "NULL" if null else f"{prefix}{a.name}"
            for a, null in zip(self.kernel.args, self.null, strict=True)
        ]
        return f"es_{kernel}({', '.join([*sizes, *pointers, *more])});"


@dataclasses.dataclass(frozen=True)
class Names:
    """Symbols of one model, and the functions of its loops: inner ones first."""

    prefix: str
    wrappers: dict[Wrapper, str] = dataclasses.field(default_factory=dict)
    loops: dict[Body, Function] = dataclasses.field(default_factory=dict)

    def wrapper(self, wrapper: Wrapper) -> str:
        """Name of a wrapper, the same for equal ones."""
        if wrapper not in self.wrappers:
            count = sum(w.kernel.name == wrapper.kernel.name for w in self.wrappers)
            self.wrappers[wrapper] = f"{wrapper.kernel.name}_{count}"
        return self.wrappers[wrapper]

    def tir(self, kernel: str) -> str:
        """Symbol of a kernel that TVM generated."""
        return f"{self.prefix}_t_{kernel}"


@dataclasses.dataclass(frozen=True)
class Printer:
    """Prints the calls of one entry.

    Args:
        interface: The model from outside.
        layout: The program.
        weights: Where constants stand.
        names: Symbols, shared by the entries of a model.
        dispatch: Kernels are called through the table `k`, and weights are one blob `w`.
    """

    interface: Interface
    layout: Layout
    weights: Weights
    names: Names
    dispatch: bool

    def lines(self) -> Iterator[str]:
        """One statement each."""
        offset = Size.of(self.layout.arena_size)
        for i, sizes in enumerate(self.layout.slot_sizes):
            yield f"const int64_t slot{i} = {offset.c()};"
            largest = sizes[0].c()
            for other in sizes[1:]:
                largest = f"ES_MAX({largest}, {other.c()})"
            offset = Size(0, f"slot{i} + ES_ALIGN({largest})")
        for call in self.layout.calls:
            yield self.call(call)

    def arena_bytes(self) -> list[str]:
        """Statements that return the size of the arena for T steps."""
        known = self.layout.arena_size
        total = str(known if self.layout.slot_sizes else max(known, ALIGN))  # never nothing
        for sizes in self.layout.slot_sizes:
            largest = sizes[0].c()
            for other in sizes[1:]:
                largest = f"ES_MAX({largest}, {other.c()})"
            total += f" + ES_ALIGN({largest})"
        return [f"return (size_t)({total});"]

    def call(self, call: Call) -> str:
        """One call as a statement."""
        if isinstance(call, CopyCall):
            return self.copy(call)
        if isinstance(call, TirCall):
            views = (*call.reads, *call.writes, *call.scratch)
            args = [f"(void *)({self.at(v)})" for v in views]
            scalars = [f"(int64_t)({s.c()})" for s in call.scalars]
            return f"{self.names.tir(call.kernel)}({', '.join([*args, *scalars])});"
        return self.loop(call) if isinstance(call, LoopCall) else self.kernel(call)

    def loop(self, call: LoopCall) -> str:
        """The call of a loop; its function is made on the way."""
        body, m = call.body, self.interface.name
        if body not in self.names.loops:
            step = _StepPrinter(
                self.interface, body.layout, self.weights, self.names, self.dispatch
            )
            self.names.loops[body] = function(m, body, list(step.lines()), self.dispatch)
        pointers = [self.at(v) for v in (*call.scratch, *call.reads, *call.writes)]
        return self.names.loops[body].call(pointers)

    def copy(self, call: CopyCall) -> str:
        """A copy of rows."""
        to, source = self.at(call.writes[0]), self.at(call.reads[0])
        m = self.interface.name
        if call.source.count == Size.of(1):
            return (
                f"{m}_copy((uint8_t *)({to}), (const uint8_t *)({source}), {call.source.row.c()});"
            )
        return (
            f"{m}_copy_rows((uint8_t *)({to}), {call.target.stride.c()}, "
            f"(const uint8_t *)({source}), {call.source.stride.c()}, {call.source.row.c()}, "
            f"{call.source.count.c()});"
        )

    def kernel(self, call: KernelCall) -> str:
        """A hand-written kernel, by its wrapper."""
        choice = call.choice
        reads, writes, consts = iter(call.reads), iter(call.writes), iter(call.consts)
        in_values, out_values = iter(choice.inputs), iter(choice.outputs)
        args: list[str | None] = []
        for arg in choice.kernel.args:
            view: View | None
            match arg.role:
                case Role.IN:
                    view = next(reads) if next(in_values) is not None else None
                case Role.OUT:
                    view = next(writes) if next(out_values) is not None else None
                case Role.CONST:
                    view = next(consts)
                case Role.SCRATCH:
                    view = call.scratch[0] if call.scratch else None
            args.append(None if view is None else self.typed(view, arg))
        sizes = tuple(choice.sizes[n] for n in choice.kernel.sizes)
        wrapper = Wrapper(choice.kernel, sizes, tuple(a is None for a in args), choice.cuts)
        name = self.names.wrapper(wrapper)
        passed = [a for a in args if a is not None] + (["T"] if wrapper.takes_t else [])
        passed += [f"{self.interface.name.upper()}_TEAM(state)"] if wrapper.cuts else []
        callee = f"k->{name}" if self.dispatch else f"{self.names.prefix}_{name}"
        note = f" /* {choice.node.name} */" if choice.node.name else ""
        return f"{callee}({', '.join(passed)});{note}"

    def typed(self, view: View, arg: Arg) -> str:
        """A view as the pointer a parameter wants."""
        const = "const " if arg.role in (Role.IN, Role.CONST) else ""
        return f"({const}{CTYPES[arg.dtype]} *)({self.at(view)})"

    def at(self, view: View) -> str:
        """Byte address of a view."""
        place = self.layout.place(view)
        base = self.base(view, place)
        return base if place.offset == Size.of(0) else f"{base} + {place.offset.c()}"

    def base(self, view: View, place: Place) -> str:
        """Where the memory that a view is in starts."""
        match place.space:
            case Space.INPUT:
                return f"(const uint8_t *){self.interface.inputs[place.index].c_name}"
            case Space.OUTPUT:
                return f"(uint8_t *){self.interface.outputs[place.index].c_name}"
            case Space.STATE:
                return f"s + {self.interface.states[place.index].offset}"
            case Space.ARENA:
                return "a"
            case Space.SLOT:
                return f"a + slot{place.index}"
            case Space.CONSTANT:
                index = self.weights.index[view.buffer]
                if self.dispatch:
                    return f"w + {self.weights.offsets[index]}"
                return f"(const uint8_t *){self.names.prefix}_w{index}"


class _StepPrinter(Printer):
    """Prints one step of a loop: its inputs are `i<k>`, its outputs `o<k>`."""

    def base(self, view: View, place: Place) -> str:
        """Where the memory that a view is in starts."""
        if place.space in (Space.INPUT, Space.OUTPUT):
            return f"{'i' if place.space is Space.INPUT else 'o'}{place.index}"
        return super().base(view, place)
