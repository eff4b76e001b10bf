"""Reading and writing by index: slices, gathers, scatters."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from edgeseq.interp.call import Call, Op, Tensor, as_list, axis_of

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _wrap(indices: Tensor, length: int) -> Tensor:
    """Count negative indices from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)


def slice_(
    call: Call,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    if starts is None:  # before opset 10 they were attributes
        begin, end, along = call.ints("starts"), call.ints("ends"), call.ints("axes")
    else:
        begin, end, along = as_list(starts), as_list(ends), as_list(axes)
    stride = as_list(steps) or [1] * len(begin)
    along = along or list(range(len(begin)))
    for axis, first, last, step in zip(along, begin, end, stride, strict=True):
        x = _slice_axis(x, axis_of(axis, x.dim()), slice(first, last, step))
    return x


def _slice_axis(x: Tensor, axis: int, part: slice) -> Tensor:
    start, stop, step = part.indices(x.shape[axis])
    if step > 0:
        key = [slice(None)] * axis + [slice(start, max(start, stop), step)]
        return x[tuple(key)]
    return x.index_select(axis, torch.arange(start, min(start, stop), step))


def gather(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    axis = axis_of(call.int("axis"), x.dim())
    flat = _wrap(indices, x.shape[axis]).reshape(-1)
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    return x.index_select(axis, flat).reshape(shape)


def gather_elements(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    axis = axis_of(call.int("axis"), x.dim())
    return x.gather(axis, _wrap(indices, x.shape[axis]))


def gather_nd(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    batch = call.int("batch_dims")
    head = x.shape[:batch]
    rows = math.prod(head)
    flat_x = x.reshape(rows, *x.shape[batch:])
    flat_i = indices.to(torch.int64).reshape(rows, -1, indices.shape[-1])
    row = torch.arange(rows).reshape(rows, 1).expand(flat_i.shape[:2])
    found = flat_x[(row, *flat_i.unbind(-1))]
    return found.reshape(*indices.shape[:-1], *x.shape[batch + indices.shape[-1] :])


def scatter_elements(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = axis_of(call.int("axis"), x.dim())
    at = _wrap(indices, x.shape[axis])
    reduction = call.text("reduction", "none")
    if reduction == "none":
        return x.scatter(axis, at, updates)
    return x.scatter_reduce(axis, at, updates, _REDUCTIONS[reduction], include_self=True)


def scatter_nd(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth = indices.shape[-1]
    head, tail = list(x.shape[:depth]), list(x.shape[depth:])
    at = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for axis, length in enumerate(head):
        at = at * length + _wrap(indices[..., axis], length)
    rows = x.reshape(math.prod(head), math.prod(tail))
    new = updates.reshape(-1, math.prod(tail))
    where = at.reshape(-1, 1).expand(new.shape)
    reduction = call.text("reduction", "none")
    if reduction == "none":
        return rows.scatter(0, where, new).reshape(x.shape)
    done = rows.scatter_reduce(0, where, new, _REDUCTIONS[reduction], include_self=True)
    return done.reshape(x.shape)


def tensor_scatter(call: Call, past: Tensor, update: Tensor, write: Tensor | None = None) -> Tensor:
    """Write `update` into the cache `past` at an offset per batch row."""
    axis = axis_of(call.int("axis", -2), past.dim())
    count, length = update.shape[axis], past.shape[axis]
    starts = torch.zeros(past.shape[0], dtype=torch.int64) if write is None else write
    at = starts.reshape(-1, 1) + torch.arange(count)
    if call.text("mode", "linear") == "circular":
        at = at % length
    shape = [1] * past.dim()
    shape[0], shape[axis] = past.shape[0], count
    return past.scatter(axis, at.reshape(shape).expand(update.shape), update)


def compress(call: Call, x: Tensor, condition: Tensor) -> Tensor:
    keep = condition.nonzero().reshape(-1)
    if not call.has("axis"):
        return x.reshape(-1).index_select(0, keep)
    return x.index_select(axis_of(call.int("axis"), x.dim()), keep)


def non_zero(call: Call, x: Tensor) -> Tensor:
    return x.nonzero().T


def trilu(call: Call, x: Tensor, k: Tensor | None = None) -> Tensor:
    offset = 0 if k is None else int(k)
    return x.triu(offset) if call.int("upper", 1) else x.tril(offset)


def reverse_by_length(x: Tensor, lengths: Sequence[int], time: int, batch: int) -> Tensor:
    """Reverse the first `lengths[b]` steps of each batch row, leave the rest in place."""
    total = x.shape[time]
    order = torch.arange(total).expand(len(lengths), total)
    end = torch.tensor(list(lengths)).reshape(-1, 1)
    at = torch.where(order < end, end - 1 - order, order)
    shape = [1] * x.dim()
    shape[batch], shape[time] = len(lengths), total
    at = at if batch < time else at.T
    return x.gather(time, at.reshape(shape).expand(x.shape))


def reverse_sequence(call: Call, x: Tensor, lengths: Tensor) -> Tensor:
    return reverse_by_length(x, as_list(lengths), call.int("time_axis"), call.int("batch_axis", 1))


OPS: dict[str, Op] = {
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonZero": non_zero,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Slice": slice_,
    "TensorScatter": tensor_scatter,
    "Trilu": trilu,
}
