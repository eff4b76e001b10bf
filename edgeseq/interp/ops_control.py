"""Control flow: operators whose attributes are graphs."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import onnx_ir as ir
import torch

from edgeseq.errors import UnsupportedModelError
from edgeseq.interp.call import Call, Op, Tensor, axis_of


def if_(call: Call, condition: Tensor) -> list[Tensor]:
    branch = "then_branch" if bool(condition) else "else_branch"
    return call.run(call.attributes[branch], [])


def loop(
    call: Call, trips: Tensor | None, condition: Tensor | None, *carried: Tensor
) -> list[Tensor]:
    state = list(carried)
    going = condition is None or bool(condition)
    limit = None if trips is None else int(trips)
    rows: list[list[Tensor]] = []
    step = 0
    while going and (limit is None or step < limit):
        result = call.run(call.attributes["body"], [torch.tensor(step), torch.tensor(True), *state])
        going = bool(result[0])
        state = result[1 : 1 + len(state)]
        rows.append(result[1 + len(state) :])
        step += 1
    if not rows:
        collected = call.attributes["body"].outputs[1 + len(state) :]
        return state + [_nothing(call, value, 0) for value in collected]
    return state + [torch.stack(column) for column in zip(*rows, strict=True)]


def scan(call: Call, *inputs: Tensor) -> list[Tensor]:
    if call.opset < 9:
        raise UnsupportedModelError(
            f"Scan of opset {call.opset} has another form", fix="convert the model to opset 9"
        )
    scanned = call.int("num_scan_inputs")
    state, sequences = list(inputs[:-scanned]), list(inputs[-scanned:])
    outputs = call.outputs - len(state)
    axes = call.ints("scan_input_axes", [0] * scanned)
    backwards = call.ints("scan_input_directions", [0] * scanned)
    steps = [_unstack(*item) for item in zip(sequences, axes, backwards, strict=True)]
    rows: list[list[Tensor]] = []
    for slices in zip(*steps, strict=True):
        result = call.run(call.attributes["body"], [*state, *slices])
        state = result[: len(state)]
        rows.append(result[len(state) :])
    out_axes = call.ints("scan_output_axes", [0] * outputs)
    flipped = call.ints("scan_output_directions", [0] * outputs)
    if not rows:
        collected = zip(call.attributes["body"].outputs[len(state) :], out_axes, strict=True)
        return state + [_nothing(call, value, axis) for value, axis in collected]
    columns = zip(*rows, strict=True)
    return state + [_stack(*item) for item in zip(columns, out_axes, flipped, strict=True)]


def _nothing(call: Call, value: ir.Value, axis: int) -> Tensor:
    """Collect an output over no steps: its other sizes are the declared ones, where declared."""
    sizes = [n if isinstance(n, int) else 0 for n in value.shape or ()]
    sizes.insert(axis_of(axis, len(sizes) + 1), 0)
    return torch.zeros(sizes, dtype=call.dtype(value.dtype or ir.DataType.FLOAT))


def _unstack(sequence: Tensor, axis: int, backward: int) -> list[Tensor]:
    steps = list(sequence.unbind(axis))
    return steps[::-1] if backward else steps


def _stack(steps: tuple[Tensor, ...], axis: int, backward: int) -> Tensor:
    ordered = steps[::-1] if backward else steps
    return torch.stack(ordered, axis_of(axis, steps[0].dim() + 1))


OPS: dict[str, Op] = {"If": if_, "Loop": loop, "Scan": scan}
