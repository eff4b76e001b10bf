"""Activations and the softmax family."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgeseq.interp.call import Call, Op, Tensor, axis_of, pointwise


def leaky_relu(call: Call, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.float("alpha", 0.01))


def elu(call: Call, x: Tensor) -> Tensor:
    return F.elu(x, call.float("alpha", 1.0))


def celu(call: Call, x: Tensor) -> Tensor:
    return F.celu(x, call.float("alpha", 1.0))


def selu(call: Call, x: Tensor) -> Tensor:
    alpha = call.float("alpha", 1.67326319217681884765625)
    gamma = call.float("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def thresholded_relu(call: Call, x: Tensor) -> Tensor:
    return torch.where(x > call.float("alpha", 1.0), x, torch.zeros_like(x))


def hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return (call.float("alpha", 0.2) * x + call.float("beta", 0.5)).clamp(0, 1)


def hard_swish(call: Call, x: Tensor) -> Tensor:
    return x * (x / 6 + 0.5).clamp(0, 1)


def softplus(call: Call, x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))  # torch's softplus is linear above 20


def gelu(call: Call, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.text("approximate", "none"))


def mish(call: Call, x: Tensor) -> Tensor:
    return x * torch.tanh(softplus(call, x))


def swish(call: Call, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.float("alpha", 1.0) * x)


def shrink(call: Call, x: Tensor) -> Tensor:
    bias, lambd = call.float("bias", 0.0), call.float("lambd", 0.5)
    inside = torch.where(x > lambd, x - bias, torch.zeros_like(x))
    return torch.where(x < -lambd, x + bias, inside)


def prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if call.opset < 11:
        return x.clamp(call.float("min", -math.inf), call.float("max", math.inf))
    if low is not None:
        x = torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _along_axis(function: Callable[[Tensor, int], Tensor]) -> Op:
    """Apply a softmax-like function; before opset 13 it took all axes from `axis` on as one."""

    def op(call: Call, x: Tensor) -> Tensor:
        if call.opset >= 13:
            return function(x, call.int("axis", -1))
        axis = axis_of(call.int("axis", 1), x.dim())
        rows = math.prod(x.shape[:axis])
        return function(x.reshape(rows, -1), 1).reshape(x.shape)

    return op


def _hardmax(x: Tensor, axis: int) -> Tensor:
    first = x.argmax(axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, first, 1)


OPS: dict[str, Op] = {
    "Celu": celu,
    "Clip": clip,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Hardmax": _along_axis(_hardmax),
    "LeakyRelu": leaky_relu,
    "LogSoftmax": _along_axis(torch.log_softmax),
    "Mish": mish,
    "PRelu": prelu,
    "Relu": pointwise(torch.relu),
    "Selu": selu,
    "Shrink": shrink,
    "Softmax": _along_axis(torch.softmax),
    "Softplus": softplus,
    "Softsign": pointwise(F.softsign),
    "Swish": swish,
    "ThresholdedRelu": thresholded_relu,
}
