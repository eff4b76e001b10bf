"""The body of `QuantizedConv`: an integer convolution of one and of two dimensions.

A dynamic scale is that of a whole batch element, since each of its values meets many outputs.
The weights are shifted to unsigned ones before they are multiplied: runtimes add products of
unsigned with signed bytes in sixteen bits, which saturates on some machines.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.dialect.text import TOP, Variant, quantized

ATTRIBUTES = "group: int = 1, strides, dilations, pads"
_MIDDLE = 128


def lines(chosen: Variant) -> list[str]:
    """The lines of the body, from X, W, W_scale and B to Y."""
    image = list(range(1, chosen.rank))
    how = {"dynamic": chosen.dynamic_x, "top": TOP + chosen.wide}
    out = [
        *quantized("X", "x", zero_point="x_zero_point", axes=image, **how),
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
