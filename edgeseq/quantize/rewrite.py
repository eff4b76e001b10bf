"""A layer -> the same layer of fewer bits.

GRU, LSTM, RNN   int8: QuantizedGRU, QuantizedLSTM, QuantizedRNN
MatMul, Gemm     int8: QuantizedMatMul, with the bias behind it; or, for other runtimes,
                 QuantizeLinear, DequantizeLinear around the float product
Conv             the same with QuantizedConv, where it is large enough
Gather           rows of levels, scaled after they were looked up
all others       the weight alone, dequantized before use
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeseq.ir import dialect
from edgeseq.ir.edit import Editor, data_of, sole_user
from edgeseq.quantize import convolutions, weights
from edgeseq.quantize.layers import CONVOLUTION, EMBEDDING, LINEAR, RECURRENT, Array, Layer
from edgeseq.quantize.observers import Encoding, Seen, encoding, erases, loses, of_range
from edgeseq.quantize.scheme import Scheme, Settings
from edgeseq.quantize.weights import Rounded

# A call lists all outputs: ONNX Runtime does not look into a function otherwise.
_OUTPUTS = {"QuantizedGRU": 2, "QuantizedRNN": 2, "QuantizedLSTM": 3}


@dataclasses.dataclass(frozen=True)
class Change:
    """What became of one layer.

    Args:
        name: The user's name of its first weight.
        op_type: The operator it was.
        scheme: As the user writes it.
        activations: `static`, `dynamic`, or `float`.
        elements: Number of its weights.
        nbytes: Bytes of the weights now, scales included.
        noise: Relative error of the weights, sum of squares over sum of squares.
        methods: What was done to lower the error, as `gptq`, `smoothed x3.1`.
        node: Name of the node it was.
    """

    name: str
    op_type: str
    scheme: str
    activations: str
    elements: int
    nbytes: int
    noise: float
    methods: tuple[str, ...] = ()
    node: str = ""


@dataclasses.dataclass(frozen=True)
class Rewriter:
    """Rewrites the layers of one model.

    Args:
        edit: Of the model.
        settings: The user's choices.
        seen: What was seen of activations, by name; empty without samples.
        qdq: Say static products as QuantizeLinear and DequantizeLinear, for other runtimes.
        rows: What the layer to come multiplies, where that matters: one array, or one of each
            direction of a cell, which has the input beside the state.
    """

    edit: Editor
    settings: Settings
    seen: Mapping[str, Seen]
    qdq: bool = False
    rows: tuple[Array, ...] = ()

    def rewrite(self, layer: Layer, scheme: Scheme) -> Change:
        """Rewrite one layer."""
        if layer.kind == EMBEDDING and scheme.weights == "int8":
            return self._embedding(layer)
        if scheme.activations and not layer.why_float and not self.erased(layer):
            if layer.kind == RECURRENT and self.settings.cell_states != "float":
                return self._recurrent(layer, scheme)
            static = not scheme.dynamic and self._static(layer.x)
            if layer.kind == LINEAR and not (self.qdq and static):
                return self._linear(layer, scheme)
            if layer.kind == CONVOLUTION and self._is_integer(layer, static):
                return self._convolution(layer, scheme)
        return self._weights_alone(layer, scheme)

    def _is_integer(self, layer: Layer, static: bool) -> bool:
        """Whether a convolution becomes one of integers."""
        scaled = not self.qdq if static else convolutions.has_known_image(layer)
        return scaled and not convolutions.refusal(layer)

    def erased(self, layer: Layer) -> bool:
        """Whether int8 would wipe out too much of what a layer is given."""
        seen = self.seen.get(str(layer.x.name))
        if layer.kind not in (LINEAR, RECURRENT, CONVOLUTION) or seen is None:
            return False
        if layer.kind == CONVOLUTION and convolutions.refusal(layer):
            return False
        return self.settings.activations == "auto" and erases(seen.rows)

    # Integer products.

    def _recurrent(self, layer: Layer, scheme: Scheme) -> Change:
        node, title = layer.node, layer.name
        (w_value, w), (r_value, r) = layer.weights()
        w8, r8 = self._cell(w, r, scheme)
        x = None if scheme.dynamic else self._encoding(layer.x)
        bias = data_of(node.inputs[3]) if len(node.inputs) > 3 else None
        if bias is None:
            bias = np.zeros((w.shape[0], 2 * w.shape[1]), np.float32)
        if self.settings.correct_bias and x is not None:
            shift = self._shift(layer.x, w.reshape(-1, w.shape[2]), w8.floats(), x)
            bias = bias.copy()
            bias[:, : w.shape[1]] -= shift.reshape(w.shape[0], -1)
        name = str(node.name)
        constants = [
            self._kept(w_value, w8.levels.reshape(w.shape)),
            self._kept(r_value, r8.levels.reshape(r.shape)),
            self.edit.constant(w8.scales.reshape(w.shape[:2]), f"{name}.W_scale"),
            self.edit.constant(r8.scales.reshape(r.shape[:2]), f"{name}.R_scale"),
            self.edit.constant(bias.astype(np.float32), f"{name}.B"),
        ]
        attributes = {**_attributes(node), **_input_scale(x), "h_scale": self._h_scale(layer)}
        inputs = [layer.x, *constants, *node.inputs[4:]]
        self._replace(node, f"Quantized{node.op_type}", inputs, attributes)
        size = sum(scheme.nbytes(*layer.matrix(one)) for one in (w, r))
        floats = (w8.floats().reshape(w.shape), r8.floats().reshape(r.shape))
        noise = _noise([(w, floats[0]), (r, floats[1])])
        how = "dynamic" if x is None else "static"
        done = self._methods(rounded=True, mended=x is not None)
        return Change(title, node.op_type, scheme.text, how, w.size + r.size, size, noise, done)

    def _cell(self, w: Array, r: Array, scheme: Scheme) -> tuple[Rounded, Rounded]:
        """Both weights of each direction: the second against what the first leaves of an error."""
        pairs = []
        for direction, both in enumerate(self.rows or (None,) * len(w)):
            x = h = missing = None
            if both is not None:
                x, h = both[:, : w.shape[2]], both[:, w.shape[2] :]
            w8 = weights.rounded(w[direction], scheme, self.settings, x)
            if x is not None:
                missing = x @ (w[direction] - w8.floats()).T
            pairs.append((w8, weights.rounded(r[direction], scheme, self.settings, h, missing)))
        first, second = zip(*pairs, strict=True)
        return weights.joined(first), weights.joined(second)

    def _methods(self, *, rounded: bool, mended: bool) -> tuple[str, ...]:
        """What was done to a layer."""
        rounding = self.settings.rounding
        return (rounding,) * (rounded and bool(self.rows) and rounding != "nearest") + (
            "bias corrected",
        ) * (mended and self.settings.correct_bias)

    def _linear(self, layer: Layer, scheme: Scheme) -> Change:
        node, title = layer.node, layer.name
        ((value, stored),) = layer.weights()
        get = node.attributes
        w = stored if get.get_int("transB", 0) else stored.T  # [outputs, inputs]
        w = np.ascontiguousarray(w * np.float32(get.get_float("alpha", 1.0)))
        x = None if scheme.dynamic else self._encoding(layer.x)
        w8 = weights.rounded(w, scheme, self.settings, self._rows(w))
        bias, last = self._bias(node, len(w))
        if self.settings.correct_bias and x is not None:
            zero = np.zeros(len(w), np.float32) if bias is None else bias
            bias = zero - self._shift(layer.x, w, w8.floats(), x)
        name = str(node.name)
        inputs: list[ir.Value | None] = [
            layer.x,
            self._kept(value, np.ascontiguousarray(w8.levels.T)),
            self.edit.constant(w8.scales, f"{name}.W_scale"),
        ]
        if bias is not None:
            inputs.append(self.edit.constant(bias.astype(np.float32), f"{name}.B"))
        self._replace(last, "QuantizedMatMul", inputs, _input_scale(x))
        if last is not node:
            self.edit.remove(node)
        how = "dynamic" if x is None else "static"
        size = scheme.nbytes(*w.shape)
        noise = _noise([(w, w8.floats())])
        done = self._methods(rounded=True, mended=x is not None)
        return Change(title, node.op_type, scheme.text, how, w.size, size, noise, done)

    def _convolution(self, layer: Layer, scheme: Scheme) -> Change:
        node, title = layer.node, layer.name
        ((value, w),) = layer.weights()
        x = None if scheme.dynamic else self._encoding(layer.x)
        ordered = convolutions.in_order(w, node)
        rows = self._rows(w[0].reshape(1, -1))
        if rows is not None:
            rows = convolutions.inputs_in_order(rows, w, node)
        w8 = weights.rounded(ordered, scheme, self.settings, rows)
        floats = convolutions.restored(w8.floats(), w, node)
        bias = data_of(node.inputs[2]) if len(node.inputs) > 2 else None
        attributes = dialect.conv.attributes(node, w.ndim - 2)
        mended = self.settings.correct_bias and x is not None
        if mended and x is not None:
            seen, groups = (
                self.seen[str(layer.x.name)].rows,
                int(node.attributes.get_int("group", 1)),
            )
            zero = np.zeros(len(w), np.float32) if bias is None else bias
            bias = zero - convolutions.shift(w, floats, seen, x, groups)
        name = str(node.name)
        inputs: list[ir.Value | None] = [
            layer.x,
            self._kept(value, convolutions.restored(w8.levels, w, node)),
            self.edit.constant(w8.scales, f"{name}.W_scale"),
        ]
        if bias is not None:
            inputs.append(self.edit.constant(bias.astype(np.float32), f"{name}.B"))
        self._replace(node, "QuantizedConv", inputs, {**attributes, **_input_scale(x)})
        how = "dynamic" if x is None else "static"
        size, done = scheme.nbytes(*layer.matrix(w)), self._methods(rounded=True, mended=mended)
        noise = _noise([(w, floats)])
        return Change(title, "Conv", scheme.text, how, w.size, size, noise, done)

    def _bias(self, node: ir.Node, outputs: int) -> tuple[Array | None, ir.Node]:
        """The constant row added to the product, and the node whose output has it."""
        if node.op_type == "Gemm":
            row = data_of(node.inputs[2]) if len(node.inputs) > 2 else None
            if row is None:
                return None, node
            factor = np.float32(node.attributes.get_float("beta", 1.0))
            return np.broadcast_to(row.reshape(-1) * factor, (outputs,)), node
        user = sole_user(node.outputs[0])
        if user is None or user.op_type != "Add" or user.graph is not node.graph:
            return None, node
        other = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
        row = data_of(other)
        rank = len(node.outputs[0].shape or ())
        if row is None or row.size != outputs or row.shape[-1] != outputs or row.ndim > rank:
            return None, node
        return row.reshape(-1), user

    # Weights alone.

    def _weights_alone(self, layer: Layer, scheme: Scheme) -> Change:
        node, title = layer.node, layer.name
        before = [data for _, data in layer.weights()]
        alone = dataclasses.replace(scheme, activations=False)
        pairs, size = [], 0
        cell = self._levels_of_cell(layer, alone)
        for slot, (value, data) in zip(layer.slots, layer.weights(), strict=True):
            new, floats, used = self._weight(layer, value, data, alone, cell.get(slot))
            node.replace_input_with(slot, new)
            pairs.append((data, floats))
            size += used.nbytes(*layer.matrix(data))
            alone = used
        products = self.qdq and layer.kind in (LINEAR, CONVOLUTION)
        static = scheme.activations and not scheme.dynamic
        around = static and products and self._around(layer)
        text, how = (scheme.text, "static") if around else (alone.text, "float")
        elements = sum(data.size for data in before)
        done = self._methods(rounded=alone.weights.startswith("int"), mended=False)
        return Change(title, node.op_type, text, how, elements, size, _noise(pairs), done)

    def _levels_of_cell(self, layer: Layer, scheme: Scheme) -> Mapping[int, Rounded]:
        """The weights of a cell that are rounded together, by slot."""
        if layer.kind != RECURRENT or not scheme.weights.startswith("int"):
            return {}
        (_, w), (_, r) = layer.weights()
        return dict(zip(layer.slots, self._cell(w, r, scheme), strict=True))

    def _weight(
        self,
        layer: Layer,
        value: ir.Value,
        data: Array,
        scheme: Scheme,
        one: Rounded | None = None,
    ) -> tuple[ir.Value, Array, Scheme]:
        """A weight behind its dequantization, its floats, and the scheme used."""
        node = layer.node
        if scheme.weights in ("bfloat16", "float16"):
            half = weights.halved(data, scheme)
            return weights.cast(self.edit, node, value, half), half.astype(np.float32), scheme
        outputs_at = _outputs_axis(layer)
        if scheme.weights == "int4" and layer.node.op_type == "ConvTranspose":
            scheme = Scheme("int8")  # its inputs are no axis of the stored weight
        moved = np.moveaxis(data, outputs_at, 0) if layer.kind != RECURRENT else data
        matrix = moved.reshape(-1, data.shape[2]) if layer.kind == RECURRENT else _flat(moved)
        if one is None:
            one = weights.rounded(matrix, scheme, self.settings, self._rows(matrix))
        floats = one.floats().reshape(moved.shape)
        floats = floats if layer.kind == RECURRENT else np.moveaxis(floats, 0, outputs_at)
        if one.group:
            first = layer.kind == LINEAR and outputs_at == 1
            new = weights.dequantized_groups(self.edit, node, value, one, inputs_first=first)
        elif layer.kind == RECURRENT:
            new = weights.dequantized(self.edit, node, value, one.levels, one.scales, 0)
        else:
            levels = np.moveaxis(one.levels.reshape(moved.shape), 0, outputs_at)
            new = weights.dequantized(self.edit, node, value, levels, one.scales, outputs_at)
        if new.shape is not None and len(new.shape) != data.ndim:
            new = self.edit.reshape(node, new, data.shape)
        return new, floats, scheme

    def _embedding(self, layer: Layer) -> Change:
        """Look up levels and scale, then multiply: the table stays int8 in memory."""
        node, title, scheme = layer.node, layer.name, Scheme("int8")
        ((value, table),) = layer.weights()
        one = weights.rounded(table, scheme, self.settings, None)
        emit = self.edit.emit
        factors = self.edit.constant(one.scales[:, None], f"{value.name}.scale")
        rows = emit(node, "Gather", [self._kept(value, one.levels), layer.x], {"axis": 0})
        scales = emit(node, "Gather", [factors, layer.x], {"axis": 0})
        real = emit(node, "Cast", [rows], {"to": ir.DataType.FLOAT.value})
        self.edit.replace_node(node, emit(node, "Mul", [real, scales]))
        size, noise = scheme.nbytes(*table.shape), _noise([(table, one.floats())])
        return Change(title, "Gather", scheme.text, "float", table.size, size, noise)

    # What they share.

    def _around(self, layer: Layer) -> bool:
        """Put QuantizeLinear and DequantizeLinear before a layer, where its input was seen."""
        x = self._range(layer.x)
        if x is None:
            return False
        name = str(layer.node.name)
        scale = self.edit.constant(np.float32(x.scale), f"{name}.x_scale")
        zero = self.edit.constant(np.uint8(x.zero_point), f"{name}.x_zero_point")
        levels = self.edit.emit(layer.node, "QuantizeLinear", [layer.x, scale, zero])
        real = self.edit.emit(layer.node, "DequantizeLinear", [levels, scale, zero])
        layer.node.replace_input_with(0, real)
        return True

    def _static(self, x: ir.Value) -> bool:
        return self._encoding(x) is not None

    def _encoding(self, x: ir.Value) -> Encoding | None:
        """Scale and zero point of an activation; None: dynamic."""
        found = self._range(x)
        if found is None or self.settings.activations != "auto":
            return found
        return None if loses(found, self.seen[str(x.name)].rows) else found

    def _range(self, x: ir.Value) -> Encoding | None:
        """What the observer says of an activation, if there were samples."""
        s, seen = self.settings, self.seen.get(str(x.name))
        if s.activations == "dynamic" or seen is None:
            return None
        return encoding(seen, s.observer, percentile=s.percentile, symmetric=s.symmetric)

    def _h_scale(self, layer: Layer) -> float:
        """The scale of a state: what was seen of it; tanh bounds it to 1; else each step's own."""
        if self.settings.cell_states == "dynamic":
            return 0.0
        h = str(layer.node.outputs[0].name)
        if h in self.seen and self.settings.activations != "dynamic":
            seen = self.seen[h]
            return of_range(seen.low, seen.high, symmetric=True).scale
        names = layer.node.attributes.get_strings("activations", ())
        relu = layer.node.op_type == "RNN" and "relu" in [name.lower() for name in names]
        return 0.0 if relu else dialect.H_SCALE

    def _rows(self, w: Array) -> Array | None:
        """What a matrix is multiplied by, if that was looked at."""
        return self.rows[0] if self.rows and self.rows[0].shape[-1] == w.shape[-1] else None

    def _shift(self, x: ir.Value, w: Array, w8: Array, how: Encoding) -> Array:
        """The mean error of a product over the samples, [outputs]."""
        rows = self.seen[str(x.name)].rows
        return np.asarray(w8 @ how.round_trip(rows).mean(axis=0) - w @ rows.mean(axis=0))

    def _kept(self, value: ir.Value, levels: Array) -> ir.Value:
        """The levels of a weight, with its facts: its name in the source, its sparsity."""
        made = self.edit.constant(levels, f"{value.name}.int8")
        made.metadata_props.update(value.metadata_props)
        return made

    def _replace(
        self,
        node: ir.Node,
        op_type: str,
        inputs: list[ir.Value | None],
        attributes: Mapping[str, dialect.quantized.Attribute],
    ) -> ir.Node:
        """Put a call of a quantized function in a node's place; names and shapes stay."""
        made = dialect.node(self.edit.model, op_type, inputs, attributes, _OUTPUTS.get(op_type, 1))
        assert node.graph is not None
        node.graph.insert_before(node, made)
        self.edit.inherit(made, node)
        for new in made.outputs[len(node.outputs) :]:
            new.name = self.edit.name(f"{made.name}.out")
        dialect.infer(made)
        for old, new in zip(node.outputs, made.outputs, strict=False):
            new.type, new.shape = old.type, old.shape
            new.metadata_props.update(old.metadata_props)
            name, old.name = old.name, None
            new.name = name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
        return made


def _attributes(node: ir.Node) -> dict[str, dialect.quantized.Attribute]:
    get = node.attributes
    found: dict[str, dialect.quantized.Attribute] = {
        "hidden_size": int(get.get_int("hidden_size", 0)),
        "direction": get.get_string("direction", "forward"),
    }
    if node.op_type == "GRU":
        found["linear_before_reset"] = int(get.get_int("linear_before_reset", 0))
    if node.op_type == "RNN":
        directions = 2 if found["direction"] == "bidirectional" else 1
        names = get.get_strings("activations", ("Tanh",) * directions)
        found["activations"] = [name.capitalize() for name in names]
    return found


def _input_scale(x: Encoding | None) -> dict[str, dialect.quantized.Attribute]:
    if x is None:
        return {"x_scale": 0.0, "x_zero_point": 127}
    return {"x_scale": x.scale, "x_zero_point": x.zero_point}


def _outputs_axis(layer: Layer) -> int:
    """Where a stored weight has its outputs (of a recurrent one: behind the directions)."""
    if layer.kind == RECURRENT or layer.node.op_type == "ConvTranspose":
        return 1
    return int(layer.kind == LINEAR and not layer.node.attributes.get_int("transB", 0))


def _flat(moved: Array) -> Array:
    return moved.reshape(len(moved), -1)


def _noise(pairs: list[tuple[Array, Array]]) -> float:
    error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
    size = sum(float(np.square(a, dtype=np.float64).sum()) for a, _ in pairs)
    return error / size if size else 0.0
