"""ONNX's backend interface over compiled code: `prepare` compiles, `run` runs.

It is how ONNX's own test suite reaches edgeseq.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep, DeviceType, namedtupledict

from edgeseq import api, runtime
from edgeseq.errors import UnsupportedModelError
from edgeseq.options import CompileOptions

Array = npt.NDArray[Any]


# Inputs of the recurrent operators that are weights: edgeseq packs weights when it compiles.
_WEIGHTS = {"RNN": (1, 2, 3, 4), "GRU": (1, 2, 3, 4), "LSTM": (1, 2, 3, 4, 7)}


class CompiledModel(BackendRep):  # type: ignore[misc]
    """A model that is compiled when its weights are known.

    ONNX's tests feed the weights of recurrent nodes as inputs. They are bound on the first run,
    and bound anew when they change.

    Args:
        model: The source; its order of inputs and outputs is kept.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        stored = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [v.name for v in model.graph.input if v.name not in stored]
        self._outputs = [v.name for v in model.graph.output]
        self._weights = _weight_inputs(model.graph) - stored
        self._bound: dict[str, Array] | None = None
        self._compiled: runtime.Model | None = None
        if not self._weights:
            self._compile({})

    def run(self, inputs: Mapping[str, Array] | Sequence[Array], **_: Any) -> tuple[Array, ...]:
        """Return the outputs in the order of the model."""
        if not isinstance(inputs, Mapping):
            inputs = dict(zip(self._inputs, inputs, strict=True))
        weights = {name: np.asarray(inputs[name]) for name in sorted(self._weights)}
        if not self._is_bound(weights):
            self._compile(weights)
        assert self._compiled is not None
        taken = [t.name for t in self._compiled.inputs]
        result = self._compiled.run({name: inputs[name] for name in taken})
        if not isinstance(result, dict):
            result = {self._outputs[0]: result}
        fields = namedtupledict("Outputs", self._outputs)
        outputs: tuple[Array, ...] = fields(*(np.asarray(result[n]) for n in self._outputs))
        return outputs

    def _is_bound(self, weights: Mapping[str, Array]) -> bool:
        bound = self._bound
        return bound is not None and all(np.array_equal(bound[n], a) for n, a in weights.items())

    def _compile(self, weights: dict[str, Array]) -> None:
        target = api.host_targets()[0]
        with tempfile.TemporaryDirectory(prefix="edgeseq-") as folder:
            # States stay inputs and outputs: a backend has no streams.
            options = CompileOptions(Path(folder) / "dist", (target,), stream=False)
            artifact = api.compile_model(_bind(self._model, weights), options)
            # The loaded library stays mapped after its folder is gone.
            self._compiled = artifact.load(target)
        self._bound = weights


def _weight_inputs(graph: onnx.GraphProto) -> set[str]:
    inputs = {value.name for value in graph.input}
    used = {
        node.input[i]
        for node in graph.node
        for i in _WEIGHTS.get(node.op_type, ())
        if i < len(node.input)
    }
    return used & inputs


def _bind(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    kept = [value for value in bound.graph.input if value.name not in values]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    bound.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in values.items())
    return bound


class EdgeseqBackend(Backend):  # type: ignore[misc]
    """Compiles for this machine."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> CompiledModel:
        """Compile a model.

        Raises:
            UnsupportedModelError: the device is not a CPU, or the model cannot be compiled.
        """
        if not cls.supports_device(device):
            raise UnsupportedModelError(f"no device '{device}'", fix="device='CPU'")
        return CompiledModel(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether compiled code runs on this kind of device."""
        kind = device.partition(":")[0]
        return hasattr(DeviceType, kind) and getattr(DeviceType, kind) == DeviceType.CPU


prepare = EdgeseqBackend.prepare
run_model = EdgeseqBackend.run_model
supports_device = EdgeseqBackend.supports_device
