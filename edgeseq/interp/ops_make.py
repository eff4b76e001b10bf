"""Operators that make tensors out of shapes and attributes."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import torch

from edgeseq.interp.call import Call, Op, Tensor, as_list, axis_of

_FLOAT = 1  # the number of ONNX's FLOAT, the default of several operators


def constant(call: Call) -> Tensor:
    """A Constant whose value is an attribute of the function around it; others are folded."""
    (name, value), *_ = call.attributes.items()
    if name == "value":
        return value if isinstance(value, Tensor) else torch.as_tensor(value)
    if name in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=call.dtype(_FLOAT))
    return torch.tensor(value, dtype=torch.int64)


def constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    fill = call.attributes.get("value", torch.zeros(1, dtype=call.dtype(_FLOAT)))
    return torch.full(as_list(shape), fill.item(), dtype=fill.dtype)


def arange(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    count = max(0, -int(((start - limit) // delta).item()))
    steps = torch.arange(count, dtype=start.dtype)
    return start.reshape(()) + steps * delta.reshape(())


def eye_like(call: Call, x: Tensor) -> Tensor:
    dtype = call.dtype(call.int("dtype")) if call.has("dtype") else x.dtype
    ones = torch.ones(x.shape, dtype=dtype)
    offset = call.int("k")
    return ones.tril(offset) * ones.triu(offset)


def one_hot(call: Call, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    count = int(depth.reshape(()))
    axis = axis_of(call.int("axis", -1), indices.dim() + 1)
    at = torch.remainder(indices.to(torch.int64), count).unsqueeze(axis)
    inside = ((indices >= -count) & (indices < count)).unsqueeze(axis)
    shape = [1] * (indices.dim() + 1)
    shape[axis] = count
    hot = (torch.arange(count).reshape(shape) == at) & inside
    return torch.where(hot, values[1], values[0])


OPS: dict[str, Op] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "EyeLike": eye_like,
    "OneHot": one_hot,
    "Range": arange,
}
