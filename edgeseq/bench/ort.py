"""The ONNX Runtime side: one thread, IOBinding, states fed back without a copy."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.bench import harness, memory
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Array

StatePairs = Sequence[tuple[str, str]]
NEWEST_IR = 13  # what ONNX Runtime 1.31 reads
InputType = tuple[np.dtype[Any], tuple[int | str | None, ...]]


class OnnxRuntime(harness.Called):
    """A session with default optimisations over prepared bindings.

    Two sets of state memory take turns: one call reads the first and writes the second, the next
    one the other way round. So nothing is copied between calls, as with the compiled side.

    Args:
        session: As `session` opens it.
        frames: Inputs of each call.
        initial: Initial value of each state, by input name.
        pairs: (input, output) of each state.
        constants: Inputs that the compiled model has no longer, and their values.
    """

    def __init__(
        self,
        session: Any,
        frames: Frames,
        initial: Mapping[str, Array],
        pairs: StatePairs,
        constants: Mapping[str, Array],
    ) -> None:
        self._session = session
        self._initial = dict(initial)
        self._states = [{n: np.array(a) for n, a in initial.items()} for _ in range(2)]
        results = self._session.run(None, {**frames.calls[0], **initial, **constants})
        names = [o.name for o in self._session.get_outputs()]
        carried = {output for _, output in pairs}
        self._keep: list[Any] = [constants, frames]
        self._outputs: list[dict[str, Array]] = []
        self._nothing = nothing()
        self._bound_nothing = self._bind_to(
            self._nothing, {"x": np.zeros(1, np.float32)}, {"y": np.zeros(1, np.float32)}
        )
        self._bindings = []
        rounds = len(frames.calls) * (1 if len(frames.calls) % 2 == 0 else 2)
        for index in range(rounds):
            inputs = {**frames.calls[index % len(frames.calls)], **constants}
            own = {
                n: np.zeros_like(a) for n, a in zip(names, results, strict=True) if n not in carried
            }
            read, write = self._states[index % 2], self._states[1 - index % 2]
            fed = {**own, **{output: write[name] for name, output in pairs}}
            self._bindings.append(self._bind({**inputs, **read}, fed))
            self._outputs.append(own)

    def reset(self) -> None:
        """Go back to the initial state."""
        for name, value in self._initial.items():
            self._states[0][name][...] = value

    def cold(self) -> float:
        """See `harness.Side`; what leads to the call, the interpreter above all, stays warm."""
        memory.evict()
        for _ in range(3):
            self._nothing.run_with_iobinding(self._bound_nothing)
        return float(harness.each(self._call, 1)[0])

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`."""
        self.reset()
        for index in range(calls):
            self._call(index)
        last = self._outputs[(calls - 1) % len(self._outputs)]
        return {name: np.array(array) for name, array in last.items()}

    def _call(self, index: int) -> None:
        self._session.run_with_iobinding(self._bindings[index % len(self._bindings)])

    def _bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Any:
        return self._bind_to(self._session, inputs, outputs)

    def _bind_to(
        self, session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> Any:
        binding = session.io_binding()
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, given in arrays.items():
                array = np.require(given, requirements=["C"])
                self._keep.append(array)
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


@functools.cache
def nothing() -> Any:
    """A session whose model negates one number: what a call costs by itself."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "n", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=NEWEST_IR)
    return session(model.SerializeToString())


def session(model: Path | bytes) -> Any:
    """Open a model with one thread and default (all) optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def input_types(session: Any) -> dict[str, InputType]:
    """Return dtype and shape of the inputs; unknown sizes are names or None."""
    types = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return {
        i.name: (
            np.dtype(types.get(i.type) or i.type.removeprefix("tensor(").removesuffix(")")),
            tuple(i.shape),
        )
        for i in session.get_inputs()
    }
