"""The operands of a recurrence outside of its loop: values, strides and constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir.recurrence_step import Operand, Recurrence
from edgeseq.lower import scan
from edgeseq.lower.select import Array, Shapes, constant, size
from edgeseq.lower.size import Size

_TIME = -2  # the name of the time axis beside those of the state


class NotAsItStandsError(Exception):
    """The kernel cannot read an operand as it stands; the text says why."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """Where an operand is outside of the loop: its value, and the stride of each named axis."""

    value: ir.Value
    strides: Mapping[int, Size]


@dataclasses.dataclass(frozen=True)
class Operands:
    """What a recurrence reads and writes.

    Args:
        scan: The node.
        recurrence: What its step computes.
        shapes: Shapes, with time bound or not.
    """

    scan: scan.Scan
    recurrence: Recurrence
    shapes: Shapes

    @property
    def dims(self) -> list[int]:
        """Of the state."""
        found = self.shapes.known(self.scan.initial[0])
        if found is None:
            raise NotAsItStandsError("the size of the state is not known")
        return list(found)

    @property
    def steps(self) -> Size:
        """T."""
        first = self.scan.inputs[0]
        return size(self.shapes.of(first.outer)[first.axis])

    @property
    def backwards(self) -> Size:
        """Whether the last step comes first."""
        return Size.of(int(self.scan.inputs[0].backwards))

    def placed(self, name: str) -> Placed | None:
        """An operand that changes with time, or is computed; None if there is none of this name."""
        operand = self.recurrence.operands.get(name)
        if operand is None or self.array(name) is not None:
            return None
        if operand.factor != 1.0:
            raise NotAsItStandsError(f"'{operand.value.name}' is scaled in the step")
        sequence = next(
            (s for s in (*self.scan.inputs, *self.scan.outputs) if s.inner is operand.value), None
        )
        labels = list(operand.labels)
        if sequence is None:
            if operand.value not in self.scan.captured:
                raise NotAsItStandsError(f"'{operand.value.name}' is computed in the step")
            return Placed(operand.value, self._strides(operand.value, labels))
        labels.insert(sequence.axis, _TIME)
        return Placed(sequence.outer, self._strides(sequence.outer, labels))

    def _strides(self, value: ir.Value, labels: Sequence[int | None]) -> dict[int, Size]:
        stride, found = Size.of(1), dict[int, Size]()
        for dim, label in reversed(list(zip(self.shapes.of(value), labels, strict=True))):
            if label is not None:
                found[label] = stride
            stride = stride * size(dim)
        return found

    def needed(self, name: str) -> Placed:
        """An operand that must change with time."""
        found = self.placed(name)
        if found is None:
            operand = self.recurrence.operands[name]
            raise NotAsItStandsError(f"'{operand.value.name}' is a constant")
        return found

    def array(self, name: str) -> Array | None:
        """A constant operand along all axes of the state, those that it has not being 1."""
        operand = self.recurrence.operands.get(name)
        data = None if operand is None else constant(operand.value)
        if operand is None or data is None:
            return None
        return self._along_state(operand, data)

    def _along_state(self, operand: Operand, data: Array) -> Array:
        axes = [i for i, label in enumerate(operand.labels) if label is not None]
        labels = [operand.labels[i] for i in axes]
        kept = data.reshape([data.shape[i] for i in axes]) * np.float32(operand.factor)
        order = sorted(range(len(labels)), key=lambda i: labels[i] or 0)
        shape = [1] * len(self.dims)
        for i in order:
            shape[labels[i] or 0] = kept.shape[i]
        return np.ascontiguousarray(kept.transpose(order).reshape(shape), np.float32)

    def dense(self, placed: Placed, axes: Sequence[int], name: str) -> None:
        """Check that these axes are adjacent in memory, the last one running fastest."""
        expected = 1
        for axis in reversed(axes):
            if self.dims[axis] == 1:
                continue
            if placed.strides.get(axis) != Size.of(expected):
                raise NotAsItStandsError(f"'{placed.value.name}' ({name}) is not dense")
            expected *= self.dims[axis]

    def leading(self, axes: int) -> int:
        """The stream axis, where the state has one before its last `axes`; -1: none."""
        lead = len(self.dims) - axes
        wide = [i for i in range(lead) if self.dims[i] != 1]
        if len(wide) > 1:
            raise NotAsItStandsError("the state has more than one axis of streams")
        return wide[0] if wide else -1

    def strides(self, prefix: str, placed: Placed | None, stream: int) -> dict[str, Size]:
        """`<prefix>_t` and `<prefix>_b`."""
        strides = {} if placed is None else placed.strides
        zero = Size.of(0)
        return {
            f"{prefix}_t": strides.get(_TIME, zero),
            f"{prefix}_b": strides.get(stream, zero) if stream >= 0 else zero,
        }

    def result(self) -> Placed | None:
        """Where y goes."""
        if not self.scan.outputs:
            return None
        if len(self.scan.outputs) > 1:
            raise NotAsItStandsError("more than one result")
        sequence = self.scan.outputs[0]
        operand = self.recurrence.operands.get("y")
        rank = range(len(self.dims))
        own = [None if self.dims[i] == 1 else i for i in rank]
        labels = list(own if operand is None else operand.labels)
        labels.insert(sequence.axis, _TIME)
        return Placed(sequence.outer, self._strides(sequence.outer, labels))
