"""Small models with every kind of weight matrix, written in ONNX's text form or by hand."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.ir import facts


def tensor(name, *shape, seed=0):
    """An initializer of normal values."""
    data = np.random.default_rng([seed, len(name)]).normal(size=shape) / np.sqrt(shape[-1])
    return ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape(shape),
        const_value=ir.tensor(data.astype(np.float32), name=name),
    )


def value(name, *shape):
    """A graph input."""
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))


def model(inputs, nodes, outputs):
    """Collect the initializers that the nodes use."""
    constants = dict.fromkeys(
        v for n in nodes for v in n.inputs if v is not None and v.const_value is not None
    )
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(constants),
        opset_imports={"": 22},
        name="graph",
    )
    return ir.Model(graph, ir_version=10)


def gru_model(steps):
    """GRU(6 -> 8) with a carried state and a Gemm(8 -> 5); `steps` is 1 or "T"."""
    x, h = value("x", 1, steps, 6), value("h", 1, 1, 8)
    if steps == 1:
        x = value("x", 1, 6)
    shape = ir.Value(
        name="dims",
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([3]),
        const_value=ir.tensor(np.array([-1, 1, 6]), name="dims"),
    )
    flat = ir.Value(
        name="flat",
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([2]),
        const_value=ir.tensor(np.array([-1, 8]), name="flat"),
    )
    by_time = ir.node("Reshape", [x, shape])
    weights = [tensor("gru.w", 1, 24, 6), tensor("gru.r", 1, 24, 8, seed=1), tensor("gru.b", 1, 48)]
    gru = ir.node(
        "GRU",
        [by_time.outputs[0], *weights, None, h],
        attributes={"hidden_size": 8, "linear_before_reset": 1},
        num_outputs=2,
        name="gru",
    )
    rows = ir.node("Reshape", [gru.outputs[0], flat])
    head = ir.node(
        "Gemm",
        [rows.outputs[0], tensor("head.weight", 5, 8), tensor("head.bias", 5)],
        attributes={"transB": 1},
        name="head",
    )
    gru.outputs[1].name, head.outputs[0].name = "h_out", "y"
    gru.outputs[1].type = head.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    head.outputs[0].shape, gru.outputs[1].shape = ir.Shape([steps, 5]), ir.Shape([1, 1, 8])
    made = model([x, h], [by_time, gru, rows, head], [head.outputs[0], gru.outputs[1]])
    facts.put(h, facts.State("h_out"))
    if steps != 1:
        facts.put(x, facts.TimeAxis(1, "T"))
        facts.put(made, facts.DimRange("T", 1, 4096))
    return made


@pytest.fixture
def sequence_model():
    """A model with a time axis."""
    return gru_model("T")


@pytest.fixture
def step_model():
    """A model of one frame."""
    return gru_model(1)
