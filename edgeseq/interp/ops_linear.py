"""Matrix products."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import torch

from edgeseq.interp.call import Call, Op, Tensor, pointwise


def gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if call.int("transA") else a
    b = b.T if call.int("transB") else b
    alpha, beta = call.float("alpha", 1.0), call.float("beta", 1.0)
    y = a @ b
    y = y if alpha == 1 else (alpha * y).to(y.dtype)
    if c is None:
        return y
    return y + (c if beta == 1 else (beta * c).to(c.dtype))


def einsum(call: Call, *inputs: Tensor) -> Tensor:
    return torch.einsum(call.text("equation").replace(" ", ""), *inputs)


OPS: dict[str, Op] = {"Einsum": einsum, "Gemm": gemm, "MatMul": pointwise(torch.matmul)}
