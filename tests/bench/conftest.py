"""A small compiled model with state, two inputs and a constant, shared by the tests here."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgeseq import api
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target


def write(file: Path, *, wrong: bool = False) -> Path:
    """y = tanh(gain * x + s) (`wrong`: 1 more), s_out = y, seen = n + 1."""

    def port(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["xg"], "amplify"),
        helper.make_node("Add", ["xg", "s"], ["sum"], "add"),
        helper.make_node("Tanh", ["sum"], ["tanh"], "tanh"),
        helper.make_node("Add", ["tanh", "bias"], ["y"], "bias"),
        helper.make_node("Identity", ["y"], ["s_out"], "carry"),
        helper.make_node("Add", ["n", "one"], ["seen"], "count"),
    ]
    constants = [
        helper.make_tensor("bias", TensorProto.FLOAT, [1], [1.0 if wrong else 0.0]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    inputs = [port("x", [2, 5]), port("n", [1], TensorProto.INT64), port("s", [2, 5])]
    outputs = [port("y", [2, 5]), port("seen", [1], TensorProto.INT64), port("s_out", [2, 5])]
    graph = helper.make_graph(nodes, "g", [*inputs, port("gain", [1])], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), file)
    return file


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The ONNX file and what was compiled from it."""
    folder = tmp_path_factory.mktemp("bench")
    file = write(folder / "small.onnx")
    dist = folder / "dist"
    options = CompileOptions(dist, targets=(host_target(),), consts={"gain": 0.5})
    api.compile_model(str(file), options)
    return file, dist


@pytest.fixture(scope="package")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, but for one number."""
    return write(tmp_path_factory.mktemp("wrong") / "small.onnx", wrong=True)
