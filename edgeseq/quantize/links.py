"""Channels whose scale is free, by what writes them and what reads them.

    W1 x + b  ->  relu  ->  W2 h        D^-1 (W1 x + b)  ->  relu  ->  (W2 D) h

are the same for every positive diagonal D, where all between writer and reader is positively
homogeneous. Each element of a value carries the number of its channel from the writer on, through
everything that only moves, pools or multiplies it, so that a reader knows which of its columns is
which channel whatever layout lies between.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.infer import bodies, describe
from edgeseq.ir.passes import walk
from edgeseq.quantize import homogeneous
from edgeseq.quantize.layers import Array

_NORMS = ("LayerNormalization", "RMSNormalization")
_CHANNEL_NORMS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization")
NORMS = (*_NORMS, *_CHANNEL_NORMS)
_CELLS = ("GRU", "LSTM", "RNN")


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A constant in which channels lie.

    Args:
        node: Who uses it.
        slot: Which of the node's inputs it is.
        channels: The channel of each element, as far as it matters: it broadcasts against the
            constant. -1: of none.
    """

    node: ir.Node
    slot: int
    channels: Array

    @property
    def data(self) -> Array:
        """The constant."""
        found = data_of(self.node.inputs[self.slot])
        assert found is not None
        return found

    def peaks(self, count: int) -> Array:
        """The largest size in each of `count` channels."""
        return _peaks(np.abs(self.data), self.channels, count)

    def scale(self, edit: Editor, factors: Array) -> None:
        """Multiply each channel by its factor."""
        value = self.node.inputs[self.slot]
        assert value is not None
        data = np.asarray(self.data * np.append(factors, 1.0)[self.channels], np.float32)
        if len(value.uses()) == 1 and data.shape == self.data.shape:
            value.const_value = ir.tensor(data, name=value.name)
            return
        new = edit.constant(data, str(value.name))
        new.metadata_props.update(value.metadata_props)
        self.node.replace_input_with(self.slot, new)


@dataclasses.dataclass(frozen=True, eq=False)
class Reader(Part):
    """A weight that multiplies channels.

    Args:
        axis: Where the node's input has its channels.
        positions: The channel of each position of that axis.
    """

    axis: int
    positions: Array

    @property
    def x(self) -> ir.Value:
        """What the weight is multiplied by."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    def spread(self, peaks: Array, count: int) -> Array:
        """The largest of the peaks of all positions, for each of `count` channels."""
        return _peaks(peaks, self.positions, count)


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """Channels that one node writes and others read.

    Args:
        count: How many there are.
        writers: The writer's weight, its bias, and what is added on the way.
        readers: The weights of all that read them.
    """

    count: int
    writers: tuple[Part, ...]
    readers: tuple[Reader, ...]

    def scale(self, edit: Editor, factors: Array) -> None:
        """Divide what is written by factors, and multiply what is read."""
        for part in self.writers:
            part.scale(edit, 1 / factors)
        for reader in self.readers:
            reader.scale(edit, factors)


def find(model: ir.Model) -> tuple[list[Link], dict[ir.Node, str]]:
    """Return the links of a model in the order of the graph, and why readers are in none."""
    captured = {v for n in model.graph for b in bodies(n) for i in walk(b) for v in i.inputs if v}
    order = list(model.graph)
    found, refused = [], dict[ir.Node, str]()
    for at, node in enumerate(order):
        begun = writer(node)
        if begun is None:
            continue
        one = _Walk(*begun, captured)
        if why := one.run(order[at:]):
            refused.update((reader.node, why) for reader in one.readers)
        elif one.readers:
            count = int(max(int(part.channels.max()) for part in one.writers)) + 1
            found.append(Link(count, tuple(one.writers), tuple(one.readers)))
    inside = {reader.node for link in found for reader in link.readers}
    return found, {node: why for node, why in refused.items() if node not in inside}


def writer(node: ir.Node) -> tuple[list[Part], Array] | None:
    """The weights of a node that can scale its output, and the channels of that output."""
    shape = homogeneous.shape(node.outputs[0])
    if shape is None or node.domain not in ("", "ai.onnx"):
        return None
    weight = data_of(node.inputs[1]) if len(node.inputs) > 1 else None
    table = data_of(node.inputs[0])
    if node.op_type == "Gather" and table is not None and table.ndim == 2 and weight is None:
        if node.attributes.get_int("axis", 0):
            return None
        numbers = np.arange(table.shape[1])
        return _whole(_own(node, 0, numbers[None]), [], numbers, shape, -1)
    if weight is None or weight.dtype != np.float32:
        return None
    match node.op_type:
        case "Conv":
            numbers = np.arange(len(weight))
            return _whole(_own(node, 1, _along(numbers, 0, weight)), [2], numbers, shape, 1)
        case "ConvTranspose":
            numbers = _transposed(weight, int(node.attributes.get_int("group", 1)))
            count = np.arange(numbers.max() + 1)
            return _whole(_own(node, 1, numbers), [2], count, shape, 1)
        case "MatMul" | "Gemm" if weight.ndim == 2 and table is None:
            axis = 0 if node.attributes.get_int("transB", 0) else 1
            numbers = np.arange(weight.shape[axis])
            part = _own(node, 1, _along(numbers, axis, weight))
            return _whole(part, [2], numbers, shape, -1)
        case name if name in _NORMS and weight.ndim == 1:
            return _whole([Part(node, 1, np.arange(len(weight)))], [2], None, shape, -1)
        case name if name in _CHANNEL_NORMS:
            return _whole([Part(node, 1, np.arange(len(weight)))], [2], None, shape, 1)
    return None


def _own(node: ir.Node, slot: int, channels: Array) -> list[Part]:
    """The weight of a node, if no other has it too: a second one of its size would cost memory."""
    value = node.inputs[slot]
    return [Part(node, slot, channels)] if value is not None and len(value.uses()) == 1 else []


def _whole(
    parts: list[Part], biases: list[int], numbers: Array | None, shape: tuple[int, ...], axis: int
) -> tuple[list[Part], Array] | None:
    """Add the biases of a writer; None if one is not constant."""
    if not parts:
        return None
    node = parts[0].node
    numbers = parts[0].channels if numbers is None else numbers
    for slot in biases:
        if len(node.inputs) > slot and node.inputs[slot] is not None:
            if data_of(node.inputs[slot]) is None:
                return None
            parts.append(Part(node, slot, numbers))
    axis %= len(shape)
    if shape[axis] != len(numbers):
        return None
    along = numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return parts, np.broadcast_to(along, shape)


def _along(numbers: Array, axis: int, weight: Array) -> Array:
    return numbers.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])


def _transposed(weight: Array, groups: int) -> Array:
    """Output channels of a ConvTranspose weight [I, O / groups, ...]."""
    inputs, outputs = weight.shape[:2]
    group = np.arange(inputs) // (inputs // groups)
    numbers = group[:, None] * outputs + np.arange(outputs)
    found: Array = numbers.reshape(inputs, outputs, *[1] * (weight.ndim - 2))
    return found


class _Walk:
    """Follows the channels of one writer to all that read them."""

    def __init__(self, parts: list[Part], channels: Array, captured: set[ir.Value]) -> None:
        self.writers, self.readers = parts, list[Reader]()
        self._known = {parts[0].node.outputs[0]: channels}
        self._captured = captured

    def run(self, order: list[ir.Node]) -> str:
        """Return why the channels' scale is not free, or an empty text."""
        for node in order:
            inputs = [self._known.get(v) if v is not None else None for v in node.inputs]
            known = any(one is not None for one in inputs)
            if known and (why := self._step(node, inputs)):
                return why
        for value in self._known:
            if value.is_graph_output():
                return f"its input is the output '{value.name}' too"
            if value in self._captured:
                return f"its input '{value.name}' is used in a loop or a branch"
        return ""

    def _step(self, node: ir.Node, inputs: list[Array | None]) -> str:
        reader = _reader(node, inputs)
        if reader is not None:
            self.readers.append(reader)
            return ""
        bias = _bias(node, inputs)
        if bias is not None:
            slot, channels = bias
            self.writers.append(Part(node, slot, homogeneous.shrunk(channels)))
            outputs: list[Array] | None = [channels]
        else:
            outputs = homogeneous.apply(node, inputs)
        if outputs is None:
            return f"{describe(node)} does not let a scale pass"
        self._known.update(zip(node.outputs, outputs, strict=True))
        return ""


def _bias(node: ir.Node, inputs: list[Array | None]) -> tuple[int, Array] | None:
    """The constant that is added to channels, and the channels of the sum."""
    known = [(1 - slot, one) for slot, one in enumerate(inputs) if one is not None]
    if node.op_type not in ("Add", "Sub") or len(known) != 1:
        return None
    ((slot, channels),) = known
    shape = homogeneous.shape(node.outputs[0])
    if data_of(node.inputs[slot]) is None or shape is None:
        return None
    return slot, np.broadcast_to(channels, shape)


def _reader(node: ir.Node, inputs: list[Array | None]) -> Reader | None:
    """The weight that multiplies the channels, where nothing else of them does."""
    labels, slot = inputs[0], 1
    value = node.inputs[1] if len(node.inputs) > 1 else None
    weight = data_of(value)
    if labels is None or any(one is not None for one in inputs[1:]) or weight is None:
        return None
    if value is None or len(value.uses()) != 1 or weight.dtype != np.float32:
        return None
    get = node.attributes
    axis = 1 if node.op_type in ("Conv", "ConvTranspose") else labels.ndim - 1
    positions = homogeneous.one_axis(labels, axis)
    if positions is None:
        return None
    match node.op_type:
        case "Conv":
            channels = _grouped(weight, positions, int(get.get_int("group", 1)))
        case "ConvTranspose":
            channels = _along(positions, 0, weight)
        case "MatMul" | "Gemm" if weight.ndim == 2 and not get.get_int("transA", 0):
            channels = _along(positions, 1 if get.get_int("transB", 0) else 0, weight)
        case name if name in _CELLS and not get.get_int("layout", 0):
            channels = _along(positions, 2, weight)
        case _:
            return None
    return Reader(node, slot, channels, axis, positions)


def _grouped(weight: Array, positions: Array, groups: int) -> Array:
    """Input channels of a Conv weight [O, I / groups, ...]."""
    outputs, inputs = weight.shape[:2]
    group = np.arange(outputs) // (outputs // groups)
    numbers = positions[group[:, None] * inputs + np.arange(inputs)]
    return np.asarray(numbers).reshape(outputs, inputs, *[1] * (weight.ndim - 2))


def _peaks(sizes: Array, channels: Array, count: int) -> Array:
    found = np.zeros(count + 1)
    np.maximum.at(found, np.broadcast_to(channels, sizes.shape), sizes)
    return found[:count]
