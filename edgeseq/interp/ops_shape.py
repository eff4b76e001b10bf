"""Operators that move values around without computing: reshape, transpose, split, tile."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from edgeseq.errors import UnsupportedModelError
from edgeseq.interp.call import Call, Op, Tensor, as_list, axis_of


def identity(call: Call, x: Tensor) -> Tensor:
    return x


def dropout(
    call: Call, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if training is not None and bool(training) and (ratio is None or float(ratio) > 0):
        raise UnsupportedModelError("Dropout in training mode is random; it has no one result")
    return x, torch.ones_like(x, dtype=torch.bool)


def reshape(call: Call, x: Tensor, shape_input: Tensor) -> Tensor:
    shape = as_list(shape_input)
    if not call.int("allowzero"):
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return x.reshape(shape)


def flatten(call: Call, x: Tensor) -> Tensor:
    axis = axis_of(call.int("axis", 1), x.dim())
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.ints("perm", range(x.dim() - 1, -1, -1)))


def _axes(call: Call, axes_input: Tensor | None) -> list[int]:
    """Axes were an attribute before opset 13."""
    return call.ints("axes") if call.has("axes") else as_list(axes_input)


def squeeze(call: Call, x: Tensor, axes_input: Tensor | None = None) -> Tensor:
    axes = {axis_of(a, x.dim()) for a in _axes(call, axes_input)}
    if not axes:
        axes = {i for i, n in enumerate(x.shape) if n == 1}
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"Squeeze of axes {sorted(axes)} of shape {list(x.shape)}")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


def unsqueeze(call: Call, x: Tensor, axes_input: Tensor | None = None) -> Tensor:
    axes = _axes(call, axes_input)
    rank = x.dim() + len(axes)
    for axis in sorted(axis_of(a, rank) for a in axes):
        x = x.unsqueeze(axis)
    return x


def concat(call: Call, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, call.int("axis"))


def split(call: Call, x: Tensor, sizes_input: Tensor | None = None) -> Sequence[Tensor]:
    axis = call.int("axis")
    sizes = call.ints("split") if call.has("split") else as_list(sizes_input)
    if not sizes:  # equal parts, the last one smaller
        count = call.int("num_outputs", call.outputs)
        total = x.shape[axis]
        part = -(-total // count)
        sizes = [max(0, min(part, total - i * part)) for i in range(count)]
    return torch.split(x, sizes, axis)


def tile(call: Call, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(as_list(repeats))


def expand(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    want = [1] * (x.dim() - shape.numel()) + as_list(shape)  # either side may be the smaller one
    have = [1] * (len(want) - x.dim()) + list(x.shape)
    target = [h if w == 1 else w for h, w in zip(have, want, strict=True)]
    return x.reshape(have).expand(target)


def shape(call: Call, x: Tensor) -> Tensor:
    dims = list(x.shape)
    end = call.int("end") if call.has("end") else len(dims)
    return torch.tensor(dims[call.int("start") : end], dtype=torch.int64)


def size(call: Call, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.int("blocksize")
    if call.text("mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.int("blocksize")
    y = x.reshape(n, c, h // b, b, w // b, b)
    dcr = call.text("mode", "DCR") == "DCR"
    y = y.permute(0, 3, 5, 1, 2, 4) if dcr else y.permute(0, 1, 3, 5, 2, 4)
    return y.reshape(n, c * b * b, h // b, w // b)


OPS: dict[str, Op] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": flatten,
    "Identity": identity,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
