"""The body of `QuantizedConv`: an integer convolution of one and of two dimensions.

A dynamic scale is that of a whole batch element, since each of its values meets many outputs.
Its input is read once more to be quantized. That pays where an output sums over many products and
an input meets many outputs: measured with AVX2 and with VNNI, from 128 products and 32 outputs on.
The weights are shifted to unsigned ones before they are multiplied: runtimes add products of
unsigned with signed bytes in sixteen bits, which saturates on some machines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from edgeseq.ir.dialect.text import TOP, Variant, quantized

ATTRIBUTES = "group: int = 1, strides, dilations, pads"
LEAST_PRODUCTS, LEAST_OUTPUTS = 128, 32
SMALL = f"fewer than {LEAST_PRODUCTS} products per output or {LEAST_OUTPUTS} outputs"
_MIDDLE = 128


def is_small(weight: Sequence[int], group: int) -> bool:
    """Whether a convolution of this weight, [outputs, inputs, ...], is as fast on floats."""
    outputs, *inside = weight
    return math.prod(inside) < LEAST_PRODUCTS or outputs // group < LEAST_OUTPUTS


def attributes(node: ir.Node, rank: int) -> dict[str, int | tuple[int, ...]]:
    """Those of a Conv of so many axes, all of them written out."""
    get = node.attributes
    ones, zeros = (1,) * rank, (0,) * 2 * rank
    return {
        "group": int(get.get_int("group", 1)),
        "strides": tuple(get.get_ints("strides", ones)),
        "dilations": tuple(get.get_ints("dilations", ones)),
        "pads": tuple(get.get_ints("pads", zeros)),
    }


def lines(chosen: Variant) -> list[str]:
    """The lines of the body, from X, W, W_scale and B to Y."""
    image = list(range(1, chosen.rank))
    dynamic, top, zero_point = chosen.dynamic_x, TOP + chosen.wide, "x_zero_point"
    out = [
        *quantized("X", "x", dynamic=dynamic, zero_point=zero_point, axes=image, top=top),
        "x_zero_byte = Cast<to = 2> (x_zero)",
        "x_byte = Cast<to = 2> (x_level)",
        f"w_middle = Constant<value_int = {_MIDDLE}> ()",
        "w_zero = Cast<to = 6> (w_middle)",
        "w_zero_byte = Cast<to = 2> (w_middle)",
        "w_int = Cast<to = 6> (W)",
        "w_shift = Add (w_int, w_zero)",
        "w_byte = Cast<to = 2> (w_shift)",
        "sum = ConvInteger<group: int = @group, strides: ints = @strides,"
        " dilations: ints = @dilations, pads: ints = @pads>"
        " (x_byte, w_byte, x_zero_byte, w_zero_byte)",
        "product = Cast<to = 1> (sum)",
        f"places = Constant<value_ints = [{', '.join(map(str, image[:-1]))}]> ()",
        "w_scales = Unsqueeze (W_scale, places)",
        "scales = Mul (x_s, w_scales)",
    ]
    if not chosen.bias:
        return [*out, "Y = Mul (product, scales)"]
    return [
        *out,
        "real = Mul (product, scales)",
        "shift = Unsqueeze (B, places)",
        "Y = Add (real, shift)",
    ]


def output_shape(made: ir.Node, x: ir.Shape, weights: ir.Shape) -> ir.Shape | None:
    """The shape of Y; what is known of it already where a stride meets an unknown length."""
    get = made.attributes
    rank = len(weights) - 2
    strides, dilations = get.get_ints("strides", ()), get.get_ints("dilations", ())
    pads = get.get_ints("pads", ())
    dims: list[int | ir.SymbolicDim] = [x[0], weights[0]]
    for axis, (size, kernel) in enumerate(zip(x[2:], weights[2:], strict=True)):
        stride = strides[axis] if strides else 1
        reach = (dilations[axis] if dilations else 1) * (int(str(kernel)) - 1)
        more = (pads[axis] + pads[rank + axis] if pads else 0) - reach
        if isinstance(size, int):
            dims.append((size + more - 1) // stride + 1)
        elif stride == 1:
            dims.append(
                ir.SymbolicDim(f"{size.value} {'+-'[more < 0]} {abs(more)}") if more else size
            )
        else:
            return made.outputs[0].shape
    return ir.Shape(dims)
