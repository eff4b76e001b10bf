"""Convolutions with pruned weights leave the zeros out where that pays."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from edgeseq.kernels import spmm

from edgeseq import api, validate
from edgeseq.options import CompileOptions


def compiled(
    w: np.ndarray, x: list[int | str], folder: Path, act: str = "Relu", **attributes: Any
) -> list[str]:
    """Compile act(Conv(x, w)), hold it against the interpreter, and name its kernels."""
    weight = w.reshape(*w.shape, *([1] * (len(x) - w.ndim)))
    bias = np.linspace(-1, 1, len(w), dtype=np.float32)
    conv = oh.make_node("Conv", ["x", "w", "b"], ["c"], **attributes)
    nodes = [conv, oh.make_node(act, ["c"], ["y"])]
    given = oh.make_tensor_value_info("x", 1, x)
    image = [None if isinstance(size, int) else size for size in x[2:]]
    made = oh.make_tensor_value_info("y", 1, [x[0], len(w), *image])
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
    w = spmm.sparse(np.random.default_rng(2), 96, 96, 16, 0.1)
    assert compiled(w, [1, 96, "T"], tmp_path) == ["spconv_f32_b16x1"]  # of a step
    assert "es_spmm_f32_b16x1" in (tmp_path / "dist" / "c" / "m.c").read_text()
    manifest = json.loads((tmp_path / "dist" / "manifest.json").read_text())
    assert manifest["modes"]["step"]["supported"]


@pytest.mark.parametrize(
    ("image", "kernel", "attributes"),
    [
        ([4], [3], {}),
        ([10], [3], {"dilations": [4]}),
        ([40], [3], {}),
        ([70], [8], {"strides": [4]}),
        ([30], [5], {"pads": [4, 0]}),
        ([5, 33], [3, 3], {"pads": [1, 1, 1, 1], "strides": [1, 2]}),
        ([33], [4], {"group": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [4, 16])
def test_more_taps_than_one(
    image: list[int], kernel: list[int], attributes: dict[str, Any], rows: int, tmp_path: Path
) -> None:
    per_group = 64 // attributes.get("group", 1)
    flat = spmm.sparse(np.random.default_rng(3), 96, per_group * math.prod(kernel), rows, 0.06)
    w = np.moveaxis(flat.reshape(96, *kernel, per_group), -1, 1)
    names = compiled(np.ascontiguousarray(w), [1, 64, *image], tmp_path, **attributes)
    assert len(names) == 1
    few = image[-1] <= 10  # then a wider block takes no longer than a narrow one
    assert names[0].startswith("spconv_f32_b" if few else f"spconv_f32_b{rows}x1")


def test_zeros_anywhere_in_a_step_need_to_be_many(tmp_path: Path) -> None:
    w = spmm.sparse(np.random.default_rng(4), 96, 3 * 64, 1, 0.1).reshape(96, 64, 3)
    (name,) = compiled(w, [1, 64, 4], tmp_path)
    assert name.startswith("conv_")
    w *= spmm.sparse(np.random.default_rng(5), 96, 3 * 64, 1, 0.1).reshape(w.shape)
    assert compiled(w, [1, 64, 4], tmp_path / "few")[0].startswith("spconv_f32")
