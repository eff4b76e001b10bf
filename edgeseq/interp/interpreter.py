"""The interpreter: an `nn.Module` that runs an IR model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.interp import dtypes
from edgeseq.interp.program import Compiler, Program, Step

Tensor = torch.Tensor
# Tensors; None where an optional input of a function is absent.
Environment = dict[ir.Value, Any]
Watch = Callable[[Step, Sequence[Tensor | None], Sequence[Tensor | None]], None]


class Interpreter(nn.Module):
    """Runs a model node by node in torch.

    Floats of the model, whatever their width, are computed in `dtype`; integers and booleans keep
    their type. Functions (those of domain `edgeseq` too) are run by their body.

    Args:
        model: Any valid IR model.
        dtype: Type of every float; None computes each in the model's own type.
        trainable: Whether float initializers take gradients.
        watch: Called after each node, those of bodies included, with its inputs and outputs.
        rounding: Rounds to integers, in all operators that do; halves go to even by default.

    Raises:
        UnsupportedModelError: lists every node it cannot run.
    """

    def __init__(
        self,
        model: ir.Model,
        dtype: torch.dtype | None = torch.float64,
        *,
        trainable: bool = False,
        watch: Watch | None = None,
        rounding: Callable[[Tensor], Tensor] = torch.round,
    ) -> None:
        super().__init__()
        self._dtype = dtype
        self._watch = watch
        self._trainable = trainable
        self._constants: list[tuple[ir.Value, str]] = []
        self._weights: dict[str, str] = {}
        self._program = Compiler(model, dtype, self._keep, rounding).compile(model.graph)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The float initializers by the name they have in the model."""
        return {name: getattr(self, slot) for name, slot in self._weights.items()}

    def forward(self, inputs: Mapping[str, Tensor | npt.NDArray[Any]]) -> dict[str, Tensor]:
        """Compute all outputs of the model from its inputs, both by name."""
        constants = {value: getattr(self, slot) for value, slot in self._constants}
        environment = dict(constants)
        self._bind(inputs, environment)
        self._run(self._program, environment, constants)
        return {value.name: environment[value] for value in self._program.outputs}

    def _keep(self, value: ir.Value, tensor: Tensor, weight: bool) -> None:
        # Names of the model may hold dots, which torch does not allow: slots are numbered.
        slot = f"constant_{len(self._constants)}"
        self._constants.append((value, slot))
        if weight and tensor.is_floating_point():
            self.register_parameter(slot, nn.Parameter(tensor, requires_grad=self._trainable))
            self._weights[value.name] = slot
        else:
            self.register_buffer(slot, tensor)

    def _bind(
        self, inputs: Mapping[str, Tensor | npt.NDArray[Any]], environment: Environment
    ) -> None:
        known = {value.name: value for value in self._program.inputs}
        missing = [n for n, v in known.items() if n not in inputs and v not in environment]
        extra = [name for name in inputs if name not in known]
        if missing or extra:
            words = [f"missing: {', '.join(missing)}"] * bool(missing)
            words += [f"unknown: {', '.join(extra)}"] * bool(extra)
            raise UsageError(
                f"the inputs do not fit the model; {'; '.join(words)}",
                why=f"its inputs are {', '.join(known)}",
            )
        for name, given in inputs.items():
            tensor = given if isinstance(given, Tensor) else _from_numpy(given)
            declared = known[name].dtype
            if declared is not None:
                tensor = tensor.to(dtypes.to_torch(declared, self._dtype))
            environment[known[name]] = tensor

    def _run(self, program: Program, environment: Environment, constants: Environment) -> None:
        for step in program.steps:
            inputs = [None if value is None else environment[value] for value in step.inputs]
            try:
                outputs = self._compute(step, inputs, environment, constants)
            except Exception as error:
                shapes = [None if x is None else tuple(x.shape) for x in inputs]
                error.add_note(f"at node '{step.name}' ({step.call.op}) of inputs {shapes}")
                raise
            if self._watch is not None:
                self._watch(step, inputs, outputs)
            for value, output in zip(step.outputs, outputs, strict=False):
                if output is not None:
                    environment[value] = output

    def _compute(
        self,
        step: Step,
        inputs: list[Tensor | None],
        environment: Environment,
        constants: Environment,
    ) -> Sequence[Tensor | None]:
        if step.op is None:
            return self._function(step, inputs, constants)
        call = step.call
        if step.control:
            call = dataclasses.replace(
                call, run=functools.partial(self._body, environment, constants)
            )
        outputs = step.op(call, *inputs)
        return (outputs,) if isinstance(outputs, Tensor) else outputs

    def _function(
        self, step: Step, inputs: list[Tensor | None], constants: Environment
    ) -> list[Tensor | None]:
        assert step.body is not None
        absent = dict.fromkeys(step.body.inputs)
        inner = {**constants, **absent, **dict(zip(step.body.inputs, inputs, strict=False))}
        self._run(step.body, inner, constants)
        return [inner[value] for value in step.body.outputs]

    def _body(
        self,
        environment: Environment,
        constants: Environment,
        body: Program,
        inputs: Sequence[Tensor],
    ) -> list[Tensor]:
        """Run a subgraph: it sees the values around it, and its own do not leak out."""
        inner = environment | dict(zip(body.inputs, inputs, strict=True))
        self._run(body, inner, constants)
        return [inner[value] for value in body.outputs]


def _from_numpy(array: npt.NDArray[Any]) -> Tensor:
    array = np.asarray(array)
    # torch warns of a tensor over read-only memory, though nothing here writes to its inputs.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
