"""The other runtimes, each a side of the harness; one that cannot run a case says why."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx

from edgeseq.bench import ort
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Side
from edgeseq.bench.suite import litert, ncnn
from edgeseq.bench.suite.problem import Problem


def side(peer: str, problem: Problem) -> Side | str:
    """Return the peer ready to run the problem, or why it cannot."""
    made = _PEERS.get(peer)
    return f"there is no way to run {peer}" if made is None else made(problem)


def _onnxruntime(problem: Problem) -> Side:
    return _session(problem, problem.model)


def _dynamic_quantize(problem: Problem) -> Side | str:
    """ONNX Runtime's own int8 LSTM: weights quantized when it is made, activations in the call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        before, after = Path(folder, "model.onnx"), Path(folder, "quantized.onnx")
        onnx.save(problem.model, before)
        logging.disable(logging.WARNING)  # it recommends a preparation that a bare LSTM needs not
        try:
            quantize_dynamic(before, after, per_channel=True, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        model = onnx.load(after)
    if not any(node.op_type == "DynamicQuantizeLSTM" for node in model.graph.node):
        return "onnxruntime.quantization did not make a DynamicQuantizeLSTM of it"
    return _session(problem, model)


def _session(problem: Problem, model: onnx.ModelProto) -> Side:
    session = ort.session(model.SerializeToString())
    frames = Frames(problem.frames, None)
    return ort.OnnxRuntime(session, frames, problem.states, problem.pairs, {})


_PEERS: Mapping[str, Callable[[Problem], Side | str]] = {
    "onnxruntime": _onnxruntime,
    "dynamic-quantize-lstm": _dynamic_quantize,
    "litert": litert.side,
    "ncnn": ncnn.side,
}
