"""What a weight matrix is multiplied by: the rows of inputs that one run of its node sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeseq.interp.program import Step
from edgeseq.train.prunable import GATES, Matrix, Use

Tensor = torch.Tensor


def of(matrix: Matrix, use: Use, step: Step, inputs: Sequence[Tensor | None], y: Tensor) -> Tensor:
    """Return [groups, rows, inputs of the matrix]; a recurrence gives a row per step and stream.

    Args:
        matrix: The matrix.
        use: The node that multiplies by it.
        step: That node, compiled.
        inputs: What the node got.
        y: Its first output.
    """
    op = step.call.op
    if op in ("Conv", "ConvTranspose"):
        return _windows(matrix, step, _given(inputs, 0), _given(inputs, 1).shape[2:])
    if op in GATES:
        return _steps(use, step, inputs, y).unsqueeze(0)
    other = _given(inputs, 1 - use.slot)
    turned = step.call.int("transB" if use.slot == 0 else "transA")  # 0 of a MatMul
    if (use.slot == 0) != bool(turned):  # the other operand's columns are what is multiplied
        other = other.transpose(-1, -2) if other.dim() > 1 else other
    return other.reshape(1, -1, other.shape[-1])


def _windows(matrix: Matrix, step: Step, x: Tensor, kernel: Sequence[int]) -> Tensor:
    """Run the convolution with a weight that picks one cell per output: strides and pads come free.

    Output channel (group, tap, input) copies that input at that tap.
    """
    assert step.op is not None
    width = matrix.shape[1]
    channels = width // matrix.taps
    picks = torch.eye(width, dtype=x.dtype).reshape(width, matrix.taps, channels)
    if step.call.op == "Conv":
        one = picks.transpose(1, 2).reshape(width, channels, *kernel)
    else:
        one = picks.permute(2, 0, 1).reshape(channels, width, *kernel)
    picked = step.op(step.call, x, one.repeat(matrix.groups, *[1] * (one.dim() - 1)))
    assert isinstance(picked, Tensor)
    rows = picked.reshape(x.shape[0], matrix.groups, width, -1)
    return rows.permute(1, 0, 3, 2).reshape(matrix.groups, -1, width)


def _steps(use: Use, step: Step, inputs: Sequence[Tensor | None], y: Tensor) -> Tensor:
    x, by_batch = _given(inputs, 0), step.call.int("layout") == 1
    if by_batch:
        x, y = x.transpose(0, 1), y.permute(1, 2, 0, 3)
    if use.slot == 1:
        return x.reshape(-1, x.shape[-1])
    h = _states_before(use, step, inputs, y, by_batch)
    if step.call.op == "GRU" and use.gate == "h" and not step.call.int("linear_before_reset"):
        h = _reset(use, inputs, x, h)
    return h.reshape(-1, h.shape[-1])


def _states_before(
    use: Use, step: Step, inputs: Sequence[Tensor | None], y: Tensor, by_batch: bool
) -> Tensor:
    """[time, batch, hidden]: the state that each step starts from."""
    h = y[:, use.direction]
    first = inputs[5] if len(inputs) > 5 else None
    if first is None:
        start = torch.zeros_like(h[:1])
    else:
        start = (first[:, use.direction] if by_batch else first[use.direction]).unsqueeze(0)
    if use.direction == 1 or step.call.text("direction", "forward") == "reverse":
        return torch.cat([h[1:], start])
    return torch.cat([start, h[:-1]])


def _reset(use: Use, inputs: Sequence[Tensor | None], x: Tensor, h: Tensor) -> Tensor:
    """Reset before multiplied: the candidate's matrix sees r * h (with the usual sigmoid)."""
    size = h.shape[-1]
    gate = slice(size, 2 * size)
    w, r = _given(inputs, 1)[use.direction], _given(inputs, 2)[use.direction]
    sums = x @ w[gate].T + h @ r[gate].T
    if len(inputs) > 3 and (b := inputs[3]) is not None:
        wb, rb = b[use.direction].chunk(2)
        sums = sums + wb[gate] + rb[gate]
    return torch.sigmoid(sums) * h


def _given(inputs: Sequence[Tensor | None], slot: int) -> Tensor:
    value = inputs[slot]
    assert value is not None
    return value
