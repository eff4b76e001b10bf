"""Memory hidden in the graph `-> graph inputs and outputs marked State`; exact.

- a GRU, LSTM, RNN, LSTMP or Scan over time starts from a graph input, and its final state is an
  output;
- a convolution over time that pads the past, a Pad of the past, and a Concat of a constant before
  the first step read the last steps of the chunk before: `Concat(past, x)`;
- a CumSum over time and a Range that counts steps go on from where they were: `CumSum(x) + sum`.

The model then computes any number of further steps from where it stopped, T = 1 included. Refused
as a whole when one operator needs the future or all of time: then the model stays as it is and
`NotStreamable` says why.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import facts
from edgeseq.ir.cells import view_source
from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import GraphPass
from edgeseq.ir.timeline import Past
from edgeseq.ir.trace import trace

Array = npt.NDArray[Any]


class ExposeRecurrentState(GraphPass):
    """Make a causal model resumable."""

    def run(self, edit: Editor) -> bool:
        """Find out whether the model is causal; then expose each memory."""
        if facts.get(edit.model, facts.DimRange) is None:
            return False
        if self.settings.stream is False:
            return _not_streamable(edit.model, "", "streaming was turned off")
        if facts.get(edit.model, facts.Streamable) is not None:
            return False
        line = trace(edit.model)
        problems = line.problems + [
            (node, reason) for node in line.recurrences if (reason := _unknown_start(node))
        ]
        problems += [(p.node, r) for p in line.pasts if (r := _unknown_past(p))]
        for node, reason in problems:
            self.refuse(node, reason)
        if problems:
            return self._give_up(edit.model, problems[0])
        changed = False
        for node in line.recurrences:
            changed |= self._carry_recurrence(node, edit)
        for past in line.pasts:
            _carry_past(past, edit)
        for node in line.sums:
            _carry_sum(node, edit)
        if line.pasts or line.sums:  # one that is carried looks like any other input
            facts.put(edit.model, facts.Streamable())
            changed = True
        return changed

    def _give_up(self, model: ir.Model, first: tuple[ir.Node, str]) -> bool:
        if self.settings.stream:
            raise UnsupportedModelError(
                "the model cannot run step by step",
                at=[f"{one.node}: {one.reason}" for one in self.refusals],
                why="each step may use the past only, and a bounded part of it",
                fix="leave out --stream to compile it for whole sequences",
            )
        node, reason = first
        return _not_streamable(model, node.name or node.op_type, reason)

    def _carry_recurrence(self, node: ir.Node, edit: Editor) -> bool:
        changed = False
        for place, output, suffix in _states(node):
            given = node.inputs[place] if place < len(node.inputs) else None
            source = None if given is None else view_source(given)
            if source is not None and source.is_graph_input():
                if facts.get(source, facts.State) is None:
                    self.notes.append(
                        f"{describe(node)} starts from input '{source.name}', which is not a state"
                    )
                continue
            _carry(node, place, output, suffix, edit)
            changed = True
        return changed


PASS = ExposeRecurrentState


def _not_streamable(model: ir.Model, node: str, reason: str) -> bool:
    fact = facts.NotStreamable(node, reason)
    if facts.get(model, facts.NotStreamable) == fact:
        return False
    facts.put(model, fact)
    return True


def _states(node: ir.Node) -> list[tuple[int, int, str]]:
    """Return (input, output, suffix of the name) of each state a recurrence carries."""
    if node.op_type == "Scan":
        carried = len(node.inputs) - node.attributes["num_scan_inputs"].as_int()
        return [(place, place, f"state_{place}") for place in range(carried)]
    return [(5, 1, "h"), (6, 2, "c")][: 2 if "LSTM" in node.op_type else 1]


def _unknown_start(node: ir.Node) -> str | None:
    """Say why the first state cannot be written down now."""
    for place, _, _ in _states(node):
        given = node.inputs[place] if place < len(node.inputs) else None
        if given is None or data_of(given) is not None or view_source(given).is_graph_input():
            continue
        return f"its first state '{given.name}' is computed"
    return None


def _unknown_past(past: Past) -> str | None:
    source = past.node.inputs[past.operand]
    dims = list(source.shape or ()) if source is not None else []
    if not all(isinstance(dim, int) for axis, dim in enumerate(dims) if axis != past.axis):
        return "its past has no fixed size"
    return None


def _carry(node: ir.Node, place: int, output: int, suffix: str, edit: Editor) -> None:
    """Give one state of a recurrence a graph input and output."""
    if len(node.outputs) <= output:
        node.resize_outputs(output + 1)
    for value in node.outputs:
        value.name = value.name or edit.name(f"{node.name}.out")
    edit.inference.infer(node)
    final = node.outputs[output]
    start = node.inputs[place] if place < len(node.inputs) else None
    given, shape = data_of(start), static_shape(start if start is not None else final)
    if shape is None or final.dtype is None:
        raise ValueError(f"the state of {describe(node)} has no fixed shape")
    first = np.zeros(shape, final.dtype.numpy()) if given is None else given
    state = _input(edit, _stem(node, suffix), first, final.dtype)
    if place >= len(node.inputs):
        node.resize_inputs(place + 1)
    node.replace_input_with(place, state)
    _output(edit, state, final, node)


def _carry_past(past: Past, edit: Editor) -> None:
    """Put the last steps of the chunk before in front of the present ones."""
    node, axis = past.node, past.axis
    source = node.inputs[past.operand]
    if source is None or source.dtype is None or source.shape is None:
        raise ValueError(f"the input of {describe(node)} has no shape")
    shape = list(source.shape)
    shape[axis] = past.steps
    state = _input(edit, _stem(node, "past"), _first_past(past, shape, source), source.dtype)
    joined = edit.emit(node, "Concat", [state, source], {"axis": axis})
    end = -past.lead if past.lead else np.iinfo(np.int64).max
    kept = edit.slice(node, joined, axis, -(past.steps + past.lead), end)
    _use(past, joined, edit)
    _output(edit, state, kept, node)


def _carry_sum(node: ir.Node, edit: Editor) -> None:
    """Add what was summed or counted before, and keep what there is now."""
    value, range_ = node.outputs[0], node.op_type == "Range"
    if value.dtype is None or value.shape is None:
        raise ValueError(f"the output of {describe(node)} has no shape")
    axis = 0 if range_ else int(_number(node.inputs[1])) % len(value.shape)
    one = ir.Shape(1 if place == axis else dim for place, dim in enumerate(value.shape))
    zeros = np.zeros(one.numpy(), value.dtype.numpy())
    state = _input(edit, _stem(node, "count" if range_ else "sum"), zeros, value.dtype)
    chunk = edit.emit(node, node.op_type, node.inputs)
    chunk.dtype, chunk.shape = value.dtype, value.shape
    total = edit.emit(node, "Add", [chunk, state])
    final = edit.slice(node, total, axis, -1, np.iinfo(np.int64).max)
    if range_:
        ahead = _number(node.inputs[2]) - _number(node.inputs[0])
        step = edit.constant(np.array([ahead], value.dtype.numpy()), f"{node.name}.ahead")
        final = edit.emit(node, "Add", [final, step])
    _output(edit, state, final, node)
    edit.replace_node(node, total)


def _number(value: ir.Value | None) -> Any:
    data = data_of(value)
    return 0 if data is None else data.item()


def _first_past(past: Past, shape: list[int], source: ir.Value) -> Array:
    node = past.node
    dtype = source.dtype.numpy() if source.dtype is not None else np.float32
    if node.op_type == "Concat":
        constant = data_of(node.inputs[0])
        return np.zeros(shape, dtype) if constant is None else constant
    value = data_of(node.inputs[2]) if node.op_type == "Pad" and len(node.inputs) > 2 else None
    return np.full(shape, 0 if value is None else value.item(), dtype)


def _use(past: Past, joined: ir.Value, edit: Editor) -> None:
    """Let the node, or what used it, read the joined value."""
    node, axis = past.node, past.axis
    if node.op_type == "Concat":
        edit.replace_node(node, joined)
    elif node.op_type == "Pad":
        pads = data_of(node.inputs[1])
        dropped = 0 if pads is None else -int(pads.min())
        if dropped > 0:
            joined = edit.slice(node, joined, axis, 0, -dropped)
        edit.replace_node(node, joined)
    else:
        kept = list(node.attributes["pads"].as_ints())
        kept[axis - 2] = kept[axis - 2 + len(kept) // 2] = 0
        node.attributes["pads"] = ir.AttrInt64s("pads", kept)
        node.replace_input_with(0, joined)
        edit.inference.infer(node)
        if past.trim is not None:
            edit.replace_node(past.trim, node.outputs[0])


def _stem(node: ir.Node, suffix: str) -> str:
    source = facts.get(node, facts.SourceName)
    name = source.name if source is not None else str(node.name)
    plain = re.sub(r"\W+", "_", name).strip("_")
    return f"{plain}_{suffix}"


def _input(edit: Editor, wish: str, first: Array, dtype: ir.DataType) -> ir.Value:
    value = ir.Value(name=edit.name(wish), type=ir.TensorType(dtype), shape=ir.Shape(first.shape))
    if first.any():
        data = first.astype(first.dtype.newbyteorder("<")).tobytes()
        facts.put(value, facts.InitialState(base64.b64encode(data).decode("ascii")))
    edit.model.graph.inputs.append(value)
    return value


def _output(edit: Editor, state: ir.Value, value: ir.Value, node: ir.Node) -> None:
    """Make a value a graph output and the state's next value."""
    name = edit.name(f"{state.name}_out")
    if value.is_graph_output():
        graph = edit.model.graph
        copy = ir.node("Identity", [value], name=edit.name(f"{node.name}.copy"))
        copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
        graph.append(copy)
        value = copy.outputs[0]
    value.name = name
    edit.model.graph.outputs.append(value)
    facts.put(state, facts.State(name))
