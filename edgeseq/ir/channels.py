"""Which positions of which axes of a model belong together: who removes one must remove them all.

Unit 3 of a GRU is row 3 of every gate, column 3 of the recurrent matrix, channel 3 of the state and
of all that is computed from it position by position, and column 3 of the weights that read those.
Such a set of (value, axis, position) is a channel. One that is an interface, or that an operator
mixes with others in a way that no weight undoes, is fixed; the rules are in `channel_rules`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import channel_rules, facts
from edgeseq.ir.infer import bodies
from edgeseq.ir.passes import walk
from edgeseq.ir.ties import FIXED, Axis, Ties

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of a model; each has a number, and `FIXED` is that of all that must stay.

    Args:
        writes: Axes of weights along which they compute channels.
        reads: Axes of weights along which they sum up channels.
        numbers: Axis of a value -> the channel of each of its positions.
        why: For each of `writes` whose channels all must stay: what needs them.
    """

    writes: tuple[Axis, ...]
    reads: tuple[Axis, ...]
    numbers: dict[Axis, Array]
    why: dict[Axis, str]

    def removable(self) -> Array:
        """Return, sorted, the channels that weights compute, weights read, and nothing fixes."""
        found: Array = np.intersect1d(self._of(self.writes), self._of(self.reads))
        free: Array = found[found != FIXED]
        return free

    def unread(self) -> Array:
        """Return, sorted, the channels that every weight multiplies by zero: they do nothing."""
        live = [
            self.numbers[axis][np.moveaxis(data(axis.value), axis.number, 0).reshape(n, -1).any(1)]
            for axis in self.reads
            if (n := len(self.numbers[axis]))
        ]
        found: Array = np.setdiff1d(self._of(self.reads), np.concatenate([[FIXED], *live]))
        return found

    def layers(self) -> dict[Axis, Array]:
        """Return each removable channel under the first weight that computes it, sorted."""
        left, found = self.removable(), {}
        for axis in self.writes:
            own = np.intersect1d(self.numbers[axis], left)
            if len(own):
                found[axis] = own
                left = np.setdiff1d(left, own)
        return found

    def _of(self, axes: tuple[Axis, ...]) -> Array:
        return np.unique(np.concatenate([[FIXED], *(self.numbers[axis] for axis in axes)]))


def find(model: ir.Model) -> Channels:
    """Return the channels of a model whose sizes are bound and whose states are marked."""
    ties = Ties()
    for node in model.graph:
        channel_rules.apply(node, ties)
    _fix_interface(model, ties)
    for value in _captured(model.graph):
        ties.fix(value)
    first = ties.solve()
    ties.fold(first)
    numbers = ties.solve()
    writes = tuple(dict.fromkeys(a for a in ties.writes if a in numbers))
    reads = tuple(dict.fromkeys(a for a in ties.reads if a in numbers))
    why = {axis: _reason(axis, ties) for axis in writes if not numbers[axis].any()}
    return Channels(writes, reads, numbers, why)


def data(value: ir.Value) -> Array:
    """Return the numbers of a weight."""
    array: Array = value.const_value.numpy()
    return array


def _fix_interface(model: ir.Model, ties: Ties) -> None:
    """What goes in and out stays as it is, except states: both ends of one shrink together."""
    outputs = {str(value.name): value for value in model.graph.outputs}
    carried = set()
    for value in model.graph.inputs:
        state = facts.get(value, facts.State)
        target = None if state is None else outputs.get(state.output)
        if target is None:
            ties.fix(value)
        else:
            ties.same(value, target)
            carried.add(target)
    for value in outputs.values():
        if value not in carried:
            ties.fix(value)


def _captured(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield what the bodies of nodes use."""
    for node in graph:
        for body in bodies(node):
            for inner in walk(body):
                yield from (value for value in inner.inputs if value is not None)
            yield from body.outputs


def _reason(axis: Axis, ties: Ties) -> str:
    """Say which node, or interface, fixes what a weight computes: the first one after it."""
    readers = {use.node for reader in ties.reads for use in reader.value.uses()}
    pending = [use.node for use in axis.value.uses()]
    seen = set(pending)
    for node in pending:  # grows
        for value in node.outputs:
            if value.is_graph_output():
                return f"they reach the output '{value.name}'"
            for use in value.uses():
                if use.node in ties.mixers:
                    return f"'{use.node.name}' ({use.node.op_type}) needs all of them"
                if use.node not in seen | readers:
                    seen.add(use.node)
                    pending.append(use.node)
    return "they are tied to values that cannot change"
