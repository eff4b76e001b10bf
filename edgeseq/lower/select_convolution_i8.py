"""QuantizedConv of constant weights -> int8 kernels, with the activation behind it.

The kernels give the bits of the function's body.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import onnx_ir as ir

from edgeseq.ir import dialect
from edgeseq.kernels import _quantized, conv_i8
from edgeseq.kernels._exact import MIDDLE
from edgeseq.kernels._family import Role
from edgeseq.lower import select_convolution as plain
from edgeseq.lower.select import Choice, Shapes, constant
from edgeseq.lower.size import Size

OPS = ("QuantizedConv",)


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """An int8 kernel for the node, or why there is none."""
    if why := refusal(node):
        return why
    w, scale, bias = (constant(value) for value in _weights(node))
    assert w is not None
    assert scale is not None
    x, out = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    follower, activation, slope = plain.activation_behind(node, len(w))
    known = plain.known_sizes(node, x, w.shape, activation)
    image = w if w.ndim == 4 else w[:, :, None]
    x_scale, wide = node.attributes.get_float("x_scale", 0.0), dialect.variant(node).wide
    depthwise = conv_i8.is_depthwise(known)
    if depthwise:
        packed = conv_i8.pack_depthwise(image, scale, bias, slope, x_scale=x_scale, wide=wide)
    else:
        packed = conv_i8.pack(
            *(image, scale, bias, slope),
            groups=known["G"],
            x_scale=x_scale,
            wide=wide,
            dilation=known["DW"],
        )
    kernel = conv_i8.DEPTHWISE if depthwise else conv_i8.DENSE
    relu = follower is not None and follower.op_type == "Relu"
    own = {
        "act": conv_i8.ACTIVATIONS["Relu"] if relu else int(activation),
        "x_zero": node.attributes.get_int("x_zero_point", MIDDLE) if x_scale else MIDDLE,
        **packed.sizes,
    }
    sizes = {**plain.sizes_of(known, x, out), **{n: Size.of(v) for n, v in own.items()}}
    last = node if follower is None else follower
    return Choice(
        node=node,
        kernel=kernel,
        sizes={n: sizes[n] for n in kernel.sizes},
        inputs=(node.inputs[0],),
        consts=tuple(packed.arrays[a.name] for a in kernel.args if a.role is Role.CONST),
        outputs=(last.outputs[0],),
        covers=() if follower is None else (follower,),
        why=f"int8, {image[0].size} products for each of {len(w)} outputs",
        read_rows=plain.read_rows,
        write_rows=functools.partial(_write_rows, outputs=len(w)),
    )


def refusal(node: ir.Node) -> str:
    """Why no kernel computes a node; empty where one does."""
    weights = _weights(node)
    arrays = [constant(value) for value in weights]
    w = arrays[0]
    if w is None or any(a is None for a, v in zip(arrays, weights, strict=True) if v is not None):
        return "the weights are not constant"
    if w.ndim not in (3, 4):
        return f"a convolution of rank {w.ndim - 2} has no kernel"
    if w[0].size > _quantized.MOST_INPUTS:
        return f"{w[0].size} products for each output, {_quantized.MOST_INPUTS} fit 32 bits"
    image, dilations = (
        w if w.ndim == 4 else w[:, :, None],
        node.attributes.get_ints("dilations", (1,)),
    )
    if dialect.variant(node).wide and not _quantized.wide_fits(
        conv_i8.ordered(image, dilations[-1])
    ):
        return "two neighbouring weights of -128 and 256 levels of the input"
    return ""


def _weights(node: ir.Node) -> tuple[ir.Value | None, ...]:
    """W, W_scale and B."""
    given = tuple(node.inputs[1:4])
    return given + (None,) * (3 - len(given))


def _write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int, *, outputs: int
) -> Mapping[str, int] | None:
    whole = {"SW": 1, "O": outputs, **sizes}
    return plain.write_rows(index, whole, count, row, stride)
