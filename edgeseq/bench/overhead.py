"""What a call costs by itself: a step of a model that adds one number to its state."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeseq.bench import harness
from edgeseq.bench.compiled import Compiled
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Array, Spread
from edgeseq.errors import ToolchainError
from edgeseq.runtime import load


def bench_overhead(dist: Path, rounds: int = 30, calls: int = 100_000) -> Spread:
    """Return microseconds per step, called from C, of a compiled `write_adder`.

    Raises:
        ToolchainError: there is no C compiler to build the timing loop with.
    """
    x: Array = np.ones(1, np.float32)
    side = Compiled(load(dist), Frames([{"x": x}], None))
    if side.called_from != "C":
        raise ToolchainError("a C compiler is needed to call from C", fix="install gcc, or set CC")
    timings = harness.interleave({"edgeseq": side}, rounds, calls)
    return Spread.of(timings.microseconds["edgeseq"])


def write_adder(file: Path) -> Path:
    """Write `y = state + x; state_out = y`, one float each, as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper

    def one(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])

    nodes = [
        helper.make_node("Add", ["state", "x"], ["y"], "add"),
        helper.make_node("Identity", ["y"], ["state_out"], "carry"),
    ]
    ends = [one("x"), one("state")], [one("y"), one("state_out")]
    graph = helper.make_graph(nodes, "adder", *ends)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), file)
    return file
