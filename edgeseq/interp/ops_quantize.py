"""Quantized arithmetic: integers in, integers out, scales as floats."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeseq.interp import dtypes
from edgeseq.interp.call import Call, Op, Tensor, axis_of
from edgeseq.interp.ops_window import conv


def _spread(call: Call, parameter: Tensor, x: Tensor) -> Tensor:
    """Bring a scale or zero point to the shape of `x`: one value, one per axis, or per block."""
    if parameter.numel() == 1 and parameter.dim() <= 1:
        return parameter.reshape(())
    axis = axis_of(call.int("axis", 1), x.dim())
    block = call.int("block_size")
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.dim()
    shape[axis] = -1
    return parameter.reshape(shape)


def _saturate(x: Tensor, kind: str) -> Tensor:
    low, high = dtypes.integer_range(kind)
    return torch.round(x).clamp(low, high).to(dtypes.to_torch(dtypes.number(kind), None))


def quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = _output_kind(call, zero)
    y = call.round(x / _spread(call, scale, x).to(x.dtype))
    if zero is not None:
        y = y + _spread(call, zero, x).to(x.dtype)
    return _saturate(y, kind)


def _output_kind(call: Call, zero: Tensor | None) -> str:
    if call.int("output_dtype"):
        return dtypes.name(call.int("output_dtype"))
    if zero is None:
        return "UINT8"
    return call.inputs[2] or _kind(zero)  # an int4 is held in 8 bits: only its declaration tells


def _kind(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.").upper()


def dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    dtype = call.dtype(call.int("output_dtype")) if call.int("output_dtype") else scale.dtype
    y = x.to(dtype)
    if zero is not None:
        y = y - _spread(call, zero, x).to(dtype)
    return y * _spread(call, scale, x).to(dtype)


def dynamic_quantize(call: Call, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    high, low = x.max().clamp(min=0), x.min().clamp(max=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)  # as ONNX Runtime has it
    zero = _saturate(-low / scale, "UINT8")
    y = call.round(x / scale) + zero.to(x.dtype)
    return _saturate(y, "UINT8"), scale, zero


def _centred(x: Tensor, zero: Tensor | None, rows: bool) -> Tensor:
    """Subtract a zero point, which may be one per row (left operand) or per column (right)."""
    x = x.to(torch.int32)
    if zero is None:
        return x
    zero = zero.to(torch.int32)
    if zero.dim() == 1 and rows and zero.numel() > 1:
        zero = zero.unsqueeze(-1)
    return x - zero


def matmul_integer(
    call: Call, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return torch.matmul(_centred(a, a_zero, rows=True), _centred(b, b_zero, rows=False))


def conv_integer(
    call: Call, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    # In float64 the sums of 8-bit products are exact, and torch convolves floats only.
    left, right = _centred(x, x_zero, rows=True), _channels(w, w_zero)
    return conv(call, left.to(torch.float64), right.to(torch.float64)).to(torch.int32)


def _channels(w: Tensor, zero: Tensor | None) -> Tensor:
    if zero is None:
        return w.to(torch.int32)
    return w.to(torch.int32) - zero.to(torch.int32).reshape(-1, *[1] * (w.dim() - 1))


def _requantize(call: Call, y: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
    real = call.round(y.to(factor.dtype) * factor) + zero.to(factor.dtype)
    return _saturate(real, _kind(zero))


def qlinear_matmul(call: Call, *inputs: Tensor) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
    total = matmul_integer(call, a, b, a_zero, b_zero)
    if a_scale.dim() == 1 and a_scale.numel() > 1:
        a_scale = a_scale.unsqueeze(-1)
    return _requantize(call, total, a_scale * b_scale / y_scale, y_zero)


def qlinear_conv(call: Call, *inputs: Tensor) -> Tensor:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = inputs
    total = conv_integer(call, x, w, x_zero, w_zero)
    channels: Sequence[int] = [-1, *[1] * (x.dim() - 2)]
    if bias:
        total = total + bias[0].reshape(channels)
    factor = x_scale.reshape(()) * w_scale / y_scale.reshape(())
    return _requantize(call, total, factor.reshape(channels), y_zero)


OPS: dict[str, Op] = {
    "ConvInteger": conv_integer,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize,
}
