"""Bring a model to the internal opset, bodies included.

Most operators of opset 7 and later mean the same today and only accept more types. The adapters
below are the ones whose interface or meaning changed; each says at which opset.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends import onnx_newer
from edgeseq.frontends.sequences import drop_sequences
from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import walk

INTERNAL_OPSET = 26
OLDEST_OPSET = 7
_IR_VERSION = 13

Adapter = Callable[["_Old"], None]


def upgrade(model: ir.Model) -> None:
    """Convert every standard node to the internal opset, and sequences to slices, in place.

    Raises:
        UnsupportedModelError: lists the nodes whose old meaning cannot be expressed.
    """
    version = model.opset_imports.pop("ai.onnx", None) or model.opset_imports.get(
        "", INTERNAL_OPSET
    )
    model.opset_imports[""] = version
    if version > INTERNAL_OPSET:
        onnx_newer.expand(model)
    model.opset_imports[""] = INTERNAL_OPSET
    model.ir_version = _IR_VERSION
    edit = Editor(model)
    problems = []
    for node in list(walk(model.graph)):
        if node.domain not in ("", "ai.onnx"):
            continue
        node.domain, node.version = "", None
        changed_at, adapter = _ADAPTERS.get(node.op_type, (0, None))
        if adapter is not None and version < changed_at:
            try:
                adapter(_Old(node, edit))
            except _CannotAdaptError as error:
                problems.append(f"{describe(node)}: {error}")
    if problems:
        raise UnsupportedModelError(
            f"opset {version} nodes that cannot be brought to opset {INTERNAL_OPSET}",
            at=problems,
            fix=f"export the model again with opset_version={INTERNAL_OPSET}",
        )
    drop_sequences(edit)


class _CannotAdaptError(Exception):
    """The node's old meaning has no counterpart."""


@dataclasses.dataclass(frozen=True)
class _Old:
    """A node of an old opset, and how to put a new one in its place."""

    node: ir.Node
    edit: Editor

    def attribute(self, name: str) -> ir.Attr | None:
        """Return an attribute, or None."""
        return self.node.attributes.get(name)

    def attributes(self, *without: str) -> dict[str, ir.Attr]:
        """Return the attributes but some."""
        return {name: one for name, one in self.node.attributes.items() if name not in without}

    def remake(self, inputs: list[ir.Value | None], *without: str) -> None:
        """Give the node other inputs and drop the attributes they replace."""
        self.edit.remake(self.node, self.node.op_type, inputs, self.attributes(*without))

    def ints(self, numbers: Sequence[int] | int) -> ir.Value:
        """Make a constant of axes, sizes or bounds."""
        return self.edit.ints(numbers)

    def like_input(self, name: str, number: float) -> ir.Value:
        """A scalar of the first input's type."""
        source = self.node.inputs[0]
        known = None if source is None else source.dtype
        dtype = np.dtype(np.float32) if known is None else known.numpy()
        return self.edit.constant(np.array(number, dtype), f"{self.node.name}.{name}")


def _axes_to_input(old: _Old) -> None:
    """Squeeze, Unsqueeze, ReduceSum (13), other reductions (18): axes became an input."""
    if (axes := old.attribute("axes")) is not None:
        old.remake([old.node.inputs[0], old.ints(axes.as_ints())], "axes")


def _split(old: _Old) -> None:
    """13: sizes became an input; 18: their absence needs `num_outputs`."""
    if (sizes := old.attribute("split")) is not None:
        old.remake([old.node.inputs[0], old.ints(sizes.as_ints())], "split")
    elif len(old.node.inputs) < 2 or old.node.inputs[1] is None:
        old.node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(old.node.outputs))


def _softmax(old: _Old) -> None:
    """13: normalises one axis; before, all axes from `axis` (1 when absent) on."""
    node, edit, source = old.node, old.edit, old.node.inputs[0]
    given = old.attribute("axis")
    axis = 1 if given is None else given.as_int()
    rank = None if source is None or source.shape is None else len(source.shape)
    if axis == -1 or axis + 1 == rank:
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
        return
    shape = edit.emit(node, "Shape", [source])
    flat = edit.emit(node, "Flatten", [source], {"axis": axis})
    result = edit.emit(node, node.op_type, [flat], {"axis": -1})
    edit.remake(node, "Reshape", [result, shape])


def _pad(old: _Old) -> None:
    """11: pads and value became inputs."""
    inputs = [old.node.inputs[0], old.ints(old.node.attributes["pads"].as_ints())]
    if (value := old.attribute("value")) is not None:
        inputs.append(old.like_input("value", value.as_float()))
    old.remake(inputs, "pads", "value")


def _slice(old: _Old) -> None:
    """10: bounds became inputs."""
    starts = old.node.attributes["starts"].as_ints()
    ends = old.node.attributes["ends"].as_ints()
    given = old.attribute("axes")
    axes = list(range(len(starts))) if given is None else given.as_ints()
    bounds = [old.ints(numbers) for numbers in (starts, ends, axes)]
    old.remake([old.node.inputs[0], *bounds], "starts", "ends", "axes")


def _clip(old: _Old) -> None:
    """11: bounds became inputs."""
    given = [(name, old.attribute(name)) for name in ("min", "max")]
    bounds = [None if one is None else old.like_input(name, one.as_float()) for name, one in given]
    old.remake([old.node.inputs[0], *bounds], "min", "max")


def _dropout(old: _Old) -> None:
    """12: the ratio became an input; without training it does nothing."""
    if len(old.node.outputs) > 1 and old.node.outputs[1].uses():
        raise _CannotAdaptError("its mask is used")
    old.node.attributes.pop("ratio", None)


def _batch_normalization(old: _Old) -> None:
    """9: `spatial` went away; 14: training became an attribute instead of extra outputs."""
    spatial = old.attribute("spatial")
    if spatial is not None and spatial.as_int() == 0:
        raise _CannotAdaptError("spatial=0 normalises each pixel apart")
    if any(output.uses() for output in old.node.outputs[1:]):
        raise _CannotAdaptError("it is in training mode: its running statistics are used")
    old.node.resize_outputs(1)
    old.node.attributes.pop("spatial", None)


def _top_k(old: _Old) -> None:
    """10: k became an input."""
    if (k := old.attribute("k")) is not None:
        old.remake([old.node.inputs[0], old.ints([k.as_int()])], "k")


def _to_resize(old: _Old) -> None:
    """Upsample 9: scales became an input, 10: renamed; Resize 11: got a choice of coordinates."""
    mode, given = old.attribute("mode"), old.attribute("scales")
    scales = old.node.inputs[1] if given is None else _scales(old, given.as_floats())
    attributes = {
        "mode": "nearest" if mode is None else mode.as_string(),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    old.edit.remake(old.node, "Resize", [old.node.inputs[0], None, scales], attributes)


def _scales(old: _Old, numbers: Sequence[float]) -> ir.Value:
    return old.edit.constant(np.array(numbers, np.float32), f"{old.node.name}.scales")


def _scatter(old: _Old) -> None:
    """11: renamed."""
    old.edit.remake(old.node, "ScatterElements", list(old.node.inputs), old.attributes())


def _scan(old: _Old) -> None:
    """9: lost its batch axis and sequence lengths."""
    raise _CannotAdaptError(f"opset 8 gave {old.node.op_type} a batch axis")


def _dft(old: _Old) -> None:
    """20: the axis became an input."""
    axis, inputs = old.attribute("axis"), old.node.inputs
    length = inputs[1] if len(inputs) > 1 else None
    old.remake([inputs[0], length, old.ints(axis.as_int() if axis else 1)], "axis")


def _grid_sample(old: _Old) -> None:
    """20: modes were renamed."""
    mode = old.attribute("mode")
    names = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}
    word = "bilinear" if mode is None else mode.as_string()
    old.node.attributes["mode"] = ir.AttrString("mode", names[word])


def _roi_align(old: _Old) -> None:
    """16: the coordinate mode became a choice, and another one its default."""
    key = "coordinate_transformation_mode"
    old.node.attributes[key] = ir.AttrString(key, "output_half_pixel")


def _group_normalization(old: _Old) -> None:
    """21: scale and bias are per channel; before, per group."""
    node, edit, source = old.node, old.edit, old.node.inputs[0]
    channels = None if source is None or source.shape is None else source.shape[1]
    if not isinstance(channels, int):
        raise _CannotAdaptError("the number of channels is not known")
    groups = node.attributes["num_groups"].as_int()
    each = old.ints([groups, channels // groups])
    flat, last = old.ints([channels]), old.ints([1])
    inputs: list[ir.Value | None] = [source]
    for value in node.inputs[1:]:
        tall = edit.emit(node, "Unsqueeze", [value, last])
        inputs.append(edit.emit(node, "Reshape", [edit.emit(node, "Expand", [tall, each]), flat]))
    old.remake(inputs)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
# Operator -> (first opset with today's interface, adapter for older ones).
_ADAPTERS: dict[str, tuple[int, Adapter]] = {
    "Squeeze": (13, _axes_to_input),
    "Unsqueeze": (13, _axes_to_input),
    "ReduceSum": (13, _axes_to_input),
    **{f"Reduce{kind}": (18, _axes_to_input) for kind in _REDUCTIONS},
    "Split": (18, _split),
    "Softmax": (13, _softmax),
    "LogSoftmax": (13, _softmax),
    "Hardmax": (13, _softmax),
    "Pad": (11, _pad),
    "Slice": (10, _slice),
    "Clip": (11, _clip),
    "Dropout": (12, _dropout),
    "BatchNormalization": (14, _batch_normalization),
    "TopK": (10, _top_k),
    "Upsample": (10, _to_resize),
    "Resize": (11, _to_resize),
    "Scatter": (11, _scatter),
    "Scan": (9, _scan),
    "DFT": (20, _dft),
    "GridSample": (20, _grid_sample),
    "RoiAlign": (16, _roi_align),
    "GroupNormalization": (21, _group_normalization),
}
