"""Runs a sample through a model: the states start where it says and are carried, differentiably."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir
import torch

from edgeseq.ir import facts
from edgeseq.train.calibration import Sample, data_inputs, is_stepwise, steps_of
from edgeseq.validate import inputs

Tensor = torch.Tensor
Run = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # an Interpreter


class Rollout:
    """How the samples of one model are run.

    Args:
        model: The model, its sizes bound and its states marked.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._stepwise = is_stepwise(model)
        self._names = [str(v.name) for v in data_inputs(model)]
        self._pairs = {
            str(v.name): state.output
            for v in model.graph.inputs
            if (state := facts.get(v, facts.State)) is not None
        }
        self._states = {
            str(v.name): torch.from_numpy(inputs.initial_state(v))
            for v in model.graph.inputs
            if v.name in self._pairs
        }

    def __call__(
        self, run: Run, sample: Sample, states: Mapping[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run one sample from its first step to its last.

        Args:
            run: Computes all outputs from all inputs, e.g. an `Interpreter`.
            sample: The inputs.
            states: Where to start; None: where the model says.

        Returns:
            The outputs that are no states, steps on the leading axis where the model takes one step
            at a time, and the last states.
        """
        given = {name: torch.from_numpy(sample[name]) for name in self._names}
        carried = dict(self._states if states is None else states)
        if not self._stepwise:
            outputs = run({**given, **carried})
            return outputs, {name: outputs.pop(out) for name, out in self._pairs.items()}
        rows: list[dict[str, Tensor]] = []
        for step in range(steps_of(sample, self._model)):
            row = run({**{name: given[name][step] for name in self._names}, **carried})
            carried = {name: row.pop(out) for name, out in self._pairs.items()}
            rows.append(row)
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}, carried
