"""A buffer that forward overwrites -> a state: an input, and an output for its next value.

    self.h.copy_(new)   ->   input `h`, output `h_out`, `State("h_out")` on the input

The buffer's content is the state's first value (`InitialState` unless it is zero), so that the
compiled stream starts as the module was when it was imported.
"""

from __future__ import annotations

import base64

import numpy as np
import onnx_ir as ir
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import facts


def expose_buffers(model: ir.Model, program: ExportedProgram) -> list[ir.Value]:
    """Turn overwritten buffers into inputs and return them.

    Their next values become outputs in the same order, after the user's own.

    Raises:
        UnsupportedModelError: forward overwrites its arguments.
    """
    signature = program.graph_signature
    if signature.user_inputs_to_mutate:
        raise UnsupportedModelError(
            "forward overwrites its arguments",
            at=[f"argument '{name}'" for name in sorted(signature.user_inputs_to_mutate.values())],
            why="inputs of a compiled model are read-only",
            fix="compute a new tensor, e.g. `x = x + 1` for `x += 1`",
        )
    values = {value.name: value for node in model.graph for value in node.outputs}
    states = []
    for spec in signature.output_specs:
        if spec.kind is OutputKind.BUFFER_MUTATION and spec.target is not None:
            start = model.graph.initializers.get(spec.target)
            end = values.get(spec.arg.name)
            if start is not None and end is not None:
                states.append(_make_input(model, start))
                model.graph.outputs.append(end)
    return states


def _make_input(model: ir.Model, buffer: ir.Value) -> ir.Value:
    tensor = buffer.const_value
    del model.graph.initializers[str(buffer.name)]
    buffer.const_value = None
    model.graph.inputs.append(buffer)
    if tensor is not None:
        array = tensor.numpy()
        if np.any(array):
            data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
            facts.put(buffer, facts.InitialState(data))
    return buffer
