"""Reductions, running sums, and the search for extremes."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from edgeseq.interp.call import Call, Op, Tensor, as_list, axis_of

Reduction = Callable[[Tensor, list[int]], Tensor]  # keeps the reduced axes as size 1


def _reduce(function: Reduction) -> Op:
    """Find the axes (an attribute once, an input today) and drop them if asked to."""

    def op(call: Call, x: Tensor, axes_input: Tensor | None = None) -> Tensor:
        axes = call.ints("axes") if call.has("axes") else as_list(axes_input)
        if not axes and call.int("noop_with_empty_axes"):
            return _each(function, x)
        axes = sorted({axis_of(a, x.dim()) for a in axes}) or list(range(x.dim()))
        y = function(x, axes) if axes else _each(function, x)
        if call.int("keepdims", 1):
            return y
        return y.reshape([n for i, n in enumerate(y.shape) if i not in axes])

    return op


def _each(function: Reduction, x: Tensor) -> Tensor:
    """Reduce every element alone: ReduceL1 over no axis is still the absolute value."""
    return function(x.unsqueeze(-1), [x.dim()]).squeeze(-1)


def _sum(x: Tensor, axes: list[int]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int]) -> Tensor:
    count = math.prod(x.shape[a] for a in axes)
    total = _sum(x, axes)
    return total / count if x.is_floating_point() else total // count


def _prod(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True, dtype=x.dtype)
    return x


def _extreme(function: Callable[..., Tensor], empty: float) -> Reduction:
    def reduce(x: Tensor, axes: list[int]) -> Tensor:
        if x.numel():
            return function(x, axes, keepdim=True)
        shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
        if x.is_floating_point():
            return x.new_full(shape, empty)
        if x.dtype == torch.bool:
            return x.new_full(shape, empty > 0)
        limits = torch.iinfo(x.dtype)
        return x.new_full(shape, limits.max if empty > 0 else limits.min)

    return reduce


def _log_sum_exp(x: Tensor, axes: list[int]) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=True)


def _arg(largest: bool) -> Op:
    def op(call: Call, x: Tensor) -> Tensor:
        axis = axis_of(call.int("axis"), x.dim())
        find = torch.argmax if largest else torch.argmin
        if call.int("select_last_index"):
            found = x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=True)
        else:
            found = find(x, axis, keepdim=True)
        return found if call.int("keepdims", 1) else found.squeeze(axis)

    return op


def _running(function: Callable[..., Tensor], neutral: int) -> Op:
    """CumSum and CumProd: exclusive shifts by one, reverse runs from the end."""

    def op(call: Call, x: Tensor, axis_input: Tensor) -> Tensor:
        axis = int(axis_input)
        if call.int("reverse"):
            x = x.flip(axis)
        y = function(x, axis, dtype=x.dtype)
        if call.int("exclusive"):
            first = torch.full_like(y.narrow(axis, 0, 1), neutral)
            y = torch.cat([first, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
        return y.flip(axis) if call.int("reverse") else y

    return op


def top_k(call: Call, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    # A stable sort, because ONNX gives equal values in the order of their index.
    count = call.int("k") if k is None else int(k)
    axis = call.int("axis", -1)
    values, indices = torch.sort(x, dim=axis, descending=bool(call.int("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)


OPS: dict[str, Op] = {
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "CumProd": _running(torch.cumprod, 1),
    "CumSum": _running(torch.cumsum, 0),
    "ReduceL1": _reduce(lambda x, axes: _sum(x.abs(), axes)),
    "ReduceL2": _reduce(lambda x, axes: _sum(x * x, axes).sqrt().to(x.dtype)),
    "ReduceLogSum": _reduce(lambda x, axes: _sum(x, axes).log()),
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ReduceMax": _reduce(_extreme(torch.amax, -math.inf)),
    "ReduceMean": _reduce(_mean),
    "ReduceMin": _reduce(_extreme(torch.amin, math.inf)),
    "ReduceProd": _reduce(_prod),
    "ReduceSum": _reduce(_sum),
    "ReduceSumSquare": _reduce(lambda x, axes: _sum(x * x, axes)),
    "TopK": top_k,
}
