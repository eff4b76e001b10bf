"""Normalisations."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeseq.interp.call import Call, Op, Tensor, axis_of


def _per_channel(v: Tensor, like: Tensor) -> Tensor:
    return v.reshape(-1, *[1] * (like.dim() - 2))


def _standardize(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + epsilon)


def batch_norm(
    call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> tuple[Tensor, ...]:
    epsilon, momentum = call.float("epsilon", 1e-5), call.float("momentum", 0.9)
    running: tuple[Tensor, ...] = ()
    if call.int("training_mode"):
        axes = [0, *range(2, x.dim())]
        old_mean, old_var = mean, var
        mean, var = x.mean(axes), x.var(axes, correction=0)
        running = tuple(
            old * momentum + new * (1 - momentum) for old, new in ((old_mean, mean), (old_var, var))
        )
    y = (x - _per_channel(mean, x)) / torch.sqrt(_per_channel(var, x) + epsilon)
    return (y * _per_channel(scale, x) + _per_channel(bias, x), *running)


def instance_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    y = _standardize(x, list(range(2, x.dim())), call.float("epsilon", 1e-5))
    return y * _per_channel(scale, x) + _per_channel(bias, x)


def group_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = call.int("num_groups")
    grouped = x.reshape(x.shape[0], groups, -1)
    y = _standardize(grouped, [2], call.float("epsilon", 1e-5)).reshape(x.shape)
    if call.opset < 21:  # one scale per group then, one per channel since
        repeat = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(repeat), bias.repeat_interleave(repeat)
    return y * _per_channel(scale, x) + _per_channel(bias, x)


def layer_norm(
    call: Call, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(axis_of(call.int("axis", -1), x.dim()), x.dim()))
    mean = x.mean(axes, keepdim=True)
    var = ((x - mean) ** 2).mean(axes, keepdim=True)
    inverse = 1 / torch.sqrt(var + call.float("epsilon", 1e-5))
    y = (x - mean) * inverse * scale
    return (y if bias is None else y + bias), mean, inverse


def rms_norm(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axes = list(range(axis_of(call.int("axis", -1), x.dim()), x.dim()))
    square = (x * x).mean(axes, keepdim=True)
    return x / torch.sqrt(square + call.float("epsilon", 1e-5)) * scale


def lp_norm(call: Call, x: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(x, call.int("p", 2), call.int("axis", -1), keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


def mean_variance_norm(call: Call, x: Tensor) -> Tensor:
    axes = call.ints("axes", [0, 2, 3])
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt((centred * centred).mean(axes, keepdim=True)) + 1e-9)


def lrn(call: Call, x: Tensor) -> Tensor:
    size = call.int("size")
    squares = F.pad((x * x).movedim(1, -1), [(size - 1) // 2, size // 2])
    total = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    base = call.float("bias", 1.0) + call.float("alpha", 1e-4) / size * total
    return x / base ** call.float("beta", 0.75)


OPS: dict[str, Op] = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance_norm,
    "RMSNormalization": rms_norm,
}
