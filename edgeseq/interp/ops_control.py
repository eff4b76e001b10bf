"""Control flow: operators whose attributes are graphs."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

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
    if not rows:  # no step ran: the collected outputs are empty, their shape is unknown
        return state + [torch.zeros(0)] * (call.outputs - len(state))
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
    columns = zip(*rows, strict=True) if rows else [()] * outputs
    return state + [_stack(*item) for item in zip(columns, out_axes, flipped, strict=True)]


def _unstack(sequence: Tensor, axis: int, backward: int) -> list[Tensor]:
    steps = list(sequence.unbind(axis))
    return steps[::-1] if backward else steps


def _stack(steps: tuple[Tensor, ...], axis: int, backward: int) -> Tensor:
    if not steps:
        return torch.zeros(0)
    ordered = steps[::-1] if backward else steps
    return torch.stack(ordered, axis_of(axis, steps[0].dim() + 1))


OPS: dict[str, Op] = {"If": if_, "Loop": loop, "Scan": scan}
