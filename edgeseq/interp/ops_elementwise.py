"""Arithmetic, comparison, logic and rounding, element by element."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, ARG005, D103

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch

from edgeseq.interp import dtypes
from edgeseq.interp.call import Call, Op, Tensor, pointwise


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Op:
    """Make an operator of any number of inputs from a function of two."""
    return lambda call, *inputs: functools.reduce(function, inputs)


def mean(call: Call, *inputs: Tensor) -> Tensor:
    total = functools.reduce(torch.add, inputs)
    return total / len(inputs)


def div(call: Call, a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point() or a.is_complex():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def power(call: Call, base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)  # the result has the type of the base


def mod(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if call.int("fmod") else torch.remainder(a, b)


def nearest(call: Call, x: Tensor) -> Tensor:
    return call.round(x)


def bit_shift(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return a << b if call.text("direction") == "LEFT" else a >> b


def bitwise_not(call: Call, x: Tensor) -> Tensor:
    return dtypes.wrap(~x, call.inputs[0]).to(x.dtype)


def is_inf(call: Call, x: Tensor) -> Tensor:
    found = torch.zeros_like(x, dtype=torch.bool)
    if call.int("detect_positive", 1):
        found |= torch.isposinf(x)
    if call.int("detect_negative", 1):
        found |= torch.isneginf(x)
    return found


def where(call: Call, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


def cast(call: Call, x: Tensor) -> Tensor:
    return _convert(call, x, dtypes.name(call.int("to")))


def cast_like(call: Call, x: Tensor, like: Tensor) -> Tensor:
    return _convert(call, x, call.inputs[1]) if call.inputs[1] else x.to(like.dtype)


def _convert(call: Call, x: Tensor, kind: str) -> Tensor:
    return dtypes.wrap(x, kind).to(call.dtype(dtypes.number(kind)))


_PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "IsNaN": torch.isnan,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Xor": torch.logical_xor,
}

OPS: dict[str, Op] = {name: pointwise(function) for name, function in _PLAIN.items()} | {
    "BitShift": bit_shift,
    "BitwiseNot": bitwise_not,
    "Cast": cast,
    "CastLike": cast_like,
    "Div": div,
    "IsInf": is_inf,
    "Max": _fold(torch.maximum),
    "Mean": mean,
    "Min": _fold(torch.minimum),
    "Mod": mod,
    "Pow": power,
    "Round": nearest,
    "Sum": _fold(torch.add),
    "Where": where,
}
