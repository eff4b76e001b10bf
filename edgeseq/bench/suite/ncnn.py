"""ncnn as a peer: a GRU or an LSTM in float32, one thread, its state handed from call to call.

A call is an extractor, its inputs and its outputs, as ncnn is used; from Python that is a few
microseconds, which weigh on the smallest layers.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from edgeseq.bench.harness import Array, Called, Side
from edgeseq.bench.suite.problem import Problem

# ncnn's order of gates in ONNX's, and its operator with (input, output) of each state.
GATES = {"GRU": (1, 0, 2), "LSTM": (0, 2, 1, 3)}


def side(problem: Problem) -> Side | str:
    """Return ncnn ready to run the problem, or why it cannot."""
    if importlib.util.find_spec("ncnn") is None:
        return "ncnn is not installed: pip install ncnn"
    operator = problem.model.graph.node[0].op_type
    if operator not in GATES:
        return f"no way is known to run {operator} on ncnn"
    constants = {t.name: numpy_helper.to_array(t)[0] for t in problem.model.graph.initializer}
    return _Ncnn(operator, constants, problem)


class _Ncnn(Called):
    """One recurrent layer.

    Args:
        operator: `GRU` (linear_before_reset 1) or `LSTM`.
        constants: W, R and B of one direction, as ONNX orders them.
        problem: Frames, initial states, and which output is which.
    """

    def __init__(self, operator: str, constants: Mapping[str, Array], problem: Problem) -> None:
        import ncnn

        self._net: Any = ncnn.Net()
        options = self._net.opt
        options.num_threads = 1
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
            parameters, weights = Path(folder, "m.param"), Path(folder, "m.bin")
            parameters.write_text(_parameters(operator, constants, problem.pairs))
            weights.write_bytes(_weights(operator, constants))
            self._net.load_param(str(parameters))
            self._net.load_model(str(weights))
        self._mat = ncnn.Mat
        self._frames = [np.ascontiguousarray(f["x"][:, 0]) for f in problem.frames]
        self._inputs = [ncnn.Mat(frame) for frame in self._frames]
        self._initial = {n: np.ascontiguousarray(a[0]) for n, a in problem.states.items()}
        self._pairs = problem.pairs
        self._output: Any = None
        self.reset()

    def reset(self) -> None:
        """Go back to the initial state."""
        self._states = {name: self._mat(value) for name, value in self._initial.items()}

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`."""
        self.reset()
        for index in range(calls):
            self._call(index)
        return {"y": np.array(self._output)}

    def _call(self, index: int) -> None:
        extractor = self._net.create_extractor()
        extractor.input("x", self._inputs[index % len(self._inputs)])
        for name, value in self._states.items():
            extractor.input(name, value)
        _, self._output = extractor.extract("y")
        self._states = {name: extractor.extract(output)[1] for name, output in self._pairs}


def _parameters(
    operator: str, constants: Mapping[str, Array], pairs: Sequence[tuple[str, str]]
) -> str:
    """Return the net as text: layers, blobs, and a line for each layer."""
    ins = ["x", *(a for a, _ in pairs)]
    outs = ["y", *(b for _, b in pairs)]
    lines = [f"Input {name} 0 1 {name}" for name in ins]
    sizes = f"0={constants['R'].shape[1]} 1={constants['W'].size} 2=0"
    lines.append(f"{operator} cell {len(ins)} {len(outs)} {' '.join([*ins, *outs])} {sizes}")
    return "\n".join(["7767517", f"{len(lines)} {len(ins) + len(outs)}", *lines, ""])


def _weights(operator: str, constants: Mapping[str, Array]) -> bytes:
    """W, the bias and R, each behind a word that says float32; a GRU's n gate has two biases."""
    order = GATES[operator]

    def gates(name: str, half: slice = slice(None)) -> list[Array]:
        split = np.split(constants[name][half], len(order))
        return [split[gate] for gate in order]

    middle = constants["B"].size // 2
    ours, recurrent = gates("B", slice(middle)), gates("B", slice(middle, None))
    bias = [a + b for a, b in zip(ours, recurrent, strict=True)]
    if operator == "GRU":
        bias[2:] = [ours[2], recurrent[2]]
    tagged = (np.concatenate(part) for part in (gates("W"), bias, gates("R")))
    return b"".join(bytes(4) + part.astype("<f4").tobytes() for part in tagged)
