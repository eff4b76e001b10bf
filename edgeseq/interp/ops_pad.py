"""Padding, cropping and resampling."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from edgeseq.errors import UnsupportedModelError
from edgeseq.interp.call import Call, Op, Tensor, as_list, axis_of

Array = npt.NDArray[Any]
_Mode = Literal["reflect", "edge", "wrap"]


def pad(
    call: Call,
    x: Tensor,
    pads_input: Tensor | None = None,
    value: Tensor | None = None,
    axes_input: Tensor | None = None,
) -> Tensor:
    pads = call.ints("pads") if pads_input is None else as_list(pads_input)
    axes = [axis_of(a, x.dim()) for a in as_list(axes_input)] or list(range(x.dim()))
    mode = call.text("mode", "constant")
    if mode == "constant":
        fill = call.float("value", 0.0) if value is None else value.item()
        return _constant(x, axes, pads, fill)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        x = _by_index(x, axis, before, after, cast(_Mode, mode))
    return x


def _constant(x: Tensor, axes: list[int], pads: list[int], fill: float) -> Tensor:
    pairs = [[0, 0] for _ in range(x.dim())]
    for i, axis in enumerate(axes):
        pairs[axis] = [pads[i], pads[i + len(axes)]]
    flat = [n for pair in reversed(pairs) for n in pair]
    if x.dtype == torch.bool:
        return F.pad(x.to(torch.uint8), flat, value=float(fill)).to(torch.bool)
    return F.pad(x, flat, value=fill)


def _by_index(x: Tensor, axis: int, before: int, after: int, mode: _Mode) -> Tensor:
    """Let numpy pad the indices, then gather: exact for every element type."""
    kept = np.arange(x.shape[axis])[max(0, -before) : x.shape[axis] - max(0, -after)]
    index = np.pad(kept, (max(0, before), max(0, after)), mode=mode)
    return x.index_select(axis, torch.from_numpy(index))


def center_crop_pad(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    axes = [axis_of(a, x.dim()) for a in call.ints("axes", range(x.dim()))]
    for axis, want in zip(axes, as_list(shape), strict=True):
        spare = x.shape[axis] - want
        if spare > 0:
            x = x.narrow(axis, spare // 2, want)
        else:
            x = _constant(x, [axis], [-spare // 2, -spare - -spare // 2], 0)
    return x


def resize(
    call: Call,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Resample one axis after the other, each by a matrix [out, in] of weights."""
    if call.opset < 11:  # Resize-10 and Upsample: the second input is `scales`
        scales = roi
    axes = [axis_of(a, x.dim()) for a in call.ints("axes", range(x.dim()))]
    wanted = _sizes(call, x, axes, scales, sizes)
    for i, axis in enumerate(axes):
        before, after = x.shape[axis], wanted[i][0]
        if before == after and wanted[i][1] == 1:
            continue
        matrix = _matrix(call, before, after, wanted[i][1]).to(_float(x))
        moved = x.to(matrix.dtype).movedim(axis, -1) @ matrix.T
        x = moved.movedim(-1, axis).to(x.dtype)
    return x


def _float(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float64


def _sizes(
    call: Call, x: Tensor, axes: list[int], scales: Tensor | None, sizes: Tensor | None
) -> list[tuple[int, float]]:
    """Return output length and scale per axis."""
    lengths = [x.shape[a] for a in axes]
    if sizes is None or not sizes.numel():
        factors = call.attributes.get("scales") if scales is None else scales.tolist()
        assert factors is not None
        return [(int(n * f), f) for n, f in zip(lengths, factors, strict=True)]
    want = as_list(sizes)
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [(w, w / n) for w, n in zip(want, lengths, strict=True)]
    ratios = [w / n for w, n in zip(want, lengths, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [(int(np.floor(scale * n + 0.5)), scale) for n in lengths]


def _matrix(call: Call, before: int, after: int, scale: float) -> Tensor:
    mode = call.text("mode", "nearest")
    at = _coordinates(call, before, after, scale)
    if mode == "nearest":
        index = _nearest(at, call.text("nearest_mode", "round_prefer_floor"))
        if call.opset < 11:
            index = np.floor(at)
        return torch.eye(before, dtype=torch.float64)[np.clip(index, 0, before - 1).astype(int)]
    stretch = min(scale, 1.0) if call.int("antialias") else 1.0
    weights = _weights(call, at, before, mode, stretch)
    return torch.from_numpy(weights)


def _coordinates(call: Call, before: int, after: int, scale: float) -> Array:
    """Where each output element lies on the input axis."""
    i = np.arange(after, dtype=np.float64)
    default = "half_pixel" if call.opset >= 11 else "asymmetric"
    mode = call.text("coordinate_transformation_mode", default)
    length = scale * before
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (before - 1) / (length - 1) if length > 1 else np.zeros(after)
    if mode == "pytorch_half_pixel" and length <= 1:
        return np.zeros(after)
    shift = before / 2 * (1 - after / length) if mode == "half_pixel_symmetric" else 0.0
    if not mode.endswith(("half_pixel", "symmetric")):
        raise UnsupportedModelError(f"Resize with coordinates '{mode}'")
    return shift + (i + 0.5) / scale - 0.5


def _nearest(at: Array, mode: str) -> Array:
    rounded: dict[str, Array] = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
    }
    return rounded[mode]


def _weights(call: Call, at: Array, before: int, mode: str, stretch: float) -> Array:
    """Weights [out, in] of a linear or cubic filter, widened by 1/stretch when it shrinks."""
    radius = (1 if mode == "linear" else 2) / stretch
    cells = np.arange(-int(np.ceil(radius)), before + int(np.ceil(radius)))
    distance = (cells[None, :] - at[:, None]) * stretch
    curve = _triangle if mode == "linear" else _cubic(call.float("cubic_coeff_a", -0.75))
    weights = curve(np.abs(distance))
    outside = (cells < 0) | (cells >= before)
    if call.int("exclude_outside"):
        weights[:, outside] = 0
    weights /= weights.sum(1, keepdims=True)
    folded = np.zeros((len(at), before))
    np.add.at(folded.T, np.clip(cells, 0, before - 1), weights.T)
    return folded


def _triangle(d: Array) -> Array:
    return np.asarray(np.maximum(0, 1 - d))


def _cubic(a: float) -> Any:
    def curve(d: Array) -> Array:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    return curve


OPS: dict[str, Op] = {
    "CenterCropPad": center_crop_pad,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
}
