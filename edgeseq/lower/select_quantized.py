"""QuantizedGRU, QuantizedLSTM, QuantizedRNN, QuantizedMatMul of constant weights -> int8 kernels.

The kernels give the bits of the functions' bodies; a node without a kernel is computed by its body
(`scan_functions`), slower, and with the accuracy of float32 instead of the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir import dialect
from edgeseq.ir.passes import walk
from edgeseq.kernels import _linear_i8, _quantized, gemm, gemm_i8, gru_i8, lstm_i8, rnn_i8, spmv_i8
from edgeseq.kernels._family import Kernel, Role
from edgeseq.lower import formats, select_convolution_i8
from edgeseq.lower.select import Array, Choice, Shapes, constant, only_user, size, wanted
from edgeseq.lower.select_linear import ACTIVATIONS, read_rows, write_rows
from edgeseq.lower.select_recurrent import input_of, reverse, strides
from edgeseq.lower.size import Size

OPS = ("QuantizedGRU", "QuantizedLSTM", "QuantizedRNN", "QuantizedMatMul")
_MODULES = {"QuantizedGRU": gru_i8, "QuantizedLSTM": lstm_i8, "QuantizedRNN": rnn_i8}
_GATES = {"QuantizedGRU": 3, "QuantizedLSTM": 4, "QuantizedRNN": 1}
_WORTH_A_LOOK = 0.9  # share of the blocks that are stored, above which dense always wins
# Where no times are known: each block has an index to read and follow, the dense stream has none.
_SPARSE = 0.6


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """An int8 kernel for the node, or why there is none."""
    return _linear(node, shapes) if node.op_type == "QuantizedMatMul" else _cell(node, shapes)


def _cell(node: ir.Node, shapes: Shapes) -> Choice | str:
    w, r = constant(node.inputs[1]), constant(node.inputs[2])
    scales = constant(node.inputs[3]), constant(node.inputs[4])
    b = constant(input_of(node, 5))
    if w is None or r is None or scales[0] is None or scales[1] is None:
        return "the weights are not constant"
    if input_of(node, 5) is not None and b is None:
        return "the bias is not constant"
    steps, batch, inputs = (size(d) for d in shapes.of(node.inputs[0]))
    directions, hidden = r.shape[0], r.shape[2]
    get = node.attributes
    x_scale = np.full(directions, get.get_float("x_scale", 0.0), np.float32)
    h_scale = np.full(directions, get.get_float("h_scale", dialect.H_SCALE), np.float32)
    weights = _quantized.Weights(w, r, scales[0], scales[1], x_scale, h_scale)
    gates = _GATES[node.op_type]
    parts = [*w.reshape(-1, gates, hidden, w.shape[2]), *r.reshape(-1, gates, hidden, hidden)]
    activation = get.get_strings("activations", ("Tanh",))[0]
    known = {
        "H": hidden,
        "groups": 1,
        "directions": directions,
        "reverse": reverse(node),
        "reset_first": 1 - get.get_int("linear_before_reset", 0),
        "act": rnn_i8.ACTIVATIONS[activation],
        "x_zero": get.get_int("x_zero_point", 127) if x_scale[0] else 127,
    }
    sizes = {
        **{name: Size.of(value) for name, value in known.items()},
        **{"T": steps, "B": batch, "I": inputs},
        **strides(steps, batch, inputs, hidden, directions, 0),
    }
    usual = _kernel(node.op_type, "")
    base = Choice(
        node=node,
        kernel=usual,
        sizes=sizes,
        inputs=_inputs(node, usual),
        consts=(),
        outputs=_outputs(node, usual),
        in_place=True,
        why=f"int8, {gates} gates of {hidden} units",
    )

    def stored(layout: str) -> Choice:
        packed = _PACK[node.op_type](node, weights, b, layout)
        return _stored(base, _kernel(node.op_type, layout), packed)

    return _cheapest(stored, parts, shapes)


def _pack_gru(
    node: ir.Node, weights: _quantized.Weights, b: Array | None, layout: str
) -> _quantized.Packed:
    first = not node.attributes.get_int("linear_before_reset", 0)
    return gru_i8.pack(weights, b, reset_first=first, layout=layout)


_Pack = Callable[[ir.Node, _quantized.Weights, Array | None, str], _quantized.Packed]
_PACK: Mapping[str, _Pack] = {
    "QuantizedGRU": _pack_gru,
    "QuantizedLSTM": lambda _, weights, b, layout: lstm_i8.pack(weights, b, layout=layout),
    "QuantizedRNN": lambda _, weights, b, layout: rnn_i8.pack(weights, b, layout=layout),
}


def _kernel(op_type: str, layout: str) -> Kernel:
    """The kernel of a layout of weights."""
    ending = f"_i8_{layout}" if layout else "_i8"
    kernels: tuple[Kernel, ...] = _MODULES[op_type].KERNELS
    return next(k for k in kernels if k.name.endswith(ending))


def _linear(node: ir.Node, shapes: Shapes) -> Choice | str:
    w, scale = constant(node.inputs[1]), constant(node.inputs[2])
    bias = constant(input_of(node, 3))
    if w is None or scale is None or (input_of(node, 3) is not None and bias is None):
        return "the weights are not constant"
    x_scale = node.attributes.get_float("x_scale", 0.0)
    last, activation = node, ""
    user = only_user(node.outputs[0])
    if user is not None and user.op_type in ACTIVATIONS:
        last, activation = user, user.op_type
    inputs, outputs = w.shape
    known = {
        **{"N": outputs, "K": inputs, "ldx": inputs, "ldy": outputs},
        "act": gemm.ACTIVATIONS[activation],
        "x_zero": node.attributes.get_int("x_zero_point", 127) if x_scale else 127,
    }
    if not _fits(node):
        return "two neighbouring weights of -128 and 256 levels of the input"
    rows = Size.of(1)
    for dim in shapes.of(node.inputs[0])[:-1]:
        rows = rows * size(dim)
    sizes = {"M": rows, **{name: Size.of(value) for name, value in known.items()}}
    base = Choice(
        node=node,
        kernel=gemm_i8.KERNELS[0],
        sizes=sizes,
        inputs=(node.inputs[0],),
        consts=(),
        outputs=(last.outputs[0],),
        covers=() if last is node else (last,),
        why=f"int8, constant matrix {inputs} x {outputs}",
        read_rows=read_rows,
        write_rows=write_rows,
    )

    def stored(layout: str) -> Choice:
        packed = _linear_i8.pack(
            w, scale, bias, x_scale=x_scale, wide=dialect.variant(node).wide, layout=layout
        )
        ending = f"_{layout}" if layout else "gemm_i8"
        kernels = (*gemm_i8.KERNELS, *spmv_i8.KERNELS)
        return _stored(base, next(k for k in kernels if k.name.endswith(ending)), packed)

    return _cheapest(stored, [np.ascontiguousarray(w.T)[None]], shapes)


def _stored(base: Choice, kernel: Kernel, packed: _quantized.Packed) -> Choice:
    """A choice with its weights in a layout."""
    sizes = {**base.sizes, **{name: Size.of(value) for name, value in packed.sizes.items()}}
    return dataclasses.replace(
        base,
        kernel=kernel,
        sizes={n: sizes[n] for n in kernel.sizes},
        consts=tuple(packed.arrays[a.name] for a in kernel.args if a.role is Role.CONST),
    )


def _cheapest(stored: Callable[[str], Choice], parts: Sequence[Array], shapes: Shapes) -> Choice:
    """The layout that the cost table finds faster; without its times, what is mostly zero."""
    dense, (layout, share) = stored(""), _blocks(parts)
    if share >= _WORTH_A_LOOK:
        return dataclasses.replace(dense, why=f"{dense.why}, dense")
    blocks = stored(layout)
    costing = shapes.costing
    priced = [(c, c.kernel.name, formats.at_one_step(c)) for c in (dense, blocks)]
    known = costing.table.levels.values()
    if any(all(name in kernels for _, name, _ in priced) for kernels in known):
        best, why = costing.table.cheapest(priced, costing.levels)
    else:
        best, why = (blocks if share < _SPARSE else dense), "the cost table has no time of them"
    how = f"{share:.0%} of the blocks stored" if best is blocks else "dense"
    return dataclasses.replace(best, why=f"{best.why}, {how}; {why}")


def _blocks(parts: Sequence[Array]) -> tuple[str, float]:
    """Blocks for matrices [gates, outputs, inputs], and the share of them that is not all zero."""
    found = {}
    for name, width in _quantized.WIDTHS.items():
        if width:
            kept = [_quantized.blocks(p, width).any(axis=(3, 4)) for p in parts]
            found[name] = sum(float(k.sum()) for k in kept) / sum(k.size for k in kept)
    name = min(found, key=lambda one: (found[one], -_quantized.WIDTHS[one]))
    if found["b16x4"] <= found[name] * 1.1:
        name = "b16x4"  # a wide block is one instruction
    return name, found[name]


def _inputs(node: ir.Node, kernel: Kernel) -> tuple[ir.Value | None, ...]:
    place = {"x": 0, "lens": 6, "h0": 7, "c0": 8}
    return tuple(input_of(node, place[a.name]) for a in kernel.args if a.role is Role.IN)


def _outputs(node: ir.Node, kernel: Kernel) -> tuple[ir.Value | None, ...]:
    place = {"y": 0, "h_n": 1, "c_n": 2}
    found = []
    for arg in kernel.args:
        if arg.role is Role.OUT:
            index = place[arg.name]
            value = node.outputs[index] if index < len(node.outputs) else None
            found.append(value if wanted(value) else None)
    return tuple(found)


def with_kernels(model: ir.Model) -> frozenset[ir.OperatorIdentifier]:
    """Functions all of whose calls have a kernel: lowering need not look into their bodies."""
    found: dict[ir.OperatorIdentifier, bool] = {}
    for node in walk(model.graph):
        if node.domain == dialect.DOMAIN and node.op_type in select_convolution_i8.OPS:
            key = node.op_identifier()
            found[key] = found.get(key, True) and not select_convolution_i8.refusal(node)
        elif node.domain == dialect.DOMAIN and node.op_type in OPS:
            count = 4 if node.op_type == "QuantizedMatMul" else 6
            given = [value for value in node.inputs[1:count] if value is not None]
            fixed = all(constant(value) is not None for value in given) and _fits(node)
            key = node.op_identifier()
            found[key] = found.get(key, True) and fixed
    return frozenset(key for key, fixed in found.items() if fixed)


def _fits(node: ir.Node) -> bool:
    """Whether the kernels can add up what the node multiplies."""
    w = constant(node.inputs[1])
    wide = node.op_type == "QuantizedMatMul" and dialect.variant(node).wide
    return not wide or w is None or _quantized.wide_fits(w.T)
