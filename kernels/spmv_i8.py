"""gemm_i8 with only those blocks of 16 (8) outputs by 4 inputs that are not zero; c/spmv_i8.c."""

from __future__ import annotations

from edgeseq.kernels import _linear_i8 as linear
from edgeseq.kernels import _quantized as q
from edgeseq.kernels._family import Array


def pack(
    w: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    x_scale: float,
    wide: bool = False,
    layout: str = "b16x4",
) -> q.Packed:
    """Pack w int8 [K, N], its scales [N] and bias [N]; x_scale 0: each row of x has its own."""
    return linear.pack(w, scale, bias, x_scale=x_scale, wide=wide, layout=layout)


def unpack(packed: q.Packed, inputs: int, outputs: int, layout: str = "b16x4") -> Array:
    """Return the int8 weights [K, N]."""
    return linear.unpack(packed, inputs, outputs, layout)


KERNELS = tuple(
    linear.kernel(f"spmv_i8_{layout}", "spmv_i8.c", layout) for layout in ("b16x4", "b8x4")
)
