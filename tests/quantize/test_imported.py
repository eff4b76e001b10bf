"""Models that others quantized, from the file to the compiled library."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeseq
from edgeseq.api import compile_model
from edgeseq.options import CompileOptions

SHAPE = (1, 5, 24)
IMAGE = (1, 16, 6, 12)
RNG = np.random.default_rng(0)


def floats(path: Path) -> Path:
    """Linear, ReLU, linear, tanh."""
    arrays = {
        "w0": RNG.normal(size=(24, 40)) / 5,
        "b0": RNG.normal(size=40) / 3,
        "w1": RNG.normal(size=(40, 9)) / 6,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m"], name="first"),
        helper.make_node("Add", ["m", "b0"], ["a"], name="bias"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w1"], ["t"], name="second"),
        helper.make_node("Tanh", ["t"], ["y"], name="tanh"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 9])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def convolutions(path: Path) -> Path:
    """A large convolution, one by channels, a strided one of groups and a small one."""
    layers: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((64, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((64, 1, 3, 3), {"group": 64, "pads": [0, 1, 0, 1]}),
        ((80, 32, 2, 3), {"group": 2, "strides": [1, 2], "auto_pad": "SAME_LOWER"}),
        ((5, 80, 1, 1), {}),
    ]
    arrays, nodes, x = {}, [], "x"
    for i, (shape, more) in enumerate(layers):
        arrays[f"w{i}"] = RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        arrays[f"b{i}"] = RNG.normal(size=shape[0]) / 3
        y = f"c{i}" if i < 3 else "y"
        nodes.append(helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [y], name=f"conv{i}", **more))
        if i < 3:
            nodes.append(helper.make_node("Relu", [y], [f"r{i}"], name=f"relu{i}"))
        x = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 4, 6])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def samples(shape: tuple[int, ...] = SHAPE) -> Iterator[dict[str, Any]]:
    for _ in range(10):
        yield {"x": RNG.normal(size=shape).astype(np.float32)}


def quantized(how: str, source: Path, shape: tuple[int, ...]) -> Path:
    """By ONNX Runtime's own tools."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.given = samples(shape)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.given, None)

    logging.disable(logging.WARNING)
    try:
        target = source.with_name(f"{how}.onnx")
        if how == "dynamic":
            quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        else:
            form = QuantFormat.QDQ if how == "qdq" else QuantFormat.QOperator
            quantize_static(source, target, Reader(), quant_format=form, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("how", ["qdq", "qoperator", "dynamic"])
def test_compiled_is_what_onnx_runtime_computes(how: str, tmp_path: Path) -> None:
    source = quantized(how, floats(tmp_path / "m.onnx"), SHAPE)
    _, want, got = both(source, SHAPE)
    different = np.abs(want - got) > 1e-5
    assert np.abs(want - got).max() <= 0.02  # a level or two
    assert different.mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("how", ["qdq", "qoperator"])
def test_compiled_convolutions_are_what_onnx_runtime_computes(how: str, tmp_path: Path) -> None:
    source = quantized(how, convolutions(tmp_path / "m.onnx"), IMAGE)
    kernels, want, got = both(source, IMAGE)
    assert kernels.count("conv_i8") == 2
    assert "conv_depthwise_w8" in kernels
    level = np.unique(want)
    assert np.abs(want - got).max() <= 1.01 * np.diff(level).min()
    assert (np.abs(want - got) > 1e-5).mean() < 0.01


def both(source: Path, shape: tuple[int, ...]) -> tuple[list[str], Any, Any]:
    """The kernels of the compiled model, and what ONNX Runtime and it compute."""
    out = source.parent / "dist"
    compiling = CompileOptions(output=out, targets=("x86-64",), isa="x86-64-v3")
    artifact = compile_model(source, compiling)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(source, options)
    model = edgeseq.load(out)
    pairs = [(session.run(None, one)[0], model.run(**one)) for one in samples(shape)]
    want, got = (np.stack(side) for side in zip(*pairs, strict=True))
    return [kernel["name"] for kernel in artifact.manifest["kernels"]], want, got
