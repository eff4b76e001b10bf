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


def constant(tensor: ir.TensorProtocol, working: torch.dtype | None) -> torch.Tensor:
    """Copy a constant of the model into torch."""
    target = to_torch(tensor.dtype, working)
    array = tensor.numpy()
    if array.dtype.kind == "V" or array.dtype.name in ("bfloat16", "int4", "uint4", "int2", "uint2"):
        array = array.astype(np.float32)  # exact, and a type torch reads
    elif array.dtype.name in ("uint16", "uint32", "uint64"):
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, order="C")).to(target)
