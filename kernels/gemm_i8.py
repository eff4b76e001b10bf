"""y = act(x w + bias) with int8 weights and quantized x, the same bits everywhere; c/gemm_i8.c."""

from __future__ import annotations

from edgeseq.kernels import _linear_i8 as linear
from edgeseq.kernels import _quantized as q
from edgeseq.kernels._family import Array


def pack(
    w: Array, scale: Array, bias: Array | None = None, *, x_scale: float, wide: bool = False
) -> q.Packed:
    """Pack w int8 [K, N], its scales [N] and bias [N]; x_scale 0: each row of x has its own."""
    return linear.pack(w, scale, bias, x_scale=x_scale, wide=wide)


def unpack(packed: q.Packed, inputs: int, outputs: int) -> Array:
    """Return the int8 weights [K, N]."""
    return linear.unpack(packed, inputs, outputs)


KERNELS = (linear.kernel("gemm_i8", "gemm_i8.c", ""),)
