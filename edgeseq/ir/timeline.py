"""How time runs through a graph: which axis of which value is time, and what needs memory.

Every value is one of four things. It does not depend on time (no track); it has a value at each
step (`Along`); it is what holds after the last step, like a recurrence's final state (`Latest`);
or it only describes lengths (`Length`). An operator that mixes steps is either a carrier, whose
past can be kept in a state, or a problem, which forbids running step by step.

A padded past makes a value longer than time: `Along(axis, lead=2)` has T + 2 steps, the first two
of them before the present chunk. A valid convolution or a slice shortens the lead again.
"""

from __future__ import annotations

import dataclasses

import onnx_ir as ir


@dataclasses.dataclass(frozen=True)
class Along:
    """A value at every step, on this axis, with `lead` earlier steps in front."""

    axis: int
    lead: int = 0


@dataclasses.dataclass(frozen=True)
class Latest:
    """A value that holds after the last step."""


@dataclasses.dataclass(frozen=True)
class Length:
    """A number or shape that depends on how long time is, but not on the data."""


Track = Along | Latest | Length | None


class MixesTimeError(Exception):
    """An operator mixes steps in a way that no state can carry."""


@dataclasses.dataclass(frozen=True)
class Past:
    """A node (Pad, Concat or Conv) that puts `steps` past steps before its input `operand`.

    Args:
        node: The node.
        axis: The time axis of the operand.
        operand: Which input runs along time.
        steps: How many steps are put in front.
        lead: The operand's own lead.
        trim: The Slice after the node that drops steps beyond the end, when there is one.
    """

    node: ir.Node
    axis: int
    operand: int
    steps: int
    lead: int
    trim: ir.Node | None = None


@dataclasses.dataclass
class Timeline:
    """The tracks of all values of a graph, the carriers in order, and the problems.

    `sums` are the CumSums over time and the Ranges that count its steps, `carried` the Slices that
    make the next value of a past which is a state already.
    """

    tracks: dict[ir.Value, Track] = dataclasses.field(default_factory=dict)
    recurrences: list[ir.Node] = dataclasses.field(default_factory=list)
    pasts: list[Past] = dataclasses.field(default_factory=list)
    sums: list[ir.Node] = dataclasses.field(default_factory=list)
    carried: set[ir.Node] = dataclasses.field(default_factory=set)
    problems: list[tuple[ir.Node, str]] = dataclasses.field(default_factory=list)

    def track(self, value: ir.Value | None) -> Track:
        """Return the track of a value; values that were never met do not depend on time."""
        return None if value is None else self.tracks.get(value)

    def along(self, node: ir.Node, place: int) -> Along | None:
        """Return the track of an input when it runs along time."""
        track = self.track(node.inputs[place]) if place < len(node.inputs) else None
        return track if isinstance(track, Along) else None
