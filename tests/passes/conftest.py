"""A pass test holds the graph before and after as ONNX text; both are run and compared."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.pipeline import PassRecord, Settings, prepare

HEADER = '<ir_version: 13, opset_import: ["" : 26]>\n'
_LENGTHS = (1, 5)  # values of symbolic dimensions when models are run


@dataclasses.dataclass(frozen=True)
class Outcome:
    model: ir.Model
    record: PassRecord

    @property
    def refusals(self) -> list[str]:
        return [f"{one.node}: {one.reason}" for one in self.record.refusals]


def parse(text: str) -> ir.Model:
    """Parse a graph; declared floats that nothing produces become random weights."""
    proto = onnx.parser.parse_model(HEADER + text)
    made = {name for node in proto.graph.node for name in node.output}
    made |= {value.name for value in proto.graph.input}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            numbers = np.random.default_rng(zlib.crc32(info.name.encode())).uniform(0.2, 1, shape)
            proto.graph.initializer.append(
                onnx.numpy_helper.from_array(numbers.astype(np.float32), info.name)
            )
    return ir.from_proto(proto)


def canonical(model: ir.Model) -> str:
    """The graph as text: weights by name and shape, integers with their values, both sorted."""
    proto = ir.to_proto(model)
    graph = proto.graph
    names = {tensor.name for tensor in graph.initializer if tensor.data_type == 1}
    kept = sorted((t for t in graph.initializer if t.name not in names), key=lambda t: t.name)
    weights = [
        onnx.helper.make_tensor_value_info(t.name, 1, list(t.dims))
        for t in sorted(graph.initializer, key=lambda t: t.name)
        if t.name in names
    ]
    _forget_types(graph)
    del graph.initializer[:], proto.metadata_props[:]
    graph.initializer.extend(kept)
    graph.value_info.extend(weights)
    return str(onnx.printer.to_text(proto))


def _forget_types(graph: onnx.GraphProto) -> None:
    """Drop what follows from the rest."""
    del graph.value_info[:]
    for output in graph.output:
        output.ClearField("type")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_types(attribute.g)


def run(
    model: ir.Model, length: int, runner: str = "onnxruntime"
) -> dict[str, npt.NDArray[np.generic]]:
    """Run a model, unoptimised, on random inputs that depend on names alone."""
    if runner == "reference":
        return _run_reference(model, length)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, _feeds(model, length)), strict=True))


def _run_reference(model: ir.Model, length: int) -> dict[str, npt.NDArray[np.generic]]:
    """For what ONNX Runtime does not implement."""
    evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(model))
    results = evaluator.run(None, _feeds(model, length))
    return dict(zip(evaluator.output_names, results, strict=True))


def _feeds(model: ir.Model, length: int) -> dict[str, npt.NDArray[np.generic]]:
    feeds = {}
    for value in model.graph.inputs:
        shape = [dim if isinstance(dim, int) else length for dim in value.shape]
        random = np.random.default_rng(zlib.crc32(value.name.encode()))
        whole = value.dtype == ir.DataType.INT64
        feeds[value.name] = (
            random.integers(0, 3, shape) if whole else random.standard_normal(shape, np.float32)
        )
    return feeds


@pytest.fixture(scope="session")
def apply_pass() -> Callable[..., Outcome]:
    """Run one pass on a graph given as text, after `first`: those that find the shapes."""

    def apply(
        name: str,
        text: str,
        *,
        settings: Settings | None = None,
        first: tuple[str, ...] = ("bind-shapes", "fold-constants"),
    ) -> Outcome:
        model = parse(text)
        names = (*(one for one in first if one != name), name)
        records = prepare(model, settings, passes=names, check=True).records
        return Outcome(model, records[-1])

    return apply


@pytest.fixture(scope="session")
def check_pass(apply_pass: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Assert what a pass makes of a graph, and that both graphs compute the same."""

    def check(
        name: str,
        before: str,
        after: str,
        *,
        tolerance: float,
        runner: str = "onnxruntime",
        **more: Any,
    ) -> Outcome:
        outcome = apply_pass(name, before, **more)
        assert canonical(outcome.model) == canonical(parse(after))
        assert outcome.record.modified
        for length in _LENGTHS:
            want, got = run(parse(before), length, runner), run(outcome.model, length, runner)
            assert want.keys() == got.keys()
            for output, expected in want.items():
                scale = max(1.0, float(np.abs(expected).max(initial=0)))
                error = np.abs(got[output].astype(np.float64) - expected).max(initial=0)
                assert error <= tolerance * scale, output
        return outcome

    return check
