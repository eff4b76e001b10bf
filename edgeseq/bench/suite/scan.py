"""Scans: h = a h + x, and the selective scan of Mamba with its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from edgeseq.bench.harness import Array
from edgeseq.bench.suite import problem
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.native import Call, find_kernel
from edgeseq.bench.suite.problem import Problem


def build(case: Case, rng: np.random.Generator) -> Problem | None:
    """Return the case with numbers in it, or None where there is no such kernel."""
    return _selective(case, rng) if "N" in case.sizes else _diagonal(case, rng)


def _diagonal(case: Case, rng: np.random.Generator) -> Problem | None:
    kernel = find_kernel("diag_scan_f32")
    if kernel is None:
        return None
    steps, width = case.sizes["T"], case.sizes["C"]
    frame = {
        "a": rng.uniform(0.5, 0.99, (steps, width)).astype(np.float32),
        "x": rng.uniform(-1, 1, (steps, width)).astype(np.float32),
    }
    known = {"T": steps, "B": 1, "N": width, "a_t": width, "x_t": width, "y_t": width}
    call = Call(
        kernel,
        {name: known.get(name, 0) for name in kernel.sizes},
        {},
        [frame],
        {"h0": rng.uniform(-1, 1, width).astype(np.float32)},
    )
    body = [
        _node("Mul", ["a_i", "h_in"], "ah"),
        _node("Add", ["ah", "x_i"], "h_out"),
        _node("Identity", ["h_out"], "y_i"),
    ]
    rows = {"a_i": [width], "x_i": [width]}
    return _problem(call, body, {"h_in": [width]}, rows, {"y_i": [width]}, {}, steps)


def _selective(case: Case, rng: np.random.Generator) -> Problem | None:
    kernel = find_kernel("selective_scan_f32")
    if kernel is None:
        return None
    steps, channels, states = (case.sizes[n] for n in ("T", "C", "N"))
    rows = {"x": channels, "dt": channels, "bm": states, "cm": states}
    frame = {n: rng.uniform(-1, 1, (steps, v)).astype(np.float32) for n, v in rows.items()}
    frame["dt"] = rng.uniform(0.001, 0.1, (steps, channels)).astype(np.float32)
    fixed = {"a": -rng.uniform(0.5, 8, (channels, states)).astype(np.float32)}
    known = {"T": steps, "B": 1, "C": channels, "N": states}
    known |= dict.fromkeys(("x_t", "d_t", "y_t"), channels) | dict.fromkeys(("b_t", "c_t"), states)
    call = Call(
        kernel,
        {name: known.get(name, 0) for name in kernel.sizes},
        {},
        [{**frame, **fixed}],
        {"h0": rng.uniform(-1, 1, (channels, states)).astype(np.float32)},
    )
    body = [
        _node("Unsqueeze", ["dt_i", "last"], "d"),
        _node("Mul", ["d", "a"], "da"),
        _node("Exp", ["da"], "factor"),
        _node("Mul", ["dt_i", "x_i"], "dx"),
        _node("Unsqueeze", ["dx", "last"], "dxc"),
        _node("Mul", ["dxc", "bm_i"], "dxb"),
        _node("Mul", ["factor", "h_in"], "fh"),
        _node("Add", ["fh", "dxb"], "h_out"),
        _node("MatMul", ["h_out", "cm_i"], "y_i"),
    ]
    constants: dict[str, Array] = {**fixed, "last": np.array([1], np.int64)}
    shapes = {f"{n}_i": [v] for n, v in rows.items()}
    state = {"h_in": [channels, states]}
    return _problem(call, body, state, shapes, {"y_i": [channels]}, constants, steps)


def _problem(
    call: Call,
    body: Sequence[onnx.NodeProto],
    state: Mapping[str, Sequence[int]],
    rows: Mapping[str, Sequence[int]],
    out: Mapping[str, Sequence[int]],
    constants: Mapping[str, Array],
    steps: int,
) -> Problem:
    """The same as an ONNX Scan over axis 0."""
    from onnx import TensorProto, helper

    def ports(shapes: Mapping[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    (shape,) = state.values()
    ends = ports({"h_out": shape}) + ports(out)
    graph = helper.make_graph(list(body), "step", ports(state) + ports(rows), ends)
    names = [n.removesuffix("_i") for n in rows]
    node = helper.make_node(
        "Scan", ["h0", *names], ["h_n", "y"], body=graph, num_scan_inputs=len(names)
    )
    inputs = {n: [steps, *s] for n, s in zip(names, rows.values(), strict=True)}
    (result,) = out.values()
    whole = problem.model_of(
        [node], {"h0": shape, **inputs}, {"h_n": shape, "y": [steps, *result]}, constants
    )
    moved = sum(call.frames[0][n].nbytes for n in names)
    return Problem(
        call=call,
        model=whole,
        frames=[{n: call.frames[0][n] for n in names}],
        states=call.states,
        pairs=[("h0", "h_n")],
        outputs={"y": "y"},
        footprint=moved,
        moved=moved,
        tolerance=problem.TOLERANCE["f32"],
    )


def _node(op: str, inputs: Sequence[str], output: str) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(op, inputs, [output])
