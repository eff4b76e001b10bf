"""Runs a model over many frames of many streams in torch, differentiable, states carried over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir
import torch

from edgeseq.errors import UsageError
from edgeseq.interp import Interpreter
from edgeseq.interp.call import Call
from edgeseq.interp.program import Step
from edgeseq.ir import facts
from edgeseq.train import fused, plan
from edgeseq.train.delays import Elements, find
from edgeseq.train.lanes import Many, Run, Values
from edgeseq.validate import inputs as recorded

Tensor = torch.Tensor
States = dict[str, Tensor]


class Unrolled(Interpreter):
    """A model over `[frames, streams, *shape]`, as fast as torch trains such models.

    A frame is one run of the model: a step of a step model, a whole chunk of one with a time axis.
    Streams are independent; each has states of its own, although the model was made for one.

    Args:
        model: A model with its states marked. Shapes must be static but for time.
        dtype: Type of every float.
        trainable: Whether float initializers take gradients.
    """

    def __init__(
        self,
        model: ir.Model,
        dtype: torch.dtype = torch.float32,
        *,
        trainable: bool = False,
    ) -> None:
        super().__init__(model, dtype, trainable=trainable)
        outputs = {value.name: value for value in model.graph.outputs}
        marked = [(value, facts.get(value, facts.State)) for value in model.graph.inputs]
        pairs = {value: outputs[s.output] for value, s in marked if s is not None}
        self._kind = dtype
        self._starts = {v: torch.from_numpy(recorded.initial_state(v)) for v in pairs}
        self._slots = dict(self._constants)
        elements = Elements(self._program, list(pairs), self._constant)
        delays = find(self._program, pairs, elements) if pairs else []
        self._states = [delay for value in pairs for delay in delays if delay.value is value]
        carried = {value.name for value in pairs.values()}
        self.outputs = [v.name for v in model.graph.outputs if v.name not in carried]
        self._parts = plan.make(self._program, delays, pairs, self.outputs)
        self._inner = [v for part in self._parts for v in plan.writes(part)]

    def start(self, streams: int) -> States:
        """Return the states before the first frame."""
        return {
            str(value.name): first.to(self._kind).expand(streams, *first.shape)
            for value, first in self._starts.items()
        }

    def run(
        self,
        inputs: Mapping[str, Tensor],
        states: States | None = None,
        also: Collection[str] = (),
        known: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], States]:
        """Compute frames.

        Args:
            inputs: By name, `[frames, streams, *shape]`; states are not among them.
            states: As the run before returned them; None starts anew.
            also: Names of inner values to return with the outputs, where they are computed.
            known: Inner values that need not be computed again, as `also` returned them.

        Returns:
            The outputs that are not states, in the same layout, and the states afterwards.
        """
        frames, streams = next(iter(inputs.values())).shape[:2]
        states = self.start(streams) if states is None else states
        first = [states[str(delay.value.name)].reshape(streams, -1) for delay in self._states]
        flat = torch.cat(first, 1) if first else torch.zeros(streams, 0)
        values = self._known(inputs)
        given = known or {}
        values |= {v: Many(given[str(v.name)]) for v in self._inner if v.name in given}
        run = Run(self, values, flat, frames, streams)
        for part in self._parts:
            if not all(v in values for v in plan.writes(part) if v.name):
                run.part(part)
        names = {*self.outputs, *also}
        made = {
            str(v.name): run.lanes(v).data
            for v in (*run.values, *self._program.outputs)
            if v.name in names
        }
        return made, {str(d.value.name): run.next(d) for d in self._states}

    def independent(self, weights: Collection[str]) -> set[str]:
        """Return the names of the inner values that these weights have no part in."""
        changed = {v for v in self._slots if v.name in weights}
        for part in self._parts:
            if any(v in changed for v in plan.needed(part)):
                changed |= set(plan.writes(part))
        return {str(v.name) for v in self._inner if v not in changed and v.name}

    def compute(
        self, step: Step, inputs: list[Tensor | None], environment: Values
    ) -> Sequence[Tensor | None]:
        """Compute one node for one frame of one stream."""
        return self._compute(step, inputs, environment, constants=environment)

    def enter(self, step: Step, x: Tensor) -> Tensor:
        """Return the first input of a node as it is computed with."""
        del step
        return x

    def recurrent(self, step: Step, call: Call, *inputs: Tensor | None) -> Sequence[Tensor | None]:
        """Compute a recurrent node, time being the first axis."""
        del step
        return fused.recurrent(call, *inputs)

    @property
    def constants(self) -> dict[str, Tensor]:
        """All that does not change from run to run, by the name it has in the model."""
        return {str(v.name): getattr(self, slot) for v, slot in self._constants}

    def _known(self, inputs: Mapping[str, Tensor]) -> Values:
        values: Values = {v: getattr(self, slot) for v, slot in self._constants}
        carried = {delay.value for delay in self._states}
        for value in self._program.inputs:
            if value.name in inputs:
                given = inputs[value.name]
                values[value] = Many(given.to(self._kind) if given.is_floating_point() else given)
            elif value not in carried and value not in values:
                raise UsageError(f"the samples have no input '{value.name}'")
        return values

    def _constant(self, value: ir.Value) -> Tensor | None:
        slot = self._slots.get(value)
        return None if slot is None else getattr(self, slot)
