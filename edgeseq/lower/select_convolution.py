"""Conv and ConvTranspose (1-D, 2-D, float32, constant weights), with the activation behind them.

Weights that the graph stores as int8 stay so in the library where enough columns share them for the
kernel to expand them at each call (`kernels/conv_w8.py`); else they are dequantized here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeseq.kernels import _conv, conv, conv_transpose, conv_w8
from edgeseq.lower import sparse_convolution, stored
from edgeseq.lower.select import Array, Choice, Dim, Shapes, constant, only_user, size
from edgeseq.lower.size import Size

OPS = ("Conv", "ConvTranspose")
USUAL_T = 64  # the length for which a kernel is chosen where the real one is not known
_ACTIVATIONS = {
    "Relu": _conv.Activation.SLOPE,
    "LeakyRelu": _conv.Activation.SLOPE,
    "PRelu": _conv.Activation.SLOPE,
    "Tanh": _conv.Activation.TANH,
    "Sigmoid": _conv.Activation.SIGMOID,
}


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A convolution kernel for the node, or why there is none."""
    weight = constant(node.inputs[1])
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(bias_value)
    if weight is None or (bias_value is not None and bias is None):
        return "the weights are not constant"
    if weight.dtype != np.float32:
        return f"the weights are {weight.dtype}, the kernels are float32"
    if weight.ndim not in (3, 4):
        return f"a convolution of rank {weight.ndim - 2} has no kernel"
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return "auto_pad was not resolved to pads"
    transposed = node.op_type == "ConvTranspose"
    x, out = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    outputs = int(out[1])
    follower, activation, slope = activation_behind(node, outputs)
    known = known_sizes(node, x, weight.shape, activation)
    sizes = sizes_of(known, x, out)
    last = node if follower is None else follower
    packed_bias = _conv.pack_bias(outputs, bias, slope)
    if not transposed:
        length = 1 if shapes.costing.steps else USUAL_T
        priced = known_sizes(node, x, weight.shape, activation, length)
        sparse = sparse_convolution.offer(weight, known, priced, shapes.costing)
        if sparse is not None:
            return _without_zeros(node, follower, sparse, sizes, packed_bias)
    found = conv_transpose.choose(known) if transposed else conv.choose(known)
    kernel, why = found.kernel, found.reason
    packed = (
        _conv.pack_transposed_weights(weight, known["G"])
        if transposed
        else _conv.pack_weights(weight, known["G"])
    )
    choice = Choice(
        node=node,
        kernel=kernel,
        sizes={n: sizes[n] for n in kernel.sizes},
        inputs=(node.inputs[0],),
        consts=(packed, packed_bias),
        outputs=(last.outputs[0],),
        covers=() if follower is None else (follower,),
        why=why,
        read_rows=read_rows,
        write_rows=_write_transposed_rows if transposed else write_rows,
    )
    levels = stored.channel_levels(node)
    if levels is not None:
        return _by_levels(choice, levels, known["G"], packed_bias)
    kind = stored.was(node.inputs[1])
    why = f"{why}; {kind} weights as floats: {stored.AS_FLOATS}" if kind else why
    return dataclasses.replace(choice, why=why)


def _without_zeros(
    node: ir.Node,
    follower: ir.Node | None,
    offer: sparse_convolution.Offer,
    sizes: Mapping[str, Size],
    bias: Array,
) -> Choice:
    """The choice with a sparse kernel."""
    own, packed = sparse_convolution.sizes_of(sizes, offer), offer.packed
    return Choice(
        node=node,
        kernel=offer.kernel,
        sizes={n: own[n] for n in offer.kernel.sizes},
        inputs=(node.inputs[0],),
        consts=(packed.counts, packed.index, packed.w, bias),
        outputs=((follower or node).outputs[0],),
        covers=() if follower is None else (follower,),
        why=offer.why,
        read_rows=sparse_convolution.read_rows if offer.pointwise else read_rows,
        write_rows=sparse_convolution.write_rows if offer.pointwise else write_rows,
    )


def _by_levels(base: Choice, levels: stored.Levels, groups: int, bias: Array) -> Choice:
    """The choice with int8 weights, or in float, and why."""
    transposed = base.node.op_type == "ConvTranspose"
    twin = conv_w8.usual(base.kernel)
    if twin is None:
        return dataclasses.replace(
            base, why=f"{base.why}; int8 weights as floats: {stored.AS_FLOATS}"
        )
    scales = levels.scales[0]
    scale = np.tile(scales, groups) if transposed else scales
    packed = conv_w8.pack(levels.values, scale, groups, transposed=transposed)
    return dataclasses.replace(
        base,
        kernel=twin,
        consts=(packed["w"], packed["scale"], bias),
        why=f"{base.why}, int8 weights",
    )


def read_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images, channels or lines of x."""
    image = (sizes["H"], sizes["W"])
    return (
        _image_rows("x", sizes["N"], sizes["C"], image, count, row, stride) if index == 0 else None
    )


def write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images, channels or lines of y."""
    image = _conv.output_image(sizes, transposed=False)
    return _image_rows("y", sizes["N"], sizes["O"], image, count, row, stride)


def _write_transposed_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    image = _conv.output_image(sizes, transposed=True)
    return _image_rows("y", sizes["N"], sizes["O"], image, count, row, stride)


def _image_rows(
    name: str,
    batch: int,
    channels: int,
    image: tuple[int, int],
    count: int,
    row: int,
    stride: int,
) -> Mapping[str, int] | None:
    """Strides with which the rows are images, channels or lines of an image."""
    if stride % 4:
        return None
    h, w = image
    step = stride // 4
    if (count, row) == (batch, 4 * channels * h * w):
        return {f"{name}_ns": step}
    if (count, row) == (batch * channels, 4 * h * w):
        return {f"{name}_cs": step, f"{name}_ns": channels * step}
    if (count, row) == (batch * channels * h, 4 * w):
        return {f"{name}_hs": step, f"{name}_cs": h * step, f"{name}_ns": channels * h * step}
    return None


def known_sizes(
    node: ir.Node,
    x: tuple[Dim, ...],
    weight_shape: tuple[int, ...],
    activation: _conv.Activation,
    length: int = USUAL_T,
) -> dict[str, int]:
    """The kernel's int parameters, at this length where it is not known."""
    get = node.attributes.get_ints
    x_shape = [d if isinstance(d, int) else size(d).at({"T": length}) for d in x]
    common = {
        "strides": get("strides", ()),
        "dilations": get("dilations", ()),
        "groups": node.attributes.get_int("group", 1),
        "activation": activation,
    }
    if node.op_type != "ConvTranspose":
        return _conv.conv_sizes(x_shape, weight_shape, pads=get("pads", ()), **common)
    return _conv.transposed_sizes(
        x_shape,
        weight_shape,
        pads=get("pads", ()),
        output_padding=get("output_padding", ()),
        **common,
    )


def sizes_of(known: Mapping[str, int], x: tuple[Dim, ...], out: tuple[Dim, ...]) -> dict[str, Size]:
    """The kernel's int parameters; those that depend on T as expressions."""
    sizes = {n: Size.of(v) for n, v in known.items()}
    if all(isinstance(d, int) for d in (*x, *out)):
        return sizes
    for name, shape in (("x", x), ("y", out)):
        dims = [size(d) for d in shape]
        h, w = (dims[2], dims[3]) if len(dims) == 4 else (Size.of(1), dims[2])
        sizes[f"{name}_hs"] = w
        sizes[f"{name}_cs"] = h * w
        sizes[f"{name}_ns"] = dims[1] * (h * w)
        if name == "x":
            sizes["N"], sizes["H"], sizes["W"] = dims[0], h, w
    return sizes


def activation_behind(
    node: ir.Node, outputs: int
) -> tuple[ir.Node | None, _conv.Activation, Array | float | None]:
    """The only user of the result, if it is an activation that the kernel can apply."""
    nothing = (None, _conv.Activation.NONE, None)
    user = only_user(node.outputs[0])
    if user is None or user.op_type not in _ACTIVATIONS or user.inputs[0] is not node.outputs[0]:
        return nothing
    activation = _ACTIVATIONS[user.op_type]
    if user.op_type == "LeakyRelu":
        return user, activation, user.attributes.get_float("alpha", 0.01)
    if user.op_type == "Relu":
        return user, activation, 0.0
    if user.op_type != "PRelu":
        return user, activation, None
    slope = constant(user.inputs[1])
    if slope is None:
        return nothing
    rank = len(node.outputs[0].shape or ())
    per_channel = slope.size == outputs and (
        slope.ndim in (rank, rank - 1) and slope.shape[-(rank - 1)] == outputs
    )
    if slope.size != 1 and not per_channel:
        return nothing
    return user, activation, slope.reshape(-1) if slope.size > 1 else float(slope.reshape(-1)[0])
