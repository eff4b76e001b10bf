"""Operators of opsets 27 and 28 are brought to the internal one, and to the scan kernels."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
import torch

from edgeseq import api, validate
from edgeseq.frontends.onnx import import_onnx
from edgeseq.interp import Interpreter
from edgeseq.options import CompileOptions

CASES = {
    "conv": """g (float[1, 6, T] x, float[1, 6, 3] past)
        => (float[1, 6, T] y, float[1, 6, 3] present)
        <float[6, 1, 4] w, float[6] b> { y, present = CausalConvWithState (x, w, b, past) }""",
    "conv, no past": """g (float[2, 6, T] x) => (float[2, 6, T] y) <float[6, 1, 4] w>
        { y, present = CausalConvWithState <activation = "silu"> (x, w) }""",
    "conv on what was computed": """g (float[1, 6, T] x) => (float[1, 6, T] y)
        <float[6, 1, 4] w, float[6] b>
        { a = Sigmoid (x) y, present = CausalConvWithState <activation = "swish"> (a, w, b) }""",
    "swiglu": """g (float[1, T, 8] a, float[1, T, 8] b) => (float[1, T, 8] y)
        { y = SwiGLU <alpha = 1.5> (a, b) }""",
}


def attention(rule: str, heads: int, groups: int, gate: int, past: bool, more: str = "") -> str:
    """A graph; `gate` is the width of the decay of a head: 1, or that of its keys (5)."""
    inputs = [f"float[1, T, {heads * groups * 5}] q", f"float[1, T, {heads * 5}] k"]
    inputs += [f"float[1, T, {heads * 3}] v"]
    given = ["q", "k", "v", "past" if past else ""]
    inputs += [f"float[1, {heads}, 5, 3] past"] if past else []
    inputs += [f"float[1, T, {heads * gate}] g"] if "gated" in rule else []
    given += ["decay" if "gated" in rule else ""]
    inputs += [f"float[1, T, {heads}] b"] if "delta" in rule else []
    given += ["beta"] if "delta" in rule else []
    outputs = [f"float[1, T, {heads * groups * 3}] y"]
    outputs += [f"float[1, {heads}, 5, 3] present"] if past else []
    while not given[-1]:
        given.pop()
    return f"""g ({", ".join(inputs)}) => ({", ".join(outputs)}) {{
        {"softplus = Softplus (g) decay = Neg (softplus)" if "gated" in rule else ""}
        {"beta = Sigmoid (b)" if "delta" in rule else ""}
        y, present = LinearAttention <q_num_heads = {heads * groups}, kv_num_heads = {heads},
            update_rule = "{rule}" {more}> ({", ".join(given)})
    }}"""


RULES = ("linear", "gated", "delta", "gated_delta")
CASES |= {
    **{f"attention, {rule}": attention(rule, 2, 1, 1, past=False) for rule in RULES},
    **{f"attention, {rule}, groups": attention(rule, 2, 3, 5, past=True) for rule in RULES},
    "attention, one head": attention("gated_delta", 1, 1, 1, past=True),
    "attention, one key for all": attention("gated", 1, 4, 1, past=True, more=", scale = 0.5"),
}


def saved(text: str, folder: Path) -> Path:
    """The graph as a file of opset 28, weights given values."""
    proto = onnx.parser.parse_model('<ir_version: 13, opset_import: ["" : 28]>\n' + text)
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    for info in proto.graph.value_info:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, info.name))
    del proto.graph.value_info[:]
    path = folder / "m.onnx"
    onnx.save(proto, path)
    return path


def feeds(proto: onnx.ModelProto, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(steps)
    shapes = {
        value.name: [dim.dim_value or steps for dim in value.type.tensor_type.shape.dim]
        for value in proto.graph.input
    }
    return {n: rng.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}


def outputs(proto: onnx.ModelProto, given: Mapping[str, Any]) -> list[Any]:
    return onnx.reference.ReferenceEvaluator(proto).run(None, dict(given))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [1, 4])
def test_they_mean_the_same(name: str, steps: int, tmp_path: Path) -> None:
    path = saved(CASES[name], tmp_path)
    before, after = onnx.load(path), import_onnx(path)
    assert after.opset_imports[""] == 26
    given = feeds(before, steps)
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    got = Interpreter(after, dtype=torch.float64)(tensors)
    for value, want in zip(before.graph.output, outputs(before, given), strict=True):
        np.testing.assert_allclose(got[value.name].numpy(), want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_they_stream_through_the_scan_kernels(name: str, tmp_path: Path) -> None:
    path = saved(CASES[name], tmp_path)
    api.compile_model(path, CompileOptions(tmp_path / "dist", ("c",), name="m"))
    verdict = validate.check(tmp_path / "dist", "c")
    assert verdict.ok, validate.to_text(verdict)
    manifest = json.loads((tmp_path / "dist" / "manifest.json").read_text())
    assert manifest["modes"]["step"]["supported"]
    scans = {k["name"] for k in manifest["kernels"] if "scan" in k["name"]}
    rule = re.search(r'update_rule = "(\w+)"', CASES[name])
    kernel = "delta_scan_f32" if rule is not None and "delta" in rule[1] else "outer_scan_f32"
    assert scans == (set() if rule is None else {kernel})


def test_halves_take_the_definition_of_onnx(tmp_path: Path) -> None:
    text = attention("gated_delta", 2, 1, 1, past=True).replace("float[", "float16[")
    path = saved(text, tmp_path)
    before, after = onnx.load(path), ir.to_proto(import_onnx(path))
    given = {name: array.astype(np.float16) for name, array in feeds(before, 3).items()}
    for want, got in zip(outputs(before, given), outputs(after, given), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=2e-2, atol=2e-3)
