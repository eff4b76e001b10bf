"""LiteRT (XNNPACK) as a peer: a pointwise convolution as a .tflite model, one thread."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgeseq.bench.harness import Array, Called, Side
from edgeseq.bench.suite.problem import Problem


def side(problem: Problem) -> Side | str:
    """Return LiteRT ready to run the problem, or why it cannot."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "LiteRT is not installed: pip install ai-edge-litert"
    node = problem.model.graph.node[0]
    if node.op_type != "Conv" or len(problem.frames) != 1:
        return f"no way is known to run {node.op_type} on LiteRT"
    weights = numpy_helper.to_array(problem.model.graph.initializer[0])
    if weights.shape[2:] != (1, 1):
        return "only convolutions of one tap are run on LiteRT"
    return _Litert(weights[:, :, 0, 0], problem.frames[0]["x"], problem.model)


class _Litert(Called):
    """A convolution in LiteRT's own layout, channels last.

    Args:
        weights: float32 [outputs, inputs].
        x: float32 [1, inputs, height, width].
        model: Where the output's name is found.
    """

    def __init__(self, weights: Array, x: Array, model: onnx.ModelProto) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._name = model.graph.output[0].name
        content = flatbuffer(weights, x.shape[2:])
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        index = self._interpreter.get_input_details()[0]["index"]
        self._interpreter.set_tensor(index, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        self._output = self._interpreter.get_output_details()[0]["index"]

    def reset(self) -> None:
        """There is no state."""

    def outputs(self, calls: int) -> dict[str, Array]:
        """See `harness.Side`; channels first, as ours are."""
        for index in range(calls):
            self._call(index)
        return {self._name: self._interpreter.get_tensor(self._output).transpose(0, 3, 1, 2)}

    def _call(self, index: int) -> None:
        del index  # there is one input
        self._interpreter.invoke()


def flatbuffer(weights: Array, size: tuple[int, ...]) -> bytes:
    """Return a .tflite model of one pointwise convolution.

    Args:
        weights: float32 [outputs, inputs].
        size: Height and width.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    outputs, inputs = weights.shape

    def made(kind: str, **fields: Any) -> Any:
        table = getattr(schema, f"{kind}T")()
        for name, value in fields.items():
            setattr(table, name, value)
        return table

    def tensor(name: str, shape: list[int], buffer: int) -> Any:
        kind = schema.TensorType.FLOAT32
        return made("Tensor", name=name, shape=shape, type=kind, buffer=buffer)

    def data(array: Array) -> Any:
        return made("Buffer", data=np.frombuffer(array.tobytes(), np.uint8))

    conv = schema.BuiltinOperator.CONV_2D
    stride = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    operator = made(
        "Operator",
        opcodeIndex=0,
        inputs=[0, 1, 2],
        outputs=[3],
        builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
        builtinOptions=made("Conv2DOptions", padding=schema.Padding.VALID, **stride),
    )
    graph = made(
        "SubGraph",
        name="main",
        tensors=[
            tensor("x", [1, *size, inputs], 0),
            tensor("w", [outputs, 1, 1, inputs], 1),
            tensor("b", [outputs], 2),
            tensor("y", [1, *size, outputs], 0),
        ],
        inputs=[0],
        outputs=[3],
        operators=[operator],
    )
    model = made(
        "Model",
        version=3,
        operatorCodes=[
            made("OperatorCode", builtinCode=conv, deprecatedBuiltinCode=conv, version=1)
        ],
        subgraphs=[graph],
        buffers=[made("Buffer"), data(weights), data(np.zeros(outputs, np.float32))],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
