"""The real models compute the same after all passes, and the graphs are as small as they should be.

Inputs are random; the goldens are compared where compiled code is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.onnx import check_supported, import_onnx
from edgeseq.pipeline import Settings, prepare, verify

TOLERANCE = 1e-5  # of the output's range; float32 sums in another order, over up to 600 nodes


@dataclasses.dataclass(frozen=True)
class Case:
    """Nodes at most, and of some operators exactly."""

    file: str
    nodes: int
    settings: Settings = dataclasses.field(default_factory=Settings)
    operators: dict[str, int] = dataclasses.field(default_factory=dict)


SILERO = Settings(shapes={"input": [1, 576], "state": [2, 1, 128]}, constants={"sr": 16000})
GTCRN = {"GRU": 14, "Conv": 20, "ConvTranspose": 2, "LayerNormalization": 4, "Gather": 0}
CASES = [
    Case("gtcrn/gtcrn.onnx", 340, operators=GTCRN),
    Case("gtcrn/gtcrn_simple.onnx", 340, operators=GTCRN),
    Case("DTLN/model_1.onnx", 20, operators={"LSTM": 2}),
    Case("DTLN/model_2.onnx", 28, operators={"LSTM": 2, "LayerNormalization": 1, "Sigmoid": 1}),
    Case("silero-vad/silero_vad.onnx", 38, SILERO, {"LSTM": 1, "If": 0, "Conv": 3, "Gemm": 3}),
    Case(
        "silero-vad/silero_vad_16k_op15.onnx",
        38,
        SILERO,
        {"LSTM": 1, "If": 0, "Conv": 3, "Gemm": 3},
    ),
    Case(
        "silero-vad/silero_vad_op18_ifless.onnx",
        33,
        SILERO,
        {"LSTM": 1, "If": 0, "Conv": 3, "Gemm": 3},
    ),
    Case("rwkv5/converted_rwkv5_step.onnx", 622),
    Case("mamba-kws/converted_step.onnx", 40),
    Case("mamba-kws/converted_scan.onnx", 40, Settings(dims={"T": (1, 2000)}), {"Scan": 1}),
]


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options)


def feeds(model, constants, length):
    random = np.random.default_rng(0)
    found = {}
    for value in model.graph.inputs:
        shape = [dim if isinstance(dim, int) else length for dim in value.shape]
        if str(value.dtype) == "INT64":
            found[value.name] = random.integers(0, 200, shape)
        else:
            found[value.name] = np.abs(random.standard_normal(shape, np.float32)) * 0.5
    return found, {name: np.array(number) for name, number in constants.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_computes_the_same_with_fewer_nodes(models_dir, case):
    path = models_dir / case.file
    model = import_onnx(path)
    records = prepare(model, case.settings, check=case.nodes < 100).records
    verify(model)
    assert records[-1].nodes_after <= case.nodes
    operators = [node.op_type for node in model.graph]
    assert {name: operators.count(name) for name in case.operators} == case.operators

    original = session(path.read_bytes())
    prepared = session(ir.to_proto(model).SerializeToString())
    inputs, constants = feeds(model, case.settings.constants, length=37)
    names = [output.name for output in prepared.get_outputs()]
    got = dict(zip(names, prepared.run(None, inputs), strict=True))
    want = original.run(None, {**inputs, **constants})
    for output, expected in zip(original.get_outputs(), want, strict=True):
        error = np.abs(got[output.name] - expected).max()
        assert error <= TOLERANCE * np.abs(expected).max(), output.name


def test_an_if_on_the_sample_rate_names_the_flag_that_decides_it(models_dir):
    model = import_onnx(models_dir / "silero-vad/silero_vad.onnx")
    prepare(model, Settings(shapes=SILERO.shapes))
    with pytest.raises(UnsupportedModelError) as error:
        check_supported(model, {node.op_type for node in model.graph} - {"If"})
    assert error.value.at == ("node 'If_0' (If) whose condition comes from input 'sr'",)
    assert "--const sr=VALUE" in error.value.fix


def test_scan_over_time_with_a_mean_over_time_is_not_streamable(models_dir):
    model = import_onnx(models_dir / "mamba-kws/converted_scan.onnx")
    records = prepare(model, Settings(dims={"T": (1, 2000)})).records
    refused = {one.reason for record in records for one in record.refusals}
    assert "its ReduceMean runs over all of time" in refused
