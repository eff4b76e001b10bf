"""Convolution and pooling of any rank: both slide a window, both share the padding rules."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgeseq.interp.call import Call, Op, Tensor

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclasses.dataclass(frozen=True)
class Window:
    """A sliding window: sizes per spatial axis and padding before and after."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    before: list[int]
    after: list[int]

    @property
    def pads(self) -> list[int]:
        """As F.pad takes them: last axis first."""
        pairs = zip(self.before[::-1], self.after[::-1], strict=True)
        return [n for pair in pairs for n in pair]

    @property
    def span(self) -> list[int]:
        """How many elements the window covers."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]


def _window(call: Call, spatial: list[int], kernel: list[int]) -> Window:
    rank = len(spatial)
    stride = call.ints("strides", [1] * rank)
    dilation = call.ints("dilations", [1] * rank)
    pads = call.ints("pads", [0] * (2 * rank))
    window = Window(kernel, stride, dilation, pads[:rank], pads[rank:])
    auto = call.text("auto_pad", "NOTSET")
    if auto == "VALID":
        return dataclasses.replace(window, before=[0] * rank, after=[0] * rank)
    if auto == "NOTSET":
        return window
    total = [
        max(0, (-(-n // s) - 1) * s + span - n)
        for n, s, span in zip(spatial, stride, window.span, strict=True)
    ]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    if auto == "SAME_UPPER":
        return dataclasses.replace(window, before=small, after=large)
    return dataclasses.replace(window, before=large, after=small)


def conv(call: Call, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    window = _window(call, list(x.shape[2:]), list(w.shape[2:]))
    function = _CONV[x.dim() - 2]
    x = F.pad(x, window.pads)
    return function(x, w, b, window.stride, 0, window.dilation, call.int("group", 1))


def conv_transpose(call: Call, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """The full result, then cropped: ONNX pads may differ before and after."""
    rank = x.dim() - 2
    window = _window(call, list(x.shape[2:]), list(w.shape[2:]))
    extra = call.ints("output_padding", [0] * rank)
    function = _TRANSPOSED[rank]
    y = function(x, w, None, window.stride, 0, 0, call.int("group", 1), window.dilation)
    before, after = _crops(call, x, window, extra)
    ends = [e - a for e, a in zip(extra, after, strict=True)]
    y = F.pad(y, Window([], [], [], [-n for n in before], ends).pads)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _crops(call: Call, x: Tensor, window: Window, extra: list[int]) -> tuple[list[int], list[int]]:
    auto = call.text("auto_pad", "NOTSET")
    spatial = list(x.shape[2:])
    if call.has("output_shape"):
        want = call.ints("output_shape")[-len(spatial) :]
    elif auto.startswith("SAME"):
        want = [n * s for n, s in zip(spatial, window.stride, strict=True)]
    else:
        return window.before, window.after
    rows = zip(spatial, window.stride, window.span, extra, want, strict=True)
    total = [(n - 1) * s + span + e - out for n, s, span, e, out in rows]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def _windows(x: Tensor, window: Window, counts: list[int], fill: float) -> Tensor:
    """Cut `x` [N, C, ...] into [N, C, counts..., kernel cells]."""
    needed = [(c - 1) * s + n for c, s, n in zip(counts, window.stride, window.span, strict=True)]
    after = [n - b - k for n, b, k in zip(needed, window.before, x.shape[2:], strict=True)]
    x = F.pad(x, dataclasses.replace(window, after=after).pads, value=fill)
    for axis, (span, stride) in enumerate(zip(window.span, window.stride, strict=True)):
        x = x.unfold(2 + axis, span, stride)
    for axis, dilation in enumerate(window.dilation):
        cells = torch.arange(0, x.shape[2 + len(counts) + axis], dilation)
        x = x.index_select(2 + len(counts) + axis, cells)
    return x.reshape(*x.shape[: 2 + len(counts)], -1)


def _counts(call: Call, spatial: list[int], window: Window) -> list[int]:
    """How many windows fit; with ceil_mode also one that only starts inside."""
    counts = []
    rows = zip(spatial, window.before, window.after, window.span, window.stride, strict=True)
    for n, before, after, span, stride in rows:
        room = n + before + after - span
        count = room // stride + 1
        if call.int("ceil_mode"):
            count = -(-room // stride) + 1
            count -= (count - 1) * stride >= n + before
        counts.append(count)
    return counts


def _pool(call: Call, x: Tensor) -> tuple[Window, list[int]]:
    spatial = list(x.shape[2:])
    window = _window(call, spatial, call.ints("kernel_shape"))
    return window, _counts(call, spatial, window)


def max_pool(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    window, counts = _pool(call, x)
    low = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    values, cell = _windows(x, window, counts, low).max(-1)
    spatial = x.shape[2:]
    place = torch.arange(math.prod(spatial))
    if call.int("storage_order"):
        place = place.reshape(list(spatial)[::-1]).permute(*reversed(range(len(spatial))))
    place = place.reshape(1, 1, *spatial)
    places = _windows(place, window, counts, 0).expand(*values.shape, -1)
    at = places.gather(-1, cell.unsqueeze(-1)).squeeze(-1)
    planes = torch.arange(x.shape[0] * x.shape[1]) * math.prod(spatial)
    return values, at + planes.reshape(x.shape[0], x.shape[1], *[1] * len(spatial))


def average_pool(call: Call, x: Tensor) -> Tensor:
    window, counts = _pool(call, x)
    total = _windows(x, window, counts, 0).sum(-1)
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    if call.int("count_include_pad"):
        ones = F.pad(ones, window.pads, value=1)
        window = dataclasses.replace(window, before=[0] * len(counts))
    return total / _windows(ones, window, counts, 0).sum(-1)


def lp_pool(call: Call, x: Tensor) -> Tensor:
    window, counts = _pool(call, x)
    p = call.int("p", 2)
    return _windows(x.abs() ** p, window, counts, 0).sum(-1) ** (1 / p)


def _global(function: Callable[[Tensor, list[int]], Tensor]) -> Op:
    def op(call: Call, x: Tensor) -> Tensor:
        return function(x, list(range(2, x.dim())))

    return op


OPS: dict[str, Op] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GlobalAveragePool": _global(lambda x, axes: x.mean(axes, keepdim=True)),
    "GlobalMaxPool": _global(lambda x, axes: x.amax(axes, keepdim=True)),
    "LpPool": lp_pool,
    "MaxPool": max_pool,
}
