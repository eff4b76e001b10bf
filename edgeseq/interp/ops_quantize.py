"""Quantized arithmetic: integers in, integers out, scales as floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgeseq.interp.call import Call, Op, Tensor, axis_of
from edgeseq.interp.ops_window import conv

# Range of each element type: the sub-byte ones are held in 8 bits, the wide unsigned in more.
_RANGE = {
    "UINT8": (0, 255),
    "INT8": (-128, 127),
    "UINT16": (0, 65535),
    "INT16": (-32768, 32767),
    "INT32": (-(2**31), 2**31 - 1),
    "UINT4": (0, 15),
    "INT4": (-8, 7),
    "UINT2": (0, 3),
    "INT2": (-2, 1),
}
_OF_TORCH = {torch.uint8: "UINT8", torch.int8: "INT8", torch.int32: "INT32", torch.int16: "INT16"}


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


def _saturate(x: Tensor, low: int, high: int, dtype: torch.dtype) -> Tensor:
    return torch.round(x).clamp(low, high).to(dtype)


def quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = "UINT8"
    if call.int("output_dtype"):
        dtype = call.dtype(call.int("output_dtype"))
        kind = _NUMBERS[call.int("output_dtype")]
    elif zero is not None:
        dtype, kind = zero.dtype, _OF_TORCH[zero.dtype]
    else:
        dtype = torch.uint8
    y = torch.round(x / _spread(call, scale, x).to(x.dtype))
    if zero is not None:
        y = y + _spread(call, zero, x).to(x.dtype)
    return _saturate(y, *_RANGE[kind], dtype)


_NUMBERS = {2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 21: "UINT4", 22: "INT4"}


def dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    dtype = call.dtype(call.int("output_dtype")) if call.int("output_dtype") else scale.dtype
    y = x.to(dtype)
    if zero is not None:
        y = y - _spread(call, zero, x).to(dtype)
    return y * _spread(call, scale, x).to(dtype)


def dynamic_quantize(call: Call, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    high, low = x.max().clamp(min=0), x.min().clamp(max=0)
    scale = (high - low) / 255
    zero = _saturate(-low / scale, 0, 255, torch.uint8)
    y = torch.round(x / scale) + zero.to(x.dtype)
    return _saturate(y, 0, 255, torch.uint8), scale, zero


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
    real = torch.round(y.to(factor.dtype) * factor) + zero.to(factor.dtype)
    return _saturate(real, *_RANGE[_OF_TORCH[zero.dtype]], zero.dtype)


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
