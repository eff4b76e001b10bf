"""Bring a model to the internal opset, bodies included.

Most operators of opset 7 and later mean the same today and only accept more types. The adapters
below are the ones whose interface or meaning changed; each says at which opset.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import walk

INTERNAL_OPSET = 26
OLDEST_OPSET = 7
_IR_VERSION = 13

Adapter = Callable[[ir.Node, int, Editor], None]


def upgrade(model: ir.Model) -> None:
    """Convert every standard node to the internal opset, in place.

    Raises:
        UnsupportedModelError: lists the nodes whose old meaning cannot be expressed.
    """
    version = model.opset_imports.pop("ai.onnx", None) or model.opset_imports.get(
        "", INTERNAL_OPSET
    )
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
                adapter(node, version, edit)
            except _CannotAdaptError as error:
                problems.append(f"{describe(node)}: {error}")
    if problems:
        raise UnsupportedModelError(
            f"opset {version} nodes that cannot be brought to opset {INTERNAL_OPSET}",
            at=problems,
            fix=f"export the model again with opset_version={INTERNAL_OPSET}",
        )


class _CannotAdaptError(Exception):
    """The node's old meaning has no counterpart."""


def _attributes(node: ir.Node, *without: str) -> dict[str, ir.Attr]:
    return {name: one for name, one in node.attributes.items() if name not in without}


def _remake(
    node: ir.Node, edit: Editor, inputs: list[ir.Value | None], *without: str, **extra: object
) -> None:
    attributes = {**_attributes(node, *without), **extra}
    edit.remake(node, str(extra.pop("op_type", node.op_type)), inputs, attributes)  # type: ignore[arg-type]


def _axes_to_input(node: ir.Node, version: int, edit: Editor) -> None:
    """Squeeze, Unsqueeze, ReduceSum (13), other reductions (18): axes became an input."""
    axes = node.attributes.get("axes")
    if axes is not None:
        _remake(
            node, edit, [node.inputs[0], edit.ints(axes.as_ints(), f"{node.name}.axes")], "axes"
        )


def _split(node: ir.Node, version: int, edit: Editor) -> None:
    """13: sizes became an input; 18: their absence needs `num_outputs`."""
    sizes = node.attributes.get("split")
    if sizes is not None:
        value = edit.ints(sizes.as_ints(), f"{node.name}.split")
        _remake(node, edit, [node.inputs[0], value], "split")
    elif len(node.inputs) < 2 or node.inputs[1] is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def _softmax(node: ir.Node, version: int, edit: Editor) -> None:
    """13: normalises one axis; before, all axes from `axis` (1 when absent) on."""
    source = node.inputs[0]
    if source is None:
        raise _CannotAdaptError("no input")
    given = node.attributes.get("axis")
    axis = 1 if given is None else given.as_int()
    if axis == -1 or (source.shape is not None and axis == len(source.shape) - 1):
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
        return
    shape = edit.emit(node, "Shape", [source])
    flat = edit.emit(node, "Flatten", [source], {"axis": axis})
    result = edit.emit(node, node.op_type, [flat], {"axis": -1})
    edit.remake(node, "Reshape", [result, shape])


def _pad(node: ir.Node, version: int, edit: Editor) -> None:
    """11: pads and value became inputs."""
    if version >= 11:
        return
    inputs = [node.inputs[0], edit.ints(node.attributes["pads"].as_ints(), f"{node.name}.pads")]
    if (value := node.attributes.get("value")) is not None:
        inputs.append(edit.constant(np.array(value.as_float(), _float(node)), f"{node.name}.value"))
    _remake(node, edit, inputs, "pads", "value")


def _slice(node: ir.Node, version: int, edit: Editor) -> None:
    """10: bounds became inputs."""
    starts = node.attributes["starts"].as_ints()
    axes = node.attributes.get("axes")
    bounds = (
        ("starts", starts),
        ("ends", node.attributes["ends"].as_ints()),
        ("axes", range(len(starts)) if axes is None else axes.as_ints()),
    )
    values = [edit.ints(list(numbers), f"{node.name}.{name}") for name, numbers in bounds]
    _remake(node, edit, [node.inputs[0], *values], "starts", "ends", "axes")


def _clip(node: ir.Node, version: int, edit: Editor) -> None:
    """11: bounds became inputs."""
    bounds = [
        edit.constant(
            np.array(node.attributes[name].as_float(), _float(node)), f"{node.name}.{name}"
        )
        if name in node.attributes
        else None
        for name in ("min", "max")
    ]
    _remake(node, edit, [node.inputs[0], *bounds], "min", "max")


def _dropout(node: ir.Node, version: int, edit: Editor) -> None:
    """12: the ratio became an input; without training it does nothing."""
    if len(node.outputs) > 1 and node.outputs[1].uses():
        raise _CannotAdaptError("its mask is used")
    node.attributes.pop("ratio", None)


def _batch_normalization(node: ir.Node, version: int, edit: Editor) -> None:
    """9: `spatial` went away; 14: training became an attribute instead of extra outputs."""
    spatial = node.attributes.get("spatial")
    if spatial is not None and spatial.as_int() == 0:
        raise _CannotAdaptError("spatial=0 normalises each pixel apart")
    if any(output.uses() for output in node.outputs[1:]):
        raise _CannotAdaptError("it is in training mode: its running statistics are used")
    attributes = _attributes(node, "spatial")
    result = edit.emit(
        node, "BatchNormalization", list(node.inputs), attributes, name=f"{node.name}.inference"
    )
    edit.replace(node.outputs[0], result)
    node.graph and edit.remove(node)


def _top_k(node: ir.Node, version: int, edit: Editor) -> None:
    """10: k became an input."""
    if "k" in node.attributes:
        _remake(
            node,
            edit,
            [node.inputs[0], edit.ints([node.attributes["k"].as_int()], f"{node.name}.k")],
            "k",
        )


def _upsample(node: ir.Node, version: int, edit: Editor) -> None:
    """9: scales became an input; 10: renamed to Resize."""
    if "scales" in node.attributes:
        scales = np.array(node.attributes["scales"].as_floats(), np.float32)
        value: ir.Value | None = edit.constant(scales, f"{node.name}.scales")
    else:
        value = node.inputs[1]
    _to_resize(node, value, edit)


def _resize(node: ir.Node, version: int, edit: Editor) -> None:
    """11: got a region of interest and a choice of coordinates; 10 had asymmetric ones."""
    if version == 10:
        _to_resize(node, node.inputs[1], edit)


def _to_resize(node: ir.Node, scales: ir.Value | None, edit: Editor) -> None:
    mode = node.attributes.get("mode")
    attributes = {
        "mode": mode.as_string() if mode is not None else "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    edit.remake(node, "Resize", [node.inputs[0], None, scales], attributes)


def _scatter(node: ir.Node, version: int, edit: Editor) -> None:
    """11: renamed."""
    edit.remake(node, "ScatterElements", list(node.inputs), _attributes(node))


def _scan(node: ir.Node, version: int, edit: Editor) -> None:
    """9: lost its batch axis and sequence lengths."""
    raise _CannotAdaptError("the batched Scan of opset 8")


def _dft(node: ir.Node, version: int, edit: Editor) -> None:
    """20: the axis became an input."""
    axis = node.attributes.get("axis")
    value = edit.ints(1 if axis is None else axis.as_int(), f"{node.name}.axis")
    length = node.inputs[1] if len(node.inputs) > 1 else None
    _remake(node, edit, [node.inputs[0], length, value], "axis")


def _grid_sample(node: ir.Node, version: int, edit: Editor) -> None:
    """20: modes were renamed."""
    mode = node.attributes.get("mode")
    names = {"bilinear": "linear", "bicubic": "cubic"}
    if mode is not None:
        node.attributes["mode"] = ir.AttrString(
            "mode", names.get(mode.as_string(), mode.as_string())
        )


def _roi_align(node: ir.Node, version: int, edit: Editor) -> None:
    """16: the coordinate mode became a choice, and another one its default."""
    key = "coordinate_transformation_mode"
    node.attributes[key] = ir.AttrString(key, "output_half_pixel")


def _group_normalization(node: ir.Node, version: int, edit: Editor) -> None:
    """21: scale and bias are per channel; before, per group."""
    source = node.inputs[0]
    channels = None if source is None or source.shape is None else source.shape[1]
    if not isinstance(channels, int):
        raise _CannotAdaptError("the number of channels is not known")
    groups = node.attributes["num_groups"].as_int()
    each = edit.ints([groups, channels // groups], f"{node.name}.each")
    flat = edit.ints([channels], f"{node.name}.channels")
    column = edit.ints([1], f"{node.name}.column")
    inputs: list[ir.Value | None] = [source]
    for value in node.inputs[1:]:
        tall = edit.emit(node, "Unsqueeze", [value, column])
        inputs.append(edit.emit(node, "Reshape", [edit.emit(node, "Expand", [tall, each]), flat]))
    _remake(node, edit, inputs)


def _float(node: ir.Node) -> np.dtype[np.generic]:
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return np.dtype(np.float32)
    return source.dtype.numpy()


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
    "Upsample": (10, _upsample),
    "Resize": (11, _resize),
    "Scatter": (11, _scatter),
    "Scan": (9, _scan),
    "DFT": (20, _dft),
    "GridSample": (20, _grid_sample),
    "RoiAlign": (16, _roi_align),
    "GroupNormalization": (21, _group_normalization),
}
