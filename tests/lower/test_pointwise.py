"""Convolutions of single pixels with pruned weights leave the zeros out where that pays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from edgeseq.kernels import spmm

from edgeseq import api, validate
from edgeseq.options import CompileOptions


def compiled(w: np.ndarray, x: list[int | str], folder: Path, act: str = "Relu") -> list[str]:
    """Compile act(Conv(x, w)), hold it against the interpreter, and name its kernels."""
    weight = w.reshape(*w.shape, *([1] * (len(x) - 2)))
    bias = np.linspace(-1, 1, len(w), dtype=np.float32)
    nodes = [oh.make_node("Conv", ["x", "w", "b"], ["c"]), oh.make_node(act, ["c"], ["y"])]
    given = oh.make_tensor_value_info("x", 1, x)
    made = oh.make_tensor_value_info("y", 1, [x[0], len(w), *x[2:]])
    weights = [onnx.numpy_helper.from_array(a, n) for n, a in (("w", weight), ("b", bias))]
    graph = oh.make_graph(nodes, "g", [given], [made], weights)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    api.compile_model(model, CompileOptions(folder / "dist", ("c",), name="m"))
    verdict = validate.check(folder / "dist", "c")
    assert verdict.ok, validate.to_text(verdict)
    manifest = json.loads((folder / "dist" / "manifest.json").read_text())
    return [kernel["name"] for kernel in manifest["kernels"]]


@pytest.mark.parametrize(
    ("rows", "density", "kernel"),
    [
        (1, 0.1, "spmm_f32"),
        (4, 0.2, "spmm_f32_b4x1"),
        (16, 0.3, "spmm_f32_b16x1"),
        (1, 0.5, "conv_"),
        (16, 0.7, "conv_"),
    ],
)
def test_the_kernel_follows_the_zeros(
    rows: int, density: float, kernel: str, tmp_path: Path
) -> None:
    w = spmm.sparse(np.random.default_rng(0), 48, 64, rows, density)
    (name,) = compiled(w, [1, 64, 5, 9], tmp_path)
    assert name.startswith(kernel)


@pytest.mark.parametrize("act", ["Sigmoid", "Tanh", "LeakyRelu"])
def test_activations_are_part_of_it(act: str, tmp_path: Path) -> None:
    w = spmm.sparse(np.random.default_rng(1), 48, 32, 16, 0.2)
    assert compiled(w, [2, 32, 30], tmp_path, act) == ["spmm_f32_b16x1"]


def test_pixels_are_steps(tmp_path: Path) -> None:
    """One weight serves the whole sequence and its single steps."""
    w = spmm.sparse(np.random.default_rng(2), 32, 32, 16, 0.2)
    assert compiled(w, [1, 32, "T"], tmp_path) == ["spmm_f32_b16x1"]
    manifest = json.loads((tmp_path / "dist" / "manifest.json").read_text())
    assert manifest["modes"]["step"]["supported"]
