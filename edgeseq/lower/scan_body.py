"""The body of a Scan as a program of its own, planned once and run once per step.

The states alternate between two places, so that a step reads the old ones whole while it writes
the new ones, and nothing is copied: the first step reads the caller's, the last one writes to
where the final states belong. The scratch of a loop holds the second places, then the arena of
its body.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from edgeseq.lower import arena
from edgeseq.lower.arena import Layout, Port, Space
from edgeseq.lower.program import Program
from edgeseq.lower.scan import Scan
from edgeseq.lower.size import Size


@dataclasses.dataclass(frozen=True)
class Step:
    """How a sequence is walked: bytes from one step to the next, and from which end."""

    stride: Size
    backwards: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """What the loop does in each step.

    Args:
        name: Suffix of its C function.
        node: Name of the Scan.
        layout: The calls. Inputs: states, steps, captured values; outputs: states, steps.
        kernels: Symbol -> scheduled PrimFunc.
        trips: Number of steps.
        states: Bytes of each state.
        inputs: The sequences that are read.
        outputs: The sequences that are written.
        captured: Number of values that every step reads whole.
    """

    name: str
    node: str
    layout: Layout
    kernels: Mapping[str, Any]
    trips: Size
    states: tuple[Size, ...]
    inputs: tuple[Step, ...]
    outputs: tuple[Step, ...]
    captured: int

    @property
    def once(self) -> bool:
        """Whether there is just one step; then the second places are not needed."""
        return self.trips == Size.of(1)

    def spares(self) -> list[Size]:
        """Where in the scratch the second place of each state is, and where the arena starts."""
        offsets = [Size.of(0)]
        for size in self.states:
            offsets.append(offsets[-1] + (Size.of(0) if self.once else _aligned(size)))
        return offsets

    def scratch(self) -> Size:
        """Bytes of scratch; a slot counts with all the sizes it may have."""
        total = self.spares()[-1] + self.layout.arena_size
        for sizes in self.layout.slot_sizes:
            for size in sizes:
                total = total + _aligned(size)
        return total


def plan(scan: Scan, program: Program, trips: Size, name: str) -> Body:
    """Place the buffers of a body.

    Args:
        scan: The node.
        program: Its body.
        trips: Number of steps.
        name: Suffix of its C function.
    """
    count = len(program.input_sizes)
    ports = [Port(Space.INPUT, i) for i in range(count)]
    results = [Port(Space.OUTPUT, i) for i in range(len(program.outputs))]
    states, steps = len(scan.initial), len(scan.inputs)
    return Body(
        name=name,
        node=scan.node.name or scan.node.op_type,
        layout=arena.plan(program, ports, results),
        kernels=program.kernels,
        trips=trips,
        states=program.input_sizes[:states],
        inputs=_steps(program.input_sizes[states:], [s.backwards for s in scan.inputs]),
        outputs=_steps(program.output_sizes[states:], [s.backwards for s in scan.outputs]),
        captured=count - states - steps,
    )


def _steps(sizes: tuple[Size, ...], backwards: list[bool]) -> tuple[Step, ...]:
    return tuple(Step(size, way) for size, way in zip(sizes, backwards, strict=False))


def _aligned(size: Size) -> Size:
    if size.known:
        return Size.of(arena.align(size.constant))
    return Size(0, f"((({size.c()} + 63) / 64) * 64)")
