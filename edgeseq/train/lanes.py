"""The values of many frames of many streams, and how each kind of part computes its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.interp.call import Call
from edgeseq.interp.program import Step
from edgeseq.train import plan
from edgeseq.train.delays import Delay, recurrent

Tensor = torch.Tensor


@dataclasses.dataclass(frozen=True)
class Many:
    """A value of each frame of each stream: `[frames, streams, *shape]`."""

    data: Tensor


Entry = Any  # Many; or one Tensor for all; or None, an optional input that is absent
Values = dict[ir.Value, Entry]


class Computes(Protocol):
    """Computes single nodes."""

    def compute(
        self, step: Step, inputs: list[Tensor | None], environment: Values
    ) -> Sequence[Tensor | None]:
        """Return the outputs of a node; its bodies see the environment."""

    def enter(self, step: Step, x: Tensor) -> Tensor:
        """Return the first input of a node as it is computed with; lanes are the first axes."""

    def recurrent(self, step: Step, call: Call, *inputs: Tensor | None) -> Sequence[Tensor | None]:
        """Return the outputs of a recurrent node, time being the first axis."""


class Run:
    """One run.

    Args:
        model: Computes single nodes.
        values: What is known before: constants and inputs.
        states: `[streams, elements]` before the first frame.
        frames: Number of frames.
        streams: Number of streams.
    """

    def __init__(
        self, model: Computes, values: Values, states: Tensor, frames: int, streams: int
    ) -> None:
        self.values = values
        self._model = model
        self._states = states
        self._frames = frames
        self._streams = streams
        self._last: dict[ir.Value, Tensor] = {}  # values of which only the last frame is known

    def lanes(self, value: ir.Value) -> Many:
        """Return a value for every frame and stream, repeated where it is constant."""
        entry = self.values[value]
        if isinstance(entry, Many):
            return entry
        return Many(entry.expand(self._frames, self._streams, *entry.shape))

    def next(self, delay: Delay) -> Tensor:
        """Return the value `[streams, *shape]` of a delay in the frame after the last."""
        last = [self._last[v] if v in self._last else self.lanes(v).data[-1] for v in delay.sources]
        flat = torch.cat([part.flatten(1) for part in last], 1)
        return _taken(flat, delay.index).reshape(self._streams, *_shape(delay))

    def first(self, delay: Delay) -> Tensor:
        """Return the value `[streams, *shape]` of a delay in the first frame."""
        return _taken(self._states, delay.start).reshape(self._streams, *_shape(delay))

    def part(self, part: plan.Part) -> None:
        """Compute the values of a part."""
        if isinstance(part, Delay):
            self._delay(part)
        elif isinstance(part, plan.OwnState):
            self._sequence(part)
        elif isinstance(part, plan.Cycle):
            self._cycle(part)
        else:
            self._step(part)

    def _step(self, step: Step) -> None:
        """Compute a node for all frames at once."""
        inputs = [None if v is None else self.values[v] for v in step.inputs]
        if inputs and isinstance(inputs[0], Many):
            inputs[0] = Many(self._model.enter(step, inputs[0].data))
        around = {v: self.values[v] for v in plan.captured(step)} if step.control else {}
        if not any(isinstance(x, Many) for x in (*inputs, *around.values())):
            self._put(step, self._model.compute(step, inputs, self.values))
            return
        if step.op is not None and step.call.op in ("Shape", "Size"):  # of every frame the same
            some = [x.data[0, 0] if isinstance(x, Many) else x for x in inputs]
            self._put(step, self._model.compute(step, some, {}))
            return
        many = [isinstance(x, Many) for x in inputs]
        merged = [x.data.flatten(0, 1) if isinstance(x, Many) else x for x in inputs]
        if recurrent(step) and not any(many[1:5]):
            made: Sequence[Tensor | None] = self._recurrent(step, merged, many)
        elif step.control:
            made = self._one_by_one(step, merged, many, around)
        else:
            made = self._mapped(step, merged, many)
        ends = (self._frames, self._streams)
        self._put(step, [None if y is None else Many(y.reshape(*ends, *y.shape[1:])) for y in made])

    def _put(self, step: Step, outputs: Sequence[Entry]) -> None:
        for value, output in zip(step.outputs, outputs, strict=False):
            if output is not None:
                self.values[value] = output

    def _mapped(
        self, step: Step, inputs: list[Tensor | None], many: list[bool]
    ) -> Sequence[Tensor | None]:
        moving = [x for x, m in zip(inputs, many, strict=True) if x is not None and m]
        present: list[bool] = []

        def one(*lanes: Tensor) -> tuple[Tensor, ...]:
            rest = iter(lanes)
            given = [next(rest) if m else x for x, m in zip(inputs, many, strict=True)]
            outputs = self._model.compute(step, given, {})
            present[:] = [y is not None for y in outputs]
            return tuple(y for y in outputs if y is not None)

        made = iter(torch.vmap(one)(*moving))
        return [next(made) if there else None for there in present]

    def _one_by_one(
        self, step: Step, inputs: list[Tensor | None], many: list[bool], around: Values
    ) -> list[Tensor]:
        """Bodies may decide by their values, so every frame of every stream runs alone."""
        fixed = {v: x for v, x in self.values.items() if not isinstance(x, Many)}
        moving = {v: x.data.flatten(0, 1) for v, x in around.items() if isinstance(x, Many)}
        rows = []
        for i in range(self._frames * self._streams):
            lane = [x[i] if x is not None and m else x for x, m in zip(inputs, many, strict=True)]
            seen = fixed | {v: x[i] for v, x in moving.items()}
            rows.append([y for y in self._model.compute(step, lane, seen) if y is not None])
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    def _delay(self, delay: Delay) -> None:
        """All sources are known for every frame: move them one frame on."""
        flat = torch.cat([self.lanes(v).data[:-1].flatten(2) for v in delay.sources], 2)
        later = _taken(flat, delay.index)
        later = later.reshape(*later.shape[:2], *_shape(delay))
        self.values[delay.value] = Many(torch.cat([self.first(delay).unsqueeze(0), later]))

    def _sequence(self, part: plan.OwnState) -> None:
        """Run the frames of a recurrent node over one step as the steps of a sequence."""
        step, by_batch = part.step, bool(part.step.call.int("layout"))
        assert step.inputs[0] is not None
        x = self._model.enter(step, self.lanes(step.inputs[0]).data).squeeze(3 if by_batch else 2)
        own = x.shape[2]
        weights = [None if v is None else self.values[v] for v in step.inputs[1:4]]
        states = [self.first(delay).reshape(1, self._streams * own, -1) for delay in part.states]
        rest = [None if v is None else self.values[v] for v in step.inputs[5 + len(states) :]]
        call = _by_time(step)
        made = self._model.recurrent(step, call, x.flatten(1, 2), *weights, None, *states, *rest)
        assert made[0] is not None
        y = made[0].reshape(self._frames, self._streams, 1, 1, own, -1)
        y = y.movedim(4, 2) if by_batch else y
        self._put(step, [Many(y), Many(y.squeeze(3 if by_batch else 2))])
        for value, final in zip(step.outputs[2:], made[2:], strict=False):
            assert final is not None
            cells = final.reshape(self._streams, 1, own, -1)
            self._last[value] = cells.transpose(1, 2) if by_batch else cells

    def _recurrent(
        self, step: Step, inputs: list[Tensor | None], many: list[bool]
    ) -> Sequence[Tensor | None]:
        """Run a recurrent node over its own time axis; lanes are its batch."""
        by_batch = bool(step.call.int("layout"))
        lanes = next(len(x) for x, m in zip(inputs, many, strict=True) if m and x is not None)

        def beside(x: Tensor | None, i: int, axis: int) -> Tensor | None:
            if x is None:
                return None
            wide = x if many[i] else x.expand(lanes, *x.shape)
            wide = (
                wide.transpose(1, 2) if by_batch else wide
            )  # [lanes, time or direction, batch, ...]
            return wide.movedim(0, axis).flatten(axis, axis + 1)

        states = [beside(x, 5 + i, 1) for i, x in enumerate(inputs[5:7])]
        given = [beside(inputs[0], 0, 1), *inputs[1:5], *states, *inputs[7:]]
        if inputs[4:5] != [] and inputs[4] is not None:
            given[4] = inputs[4].repeat(lanes)
        made = self._model.recurrent(step, _by_time(step), *given)
        outputs = []
        for y in made:
            assert y is not None
            apart = y.reshape(*y.shape[:-2], lanes, -1, y.shape[-1]).movedim(
                -3, 0
            )  # [lanes, (time,) direction, batch, H]
            outputs.append(apart.movedim(-2, 1) if by_batch else apart)
        return outputs

    def _cycle(self, cycle: plan.Cycle) -> None:
        """Run frame by frame; only the nodes of the cycle, all else is there already."""
        own = {item.value for item in cycle.items if isinstance(item, Delay)}
        steps = [item for item in cycle.items if not isinstance(item, Delay)]
        own |= {value for step in steps for value in step.outputs}
        used = {v for i in cycle.items for v in plan.reads(i) if v is not None and v not in own}
        known = {v: self.values[v] for v in used if v in self.values}
        before: Run | None = None
        kept: list[Values] = []
        for t in range(self._frames):
            now = {
                v: Many(x.data[t : t + 1]) if isinstance(x, Many) else x for v, x in known.items()
            }
            run = Run(self._model, now, self._states, 1, self._streams)
            for item in cycle.items:
                if isinstance(item, Delay):
                    value = self.first(item) if before is None else before.next(item)
                    run.values[item.value] = Many(value.unsqueeze(0))
                else:
                    run._step(item)
            before = run
            kept.append({v: x for v, x in run.values.items() if v in own})
        for value in kept[0]:
            entries = [frame[value] for frame in kept]
            every = all(isinstance(entry, Many) for entry in entries)
            together = Many(torch.cat([e.data for e in entries])) if every else entries[0]
            self.values[value] = together


def _taken(flat: Tensor, index: npt.NDArray[np.int64]) -> Tensor:
    """Return elements of the last axis; neighbours in order without a copy."""
    if len(index) and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
        return flat.narrow(-1, int(index[0]), len(index))
    return flat[..., torch.from_numpy(index)]


def _by_time(step: Step) -> Any:
    attributes = {k: v for k, v in step.call.attributes.items() if k != "layout"}
    return dataclasses.replace(step.call, attributes=attributes)


def _shape(delay: Delay) -> list[int]:
    return [int(dim) for dim in delay.value.shape or ()]
