"""`QuantizedGRU`, `QuantizedLSTM`, `QuantizedRNN`, `QuantizedMatMul`, `QuantizedConv`.

ONNX has no recurrent cell of int8 weights and activations, and no product that quantizes its
input step by step. These functions of the `edgeseq` domain say both with standard operators, each a
single float32 or integer operation, so that whoever runs the body gets the bits of the kernels:

    u   = clamp(round(v / s) + zp, 0, 254)          quantize(v, s, zp), half to even
                                                    (products: up to x_top)
    s   = max(max|v|, 2^-100) / 127, zp = 127       where it is dynamic: per step and batch row
    acc = sum of w * (u - zp)                       exact, int32
    p   = float(acc) * (s * w_scale[row])

A body holds no branches: one function stands for each combination of direction, optional inputs
and static or dynamic scales that a model uses, told apart by ONNX's `overload`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir

from edgeseq.ir.dialect import cells, conv, exact
from edgeseq.ir.dialect.text import DOMAIN, TOP, Variant, quantized

PRODUCTS = frozenset({"QuantizedMatMul", "QuantizedConv"})
OPS = frozenset({"QuantizedGRU", "QuantizedLSTM", "QuantizedRNN", *PRODUCTS})
OPSET = 26
_OVERLOADS = 10  # the version of ONNX's format that brought them
H_SCALE = 1.0 / 127
Attribute = int | float | str | Sequence[str] | Sequence[int]

_SCALES = "x_scale: float = 0.0, x_zero_point: int = 127"
_INPUT = f"{_SCALES}, x_top: int = {TOP}"  # of products
_CELL = f'hidden_size, direction: string = "forward", {_SCALES}, h_scale: float = {H_SCALE!r}'
_STATE = "X, W, R, W_scale, R_scale, B, sequence_lens, initial_h"
_SIGNATURES = {
    "QuantizedGRU": (f"{_CELL}, linear_before_reset: int = 0", _STATE, "Y, Y_h"),
    "QuantizedLSTM": (_CELL, f"{_STATE}, initial_c", "Y, Y_h, Y_c"),
    "QuantizedRNN": (f"{_CELL}, activations", _STATE, "Y, Y_h"),
    "QuantizedMatMul": (_INPUT, "X, W, W_scale, B", "Y"),
    "QuantizedConv": (f"{conv.ATTRIBUTES}, {_INPUT}", "X, W, W_scale, B", "Y"),
}


def node(
    model: ir.Model,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Attribute],
    outputs: int = 1,
) -> ir.Node:
    """Make a call of one of `OPS` and see to it that the model defines the function.

    Args:
        model: The model the node will stand in.
        op_type: One of `OPS`.
        inputs: As the function takes them; None where an optional one is absent.
        attributes: As the function takes them.
        outputs: How many outputs the node lists.
    """
    given = [i for i, value in enumerate(inputs) if value is not None]
    inputs = inputs[: given[-1] + 1]
    made = ir.node(op_type, inputs, attributes=dict(attributes), domain=DOMAIN, num_outputs=outputs)
    made.overload = variant(made).overload()
    define(model, made)
    return made


def define(model: ir.Model, made: ir.Node) -> None:
    """Add the function a node calls, and those that one calls, to the model."""
    for function in (*exact.functions(), body(made.op_type, variant(made))):
        model.functions.setdefault(function.identifier(), function)
    model.opset_imports.setdefault(DOMAIN, 1)
    model.ir_version = max(model.ir_version, _OVERLOADS)


def variant(made: ir.Node) -> Variant:
    """Read off a node which of the bodies it calls."""
    get = made.attributes
    given = [value is not None for value in made.inputs] + [False] * 9
    bias = given[3] if made.op_type in PRODUCTS else given[5]
    weight = made.inputs[1]
    activations = get.get_strings("activations", ("Tanh",))
    return Variant(
        direction=get.get_string("direction", "forward"),
        dynamic_x=get.get_float("x_scale", 0.0) == 0,
        dynamic_h=get.get_float("h_scale", H_SCALE) == 0,
        reset_first=get.get_int("linear_before_reset", 0) == 0,
        activation=activations[0],
        bias=bias,
        lens=given[6],
        h0=given[7],
        c0=given[8],
        rank=len(weight.shape) if weight is not None and weight.shape is not None else 0,
        wide=get.get_int("x_top", TOP) > TOP and get.get_float("x_scale", 0.0) != 0,
        op_type=made.op_type,
    )


def body(op_type: str, chosen: Variant) -> ir.Function:
    """Return the function of one variant."""
    attributes, inputs, outputs = _SIGNATURES[op_type]
    bodies = {"QuantizedMatMul": _matmul, "QuantizedConv": conv.lines}
    lines = bodies.get(op_type, cells.lines)(chosen)
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : 1]>\n'
        f"{op_type} <{attributes}> ({inputs}) => ({outputs})\n{{\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\n}"
    )
    proto = onnx.parser.parse_function(text)
    proto.overload = chosen.overload()
    return ir.serde.deserialize_function(proto)


def infer(made: ir.Node) -> None:
    """Set type and shape of a call's outputs, as far as those of its inputs are known."""
    x, weights = made.inputs[0], made.inputs[1 if made.op_type in PRODUCTS else 2]
    for output in made.outputs:
        output.dtype = ir.DataType.FLOAT
    if x is None or weights is None or x.shape is None or weights.shape is None:
        return
    if made.op_type == "QuantizedMatMul":
        made.outputs[0].shape = ir.Shape([*x.shape[:-1], weights.shape[1]])
        return
    if made.op_type == "QuantizedConv":
        made.outputs[0].shape = conv.output_shape(made, x.shape, weights.shape)
        return
    state = [weights.shape[0], x.shape[1], weights.shape[2]]
    made.outputs[0].shape = ir.Shape([x.shape[0], *state])
    for output in made.outputs[1:]:
        output.shape = ir.Shape(state)


def _matmul(chosen: Variant) -> list[str]:
    top = TOP + chosen.wide
    out = [
        *quantized("X", "x", dynamic=chosen.dynamic_x, zero_point="x_zero_point", top=top),
        "w = Cast<to = 6> (W)",
        "sum = MatMul (x_int, w)",
        "product = Cast<to = 1> (sum)",
        "scales = Mul (x_s, W_scale)",
    ]
    if chosen.bias:
        return [*out, "real = Mul (product, scales)", "Y = Add (real, B)"]
    return [*out, "Y = Mul (product, scales)"]


__all__ = ["DOMAIN", "H_SCALE", "OPS", "Variant", "body", "define", "infer", "node", "variant"]
