"""`nn.Module` -> `torch.export.ExportedProgram`: recurrent layers whole, the module untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx.experimental._config
from torch.export import ExportedProgram

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch_dynamic import Plan
from edgeseq.frontends.torch_errors import Fixations, explain_capture
from edgeseq.frontends.torch_ops import KeepRecurrent
from edgeseq.frontends.torch_quiet import quiet

_config: Any = torch.fx.experimental._config  # `patch` is added to it at run time


def capture(module: torch.nn.Module, plan: Plan) -> ExportedProgram:
    """Trace a module in eval mode.

    Raises:
        UnsupportedModelError: it cannot be traced; the message names the line of Python.
    """
    fixations = Fixations()
    # Without it torch assumes that no dynamic length is 1, and so gives wrong lower bounds.
    any_length = _config.patch(backed_size_oblivious=True)
    with _eval_mode(module), quiet(), torch.no_grad(), fixations, any_length, KeepRecurrent():
        try:
            program = torch.export.export(
                module, plan.args, plan.kwargs, dynamic_shapes=plan.shapes, strict=False
            )
        except Exception as error:
            raise explain_capture(error, fixations, plan) from error
    _refuse_mutation(program)
    return program


@contextlib.contextmanager
def _eval_mode(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _refuse_mutation(program: ExportedProgram) -> None:
    """A buffer that forward overwrites is a state; ONNX has no hidden ones."""
    buffers = sorted(program.graph_signature.buffers_to_mutate.values())
    inputs = sorted(program.graph_signature.user_inputs_to_mutate.values())
    if buffers:
        raise UnsupportedModelError(
            "forward overwrites buffers of the module",
            at=[f"buffer '{name}'" for name in buffers],
            why="a compiled model keeps state only where it can be seen, reset and saved",
            fix="take the state as an argument and return its new value: "
            "`def forward(self, x, state): ...; return y, state`",
        )
    if inputs:
        raise UnsupportedModelError(
            "forward overwrites its arguments",
            at=[f"argument '{name}'" for name in inputs],
            why="inputs of a compiled model are read-only",
            fix="compute a new tensor, e.g. `x = x + 1` for `x += 1`",
        )
