"""A PyTorch module, or a program of `torch.export`, -> `onnx_ir.Model`.

The module is traced without decompositions, recurrent layers kept whole (`torch_ops`), and
translated by torch's own ONNX exporter; then the recurrent layers become ONNX GRU, LSTM and RNN
(`torch_recurrent`). Names in the model are the user's: parameters, module paths, dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch.export import ExportedProgram

from edgeseq.errors import UnsupportedModelError, UsageError
from edgeseq.frontends import torch_dynamic
from edgeseq.frontends.onnx_opset import upgrade
from edgeseq.frontends.torch_buffers import expose_buffers
from edgeseq.frontends.torch_capture import capture
from edgeseq.frontends.torch_generalise import generalise
from edgeseq.frontends.torch_names import name_outputs, name_sources, output_names, own_tensors
from edgeseq.frontends.torch_recurrent import expand_recurrent
from edgeseq.frontends.torch_time import mark_time, time_symbol
from edgeseq.frontends.torch_translate import translate
from edgeseq.ir import facts


def import_torch(
    module_or_exported_program: torch.nn.Module | ExportedProgram,
    example_inputs: Any = None,
    dynamic: Any = None,
) -> ir.Model:
    """Import a module in eval mode.

    Args:
        module_or_exported_program: The module is not changed: neither its mode nor its weights.
        example_inputs: A tuple of positional arguments, a dict of named ones, or one tensor. Not
            needed for an exported program.
        dynamic: Names of dimensions that may vary, as in `{"x": {1: "T"}}`; instead of a name, a
            `torch.export.Dim` with its range.

    Raises:
        UnsupportedModelError: the module cannot be traced or translated.
        UsageError: the example inputs or `dynamic` do not fit the module.
    """
    if isinstance(module_or_exported_program, ExportedProgram):
        made = generalise(module_or_exported_program, dynamic)
        model = _import_program(made.program, made.named, output_names(made.program, None))
        if made.warning:
            facts.put(model, facts.Warnings(made.warning))
        return model
    module = module_or_exported_program
    _require_module(module)
    plan = torch_dynamic.plan(module.forward, example_inputs, dynamic)
    program = capture(module, plan)
    return _import_program(program, plan.named, output_names(program, module.forward))


def _require_module(module: object) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            "TorchScript modules are not supported",
            why="they can no longer be traced by torch.export",
            fix="give the nn.Module that was scripted, with its weights loaded",
        )
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"type {type(module).__name__} is not a torch.nn.Module",
            fix="wrap functions in a module whose forward calls them",
        )


def _import_program(
    program: ExportedProgram, named: Sequence[torch_dynamic.Named], outputs: list[str]
) -> ir.Model:
    model, functional = translate(program)
    symbols = torch_dynamic.symbols(program, named)
    torch_dynamic.rename_symbols(model, symbols)
    own_tensors(model)
    name_sources(model)
    buffers = expose_buffers(model, functional)
    name_outputs(model, [*outputs, *(str(buffer.name) for buffer in buffers)])
    for buffer, output in zip(buffers, model.graph.outputs[len(outputs) :], strict=True):
        facts.put(buffer, facts.State(str(output.name)))
    names = sorted({one.name for one in symbols.values()})
    time = time_symbol(model, names)
    spans = [one for one in torch_dynamic.ranges(program, symbols) if one.symbol == time]
    for span in spans:
        mark_time(model, span.symbol)
        if len(names) == 1:  # shapes with more symbols than time cannot be sampled yet
            facts.put(model, span)
    upgrade(model)
    expand_recurrent(model)
    for span in spans:
        facts.put(model, span)
    return model
