"""Small models, and artifacts of them that hold no code: tests bring their own in Python."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from edgeseq.ir import facts
from edgeseq.validate import record

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'

LOOP = """
leaky (float[1, 3] x, float[1, 3] s) => (float[1, 3] y, bool[1, 3] up, float[1, 3] s_out)
<float[1] decay = {0.9}, float[1] zero = {0.0}>
{
    kept = Mul(s, decay)
    s_out = Add(kept, x)
    y = Tanh(s_out)
    up = Greater(s_out, zero)
}
"""

GRAPH = """
running (float[1, T, 2] x) => (float[1, T, 2] y, float[1, 2] total)
<int64[1] time = {1}>
{
    y = CumSum(x, time)
    total = ReduceSum <keepdims = 0> (x, time)
}
"""


@pytest.fixture
def loop_model() -> ir.Model:
    model = ir.from_onnx_text(HEADER + LOOP)
    facts.put(model.graph.inputs[1], facts.State("s_out"))
    return model


@pytest.fixture
def graph_model() -> ir.Model:
    model = ir.from_onnx_text(HEADER + GRAPH)
    facts.put(model, facts.DimRange("T", 1, 512))
    for value in (model.graph.inputs[0], model.graph.outputs[0]):
        facts.put(value, facts.TimeAxis(1, "T"))
    return model


def _tensor(value: ir.Value, time_axis: int | None) -> dict[str, Any]:
    shape = [d if isinstance(d, int) else "T" for d in value.shape or ()]
    kind = {"FLOAT": "float32", "BOOL": "bool"}[value.dtype.name]
    return {"name": value.name, "dtype": kind, "shape": shape, "time_axis": time_axis}


def write(folder: Path, model: ir.Model, kind: str) -> Path:
    """Write the artifact of a model for a target `fake`."""
    folder.mkdir()
    (folder / "fake").mkdir()
    library, onnx_file = folder / "fake" / "lib.so", folder / "model.onnx"
    library.write_bytes(b"machine code")
    ir.save(model, onnx_file)

    def time(value: ir.Value) -> int | None:
        fact = facts.get(value, facts.TimeAxis)
        return None if fact is None else fact.axis

    carried = {v: facts.get(v, facts.State) for v in model.graph.inputs}
    outputs = {fact.output for fact in carried.values() if fact}
    manifest = {
        "format": 1,
        "name": model.graph.name,
        "model_hash": hashlib.sha256(onnx_file.read_bytes()).hexdigest(),
        "inputs": [_tensor(v, time(v)) for v, fact in carried.items() if fact is None],
        "outputs": [_tensor(v, time(v)) for v in model.graph.outputs if v.name not in outputs],
        "states": [
            {"input": v.name, "output": fact.output, "dtype": "float32", "shape": [1, 3]}
            for v, fact in carried.items()
            if fact is not None
        ],
        "modes": {
            "step": {"supported": True, "reason": None},
            "run": {"kind": kind, "min_T": 1, "max_T": 512},
        },
        "targets": {
            "fake": {
                "files": {"fake/lib.so": hashlib.sha256(b"machine code").hexdigest()},
                "library": "fake/lib.so",
            }
        },
        "verify": record(model, folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def loop_dist(tmp_path: Path, loop_model: ir.Model) -> Path:
    return write(tmp_path / "loop", loop_model, "loop")


@pytest.fixture
def graph_dist(tmp_path: Path, graph_model: ir.Model) -> Path:
    return write(tmp_path / "graph", graph_model, "graph")
