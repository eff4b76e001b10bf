"""External tensor data: read from the model's own folder, and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.external_data_helper

from edgeseq.errors import UsageError


def load_external(proto: onnx.ModelProto, path: Path) -> None:
    """Read all external data of a model into it.

    Raises:
        UsageError: a data file is outside the model's folder, missing, or too short; all bad
            tensors are listed.
    """
    folder = path.parent.resolve()
    tensors = [t for t in _tensors(proto) if t.data_location == onnx.TensorProto.EXTERNAL]
    problems = [problem for tensor in tensors if (problem := _problem(tensor, folder))]
    if problems:
        raise UsageError(
            f"{path}: external data cannot be loaded",
            at=problems,
            why="data files must lie in the model's folder and hold the declared bytes",
            fix="copy the data files next to the model, or save it with its data inside",
        )
    for tensor in tensors:
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _problem(tensor: onnx.TensorProto, folder: Path) -> str | None:
    info = {entry.key: entry.value for entry in tensor.external_data}
    location = info.get("location", "")
    name = f"'{tensor.name}' in '{location}'"
    file = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        return f"{name}: outside the model's folder"
    if not file.is_file():
        return f"{name}: no such file"
    try:
        offset, length = int(info.get("offset", 0)), int(info.get("length", -1))
    except ValueError:
        return f"{name}: offset and length are not numbers"
    size = file.stat().st_size
    expected = _bytes_of(tensor)
    if offset < 0 or length < -1 or offset + max(length, expected) > size:
        return f"{name}: needs bytes {offset} to {offset + max(length, expected)}, file has {size}"
    if length not in (-1, expected):
        return f"{name}: {length} bytes for {expected}"
    return None


def _bytes_of(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    bits = {onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4, onnx.TensorProto.FLOAT4E2M1: 4}
    if tensor.data_type in bits:
        return (count * bits[tensor.data_type] + 7) // 8
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)
