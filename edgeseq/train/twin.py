"""A quantized model -> its float twin, what is fake-quantized in it, and the way back.

    QuantizedGRU, -LSTM, -RNN               GRU, LSTM, RNN; x, h, W and R fake
    QuantizedMatMul                         MatMul (and Add); x and W fake
    QuantizedConv                           Conv; x and W fake
    DequantizeLinear(constant levels)       the weight, fake
    DequantizeLinear(QuantizeLinear(x))     Identity, x fake

Weights keep the names of their levels. What has no twin (tables of embeddings, half precision,
zero points of weights) stays as it is and is not learnt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts, filter_banks
from edgeseq.ir.dialect import DOMAIN, H_SCALE
from edgeseq.ir.edit import data_of, sole_user
from edgeseq.train.fake import TOP4, TOP8, Fakes, Levels, Weight

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_CELLS = {"QuantizedGRU": "GRU", "QuantizedLSTM": "LSTM", "QuantizedRNN": "RNN"}
_LINEAR = {"QuantizedMatMul": "MatMul", "QuantizedConv": "Conv"}
_ENDS = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127)}


@dataclasses.dataclass(frozen=True)
class Twin:
    """What is trained in place of a quantized model.

    Args:
        model: In float; the names of nodes, values and weights are those of the quantized model.
        fakes: What of it is quantized.
        masks: By weight: False where a pruned weight has its zeros.
        holders: By weight: the initializer that holds its scales.
    """

    model: ir.Model
    fakes: Fakes
    masks: Mapping[str, Mask]
    holders: Mapping[str, str]


def make(quantized: ir.Model, reference: ir.Model, *, pairs: bool = False) -> Twin:
    """Return the float twin of a quantized model.

    Args:
        quantized: As `edgeseq.quantize` makes it; every node is given a name of its own.
        reference: The float model it was made of: latent weights start from its weights.
        pairs: Pairs of weights must fit sixteen bits.
    """
    _name_nodes(quantized)
    work = _Twins(quantized.clone(), reference, pairs)
    for node in list(work.model.graph):
        work.visit(node)
    return Twin(work.model, Fakes(work.weights, work.inputs, work.states), work.masks, work.holders)


class _Twins:
    """Replaces nodes of one model."""

    def __init__(self, model: ir.Model, reference: ir.Model, pairs: bool) -> None:
        self.model = model
        self.weights: dict[str, Weight] = {}
        self.inputs: dict[str, Levels] = {}
        self.states: dict[str, Levels] = {}
        self.masks: dict[str, Mask] = {}
        self.holders: dict[str, str] = {}
        self._reference = reference.graph.initializers
        self._pairs = pairs

    def visit(self, node: ir.Node) -> None:
        if node.domain == DOMAIN and node.op_type in _CELLS:
            self._cell(node)
        elif node.domain == DOMAIN and node.op_type in _LINEAR:
            self._linear(node)
        elif node.op_type == "DequantizeLinear":
            if data_of(node.inputs[0]) is not None:
                self._stored(node)
            else:
                self._round_trip(node)

    def _cell(self, node: ir.Node) -> None:
        x, w, r, w_scale, r_scale, *rest = node.inputs
        if not (_own(w, w_scale) and _own(r, r_scale)):
            return
        for value, scale in ((w, w_scale), (r, r_scale)):
            self._latent(value, scale, lambda s: s[..., None], inputs=2, top=TOP8)
        kept = ("hidden_size", "direction", "linear_before_reset", "activations")
        attributes = {name: node.attributes[name] for name in kept if name in node.attributes}
        made = self._put(node, _CELLS[node.op_type], [x, w, r, *rest], attributes)
        self.inputs[str(made.name)] = _input(node, 1)
        h_scale = node.attributes.get_float("h_scale", H_SCALE)
        self.states[str(made.name)] = Levels(h_scale)

    def _linear(self, node: ir.Node) -> None:
        x, w, scale, *bias = node.inputs
        if not _own(w, scale):
            return
        assert w is not None
        assert w.shape is not None
        rank = len(w.shape)
        if node.op_type == "QuantizedConv":
            # The inputs of an output are all other axes; pairs lie along the first of them.
            self._latent(w, scale, lambda s: s.reshape(-1, *[1] * (rank - 1)), inputs=1, top=TOP8)
            attributes = {n: a for n, a in node.attributes.items() if not n.startswith("x_")}
            made = self._put(node, "Conv", [x, w, *bias], attributes)
            self.inputs[str(made.name)] = _input(node, rank - 1)
            return
        self._latent(w, scale, lambda s: s, inputs=0, top=TOP8)
        row = bias[0] if bias else None
        made = self._put(node, "MatMul", [x, w], {}, row)
        self.inputs[str(made.name)] = _input(node, 1)

    def _stored(self, node: ir.Node) -> None:
        """Put a weight in the place of its levels and their scales."""
        levels, scale = node.inputs[0], node.inputs[1]
        data = data_of(levels)
        group = node.attributes.get_int("block_size", 0)
        cast = None if scale is None else scale.producer()
        half = cast is not None and cast.op_type == "Cast"
        holder = cast.inputs[0] if cast is not None and half else scale
        if data is None or len(node.inputs) > 2 or data.ndim < 2 or not _own(levels, holder):
            return
        assert levels is not None
        axis = node.attributes.get_int("axis", 1) % data.ndim
        if data.dtype not in (np.dtype(np.int8), _INT4):
            return
        scales = data_of(holder)
        assert scales is not None
        if not group:
            if scales.size > 1 and scales.ndim == 1:
                shape = [1] * data.ndim
                shape[axis] = -1
                scales = scales.reshape(shape)
            elif scales.size != 1 and scales.ndim != data.ndim:
                return
        top = TOP4 if data.dtype == _INT4 else TOP8
        inputs = axis if group else next(i for i in reversed(range(data.ndim)) if i != axis)
        self._latent(
            levels, holder, lambda _: scales, inputs=inputs, top=top, group=group, half=half
        )
        node.outputs[0].replace_all_uses_with(levels, replace_graph_outputs=True)

    def _round_trip(self, node: ir.Node) -> None:
        """Let a value that only goes to integers and back pass; its levels are noted."""
        before = None if node.inputs[0] is None else node.inputs[0].producer()
        if before is None or before.op_type != "QuantizeLinear" or len(before.inputs) < 3:
            return
        if sole_user(before.outputs[0]) is not node:
            return
        scale, zero = data_of(before.inputs[1]), data_of(before.inputs[2])
        if scale is None or zero is None or scale.size != 1 or zero.dtype not in _ENDS:
            return
        if {use.node for use in before.inputs[1].uses()} != {before, node}:
            return
        low, high = (end - int(zero.reshape(())) for end in _ENDS[zero.dtype])
        made = self._put(node, "Identity", [before.inputs[0]], {})
        self.inputs[str(made.name)] = Levels(float(scale.reshape(())), low, high)

    def _latent(
        self,
        value: ir.Value | None,
        holder: ir.Value | None,
        shaped: Any,
        *,
        inputs: int,
        top: int,
        group: int = 0,
        half: bool = False,
    ) -> None:
        """Make an initializer of levels one of floats."""
        levels, stored = data_of(value), data_of(holder)
        assert value is not None
        assert holder is not None
        assert levels is not None
        assert stored is not None
        name = str(value.name)
        scales = np.asarray(shaped(stored), np.float32)
        spread = scales
        if group:
            size = levels.shape[inputs]
            spread = np.take(np.repeat(scales, group, inputs), range(size), inputs)
        wide = levels.astype(np.float32)
        floats = self._origin(name, wide, spread)
        self.masks[name] = np.ones(wide.shape, np.bool_)
        if facts.get(value, facts.Sparsity) is not None:
            self.masks[name] = floats != 0
        # Recurrent weights have a direction in front: they are no transforms.
        fixed = inputs != 2 and filter_banks.kind(floats.reshape(len(floats), -1)) is not None
        pairs = self._pairs and not group
        self.weights[name] = Weight(scales, top, inputs, group, half, pairs, not fixed)
        self.holders[name] = str(holder.name)
        value.const_value = ir.tensor(floats, name=name)
        value.dtype = ir.DataType.FLOAT

    def _origin(self, name: str, levels: Array, spread: Array) -> Array:
        """The floats that were rounded to these levels, where the reference still has them."""
        known = self._reference.get(name.rpartition(".int")[0])
        data = data_of(known)
        if data is not None and data.dtype == np.float32:
            for one in (data, data.T):
                if one.size != levels.size or one.shape[-1] != levels.shape[-1]:
                    continue  # but int4 has no directions in front
                one = np.ascontiguousarray(one).reshape(levels.shape)
                if np.all(np.abs(one / spread - levels) <= 1):
                    return one
        return np.asarray(levels * spread, np.float32)

    def _put(
        self,
        node: ir.Node,
        op_type: str,
        inputs: list[ir.Value | None],
        attributes: Mapping[str, ir.Attr],
        row: ir.Value | None = None,
    ) -> ir.Node:
        """Replace a node by a standard one; names of it and of its outputs stay."""
        graph = node.graph
        assert graph is not None
        made = ir.Node(
            "", op_type, inputs, attributes.values(), num_outputs=len(node.outputs), name=node.name
        )
        last = made
        new = [made]
        if row is not None:
            inner = made.outputs[0]
            inner.name = f"{node.name}.product"
            inner.type, inner.shape = node.outputs[0].type, node.outputs[0].shape
            last = ir.Node("", "Add", [inner, row], name=f"{node.name}.bias")
            new.append(last)
        graph.insert_before(node, new)
        for old, value in zip(node.outputs, last.outputs, strict=True):
            value.type, value.shape = old.type, old.shape
            name, old.name = old.name, None
            value.name = name
            old.replace_all_uses_with(value, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        return made


_INT4 = np.dtype(ir.DataType.INT4.numpy())


def _own(levels: ir.Value | None, scale: ir.Value | None) -> bool:
    """Whether a weight and its scales are constants of one node."""
    return all(data_of(v) is not None and sole_user(v) is not None for v in (levels, scale))


def _input(node: ir.Node, axes: int) -> Levels:
    scale = node.attributes.get_float("x_scale", 0.0)
    zero = node.attributes.get_int("x_zero_point", TOP8) if scale else TOP8
    return Levels(scale, -zero, 2 * TOP8 - zero, axes)


def _name_nodes(model: ir.Model) -> None:
    seen: set[str] = set()
    for index, node in enumerate(model.graph):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}.{index}"
        seen.add(node.name)
