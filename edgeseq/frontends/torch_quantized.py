"""`quantized_decomposed.quantize_per_tensor(x, s, z, ..) -> QuantizeLinear(x, s, z)`, and so on.

Programs of torchao's PT2E flow hold these operators around float ones. The exporter knows some of
them; here are all that the flow writes for static and for dynamic scales of tensors and channels,
with the levels bounded as torch does, and with scales that only the run knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxscript
import torch

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch_quiet import quiet

_op: Any = onnxscript.opset18
_LIBRARY = "torch.ao.quantization.fx._decomposed"  # importing it registers the operators


def register() -> None:
    """Make torch know the operators, so that a program with them can be read."""
    with quiet():
        importlib.import_module(_LIBRARY)


def table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operators of torch and what translates each of them."""
    register()
    ops: Any = torch.ops.quantized_decomposed
    found: dict[Callable[..., Any], Callable[..., Any]] = {
        ops.quantize_per_channel.default: _quantize_channels,
        ops.dequantize_per_channel.default: _dequantize_channels,
        ops.choose_qparams.tensor: _choose,
        ops.choose_qparams_symmetric.tensor: _choose_symmetric,
    }
    for overload in ("default", "tensor", "tensor2"):
        found[getattr(ops.quantize_per_tensor, overload)] = _quantize
        found[getattr(ops.dequantize_per_tensor, overload)] = _dequantize
    return found


def _quantize(x: Any, scale: Any, zero: Any, least: Any, most: Any, dtype: int) -> Any:
    levels = _op.QuantizeLinear(x, _scale(scale), _zero(zero, dtype))
    return _bounded(levels, least, most, dtype)


def _dequantize(
    x: Any, scale: Any, zero: Any, _least: Any, _most: Any, dtype: int, out_dtype: int = -1
) -> Any:
    return _as(_op.DequantizeLinear(x, _scale(scale), _zero(zero, dtype)), out_dtype)


def _quantize_channels(
    x: Any, scales: Any, zeros: Any, axis: int, least: Any, most: Any, dtype: int
) -> Any:
    levels = _op.QuantizeLinear(x, _scale(scales), _zero(zeros, dtype), axis=axis)
    return _bounded(levels, least, most, dtype)


def _dequantize_channels(
    x: Any,
    scales: Any,
    zeros: Any,
    axis: int,
    _least: Any,
    _most: Any,
    dtype: int,
    out_dtype: int = -1,
) -> Any:
    shifts = [] if zeros is None else [_zero(zeros, dtype)]
    return _as(_op.DequantizeLinear(x, _scale(scales), *shifts, axis=axis), out_dtype)


def _choose(x: Any, least: int, most: int, eps: float, _dtype: int) -> Any:
    """The scale and the zero point of all of x: zero is among its levels."""
    zero = _float(0)
    low = _op.Min(_op.ReduceMin(x, keepdims=0), zero)
    high = _op.Max(_op.ReduceMax(x, keepdims=0), zero)
    scale = _op.Max(_op.Div(_op.Sub(high, low), _float(most - least)), _float(eps))
    shift = _op.Sub(_float(least), _op.Round(_op.Div(low, scale)))
    return _parameters(scale, _op.Clip(shift, _float(least), _float(most)))


def _choose_symmetric(x: Any, least: int, most: int, eps: float, dtype: int) -> Any:
    """The same with zero in the middle."""
    high = _op.ReduceMax(_op.Abs(x), keepdims=0)
    scale = _op.Max(_op.Div(high, _float((most - least) / 2)), _float(eps))
    unsigned = ir.DataType(dtype) == ir.DataType.UINT8
    return _parameters(scale, _float(128 if unsigned else 0))


def _parameters(scale: Any, zero: Any) -> Any:
    """In the types that torch gives them."""
    return (
        _op.Cast(scale, to=ir.DataType.DOUBLE.value),
        _op.Cast(zero, to=ir.DataType.INT64.value),
    )


def _float(value: float) -> Any:
    return _op.Constant(value_float=float(value))


def _scale(scale: Any) -> Any:
    if isinstance(scale, (int, float)):
        return _float(scale)
    return _op.Cast(scale, to=ir.DataType.FLOAT.value)


def _zero(zero: Any, dtype: int) -> Any:
    if not isinstance(zero, (int, float)):
        return _op.Cast(zero, to=dtype)
    kind = ir.DataType(dtype)
    ends = np.iinfo(kind.numpy())
    if not ends.min <= zero <= ends.max:
        raise UnsupportedModelError(
            f"the zero point {zero} is outside of {kind.name.lower()}",
            why=f"its levels are {ends.min} to {ends.max}",
            fix="calibrate and convert the module again",
        )
    return _op.Cast(_op.Constant(value_int=int(zero)), to=dtype)


def _bounded(levels: Any, least: Any, most: Any, dtype: int) -> Any:
    """QuantizeLinear uses all levels of a type; torch may have been told to use fewer."""
    ends = np.iinfo(ir.DataType(dtype).numpy())
    if (least, most) == (ends.min, ends.max):
        return levels
    low, high = (_op.Cast(_op.Constant(value_int=int(v)), to=dtype) for v in (least, most))
    return _op.Clip(levels, low, high)


def _as(x: Any, dtype: int | None) -> Any:
    return x if dtype in (-1, None, ir.DataType.FLOAT.value) else _op.Cast(x, to=dtype)
