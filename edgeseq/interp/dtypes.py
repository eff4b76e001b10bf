"""Element types: from ONNX to torch, and constants from onnx_ir to torch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from edgeseq.errors import UnsupportedModelError

# torch hardly computes with wide unsigned and sub-byte integers: the next wider type holds them.
_TORCH = {
    "FLOAT": torch.float32,
    "DOUBLE": torch.float64,
    "FLOAT16": torch.float16,
    "BFLOAT16": torch.bfloat16,
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "UINT8": torch.uint8,
    "UINT16": torch.int32,
    "UINT32": torch.int64,
    "UINT64": torch.int64,
    "INT4": torch.int8,
    "UINT4": torch.uint8,
    "INT2": torch.int8,
    "UINT2": torch.uint8,
    "COMPLEX64": torch.complex64,
    "COMPLEX128": torch.complex128,
}
_WORKING = {"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"}


def to_torch(onnx_type: int, working: torch.dtype | None) -> torch.dtype:
    """Return the torch type that holds an ONNX element type.

    Args:
        onnx_type: An `onnx_ir.DataType` or its number.
        working: The type every float of the model has while it runs; None keeps their own.
    """
    name = ir.DataType(onnx_type).name
    if name not in _TORCH:
        raise UnsupportedModelError(f"the interpreter has no element type {name}")
    if working is not None and name in _WORKING:
        return working
    if working is not None and name.startswith("COMPLEX"):
        return torch.complex128 if working == torch.float64 else torch.complex64
    return _TORCH[name]


def name(onnx_type: int) -> str:
    """Return ONNX's name of an element type, e.g. `UINT4`."""
    return str(ir.DataType(onnx_type).name)


def number(name: str) -> int:
    """Return ONNX's number of an element type."""
    return int(ir.DataType[name].value)


def integer_range(name: str) -> tuple[int, int]:
    """Return the least and the greatest value of an integer type, e.g. of `UINT4`."""
    if name not in _TORCH or "INT" not in name:
        raise UnsupportedModelError(f"the interpreter does not quantize to {name}")
    bits = int(name.rpartition("INT")[2])
    return (0, 2**bits - 1) if name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def wrap(x: torch.Tensor, name: str) -> torch.Tensor:
    """Keep only the bits an integer type has, when the torch type that holds it has more."""
    if name not in ("INT4", "UINT4", "INT2", "UINT2", "UINT16", "UINT32"):
        return x
    low, high = integer_range(name)
    return (x.to(torch.int64) - low) % (high - low + 1) + low


def constant(tensor: ir.TensorProtocol, working: torch.dtype | None) -> torch.Tensor:
    """Copy a constant of the model into torch."""
    target = to_torch(tensor.dtype, working)
    array = tensor.numpy()
    if array.dtype.name in ("bfloat16", "int4", "uint4", "int2", "uint2"):
        array = array.astype(np.float32)  # exact, and a type torch reads
    elif array.dtype.name in ("uint16", "uint32", "uint64"):
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, order="C")).to(target)
