"""Shapes, types and data of values, at every length of time."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import facts
from edgeseq.ir.infer import Inference

HEADER = '<ir_version: 13, opset_import: ["" : 26]>\n'


def inferred(text, low=1, high=100):
    model = ir.from_onnx_text(HEADER + text)
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    facts.put(model, facts.DimRange("T", low, high))
    inference = Inference(model)
    inference.infer_graph(model.graph)
    return {value.name: value for node in model.graph for value in node.outputs}, inference


def shape(values, name):
    return str(values[name].shape)


def test_convolutions_strides_and_pads():
    values, _ = inferred(
        """g (float[1, 2, T] x) => (y) <float[3, 2, 5] w> {
            a = Conv (x, w)
            b = Conv <strides = [2], pads = [2, 2]> (x, w)
            y = Conv <strides = [4]> (x, w)
        }""",
        low=9,
    )
    assert shape(values, "a") == "[1,3,T - 4]"
    assert shape(values, "b") == "[1,3,(T + 1)//2]"
    assert shape(values, "y") == "[1,3,(T - 1)//4]"


def test_shapes_computed_by_the_graph():
    values, inference = inferred(
        """g (float[2, T, 6] x) => (y)
        <int64 one = {1}, int64[1] zero = {0}, int64[2] tail = {2, 3}> {
            s = Shape (x)
            t = Gather (s, one)
            u = Unsqueeze (t, zero)
            first = Shape <start = 0, end = 1> (x)
            target = Concat <axis = 0> (first, u, tail)
            y = Reshape (x, target)
        }"""
    )
    assert shape(values, "y") == "[2,T,2,3]"
    assert [data.item() for data in inference.data(values["t"])] == list(inference.samples.points)
    assert values["t"].const_value is None


def test_data_that_does_not_depend_on_time_is_constant():
    values, _ = inferred(
        """g (float[2, T] x) => (y) <int64 zero = {0}> {
            s = Shape (x)
            y = Gather (s, zero)
        }"""
    )
    assert values["y"].const_value.numpy().item() == 2
    assert values["y"].dtype == ir.DataType.INT64


def test_the_outputs_of_a_scan():
    values, _ = inferred(
        """g (float[3, T, 2] x, float[3] s) => (y) {
            f, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],
                body = b (float[3] a, i) => (n, o) { n = Abs (a) o = Neg (i) }> (s, x)
        }"""
    )
    assert (shape(values, "f"), shape(values, "y")) == ("[3]", "[3,2,T]")


def test_the_outputs_of_a_loop():
    values, _ = inferred(
        """g (int64 n, bool c, float[3] s) => (y) {
            f, y = Loop <body = b (int64 i, bool go, a) => (on, z, o) {
                on = Identity (go) z = Abs (a) o = Neg (a)
            }> (n, c, s)
        }"""
    )
    assert shape(values, "f") == "[3]"
    assert len(values["y"].shape) == 2


def test_the_outputs_of_an_if():
    values, _ = inferred(
        """g (bool c, float[T] x) => (y) {
            y = If (c) <then_branch = a () => (p) { p = Neg (x) },
                        else_branch = b () => (q) { q = Abs (x) }>
        }"""
    )
    assert (shape(values, "y"), values["y"].dtype) == ("[T]", ir.DataType.FLOAT)


def test_unknown_operators_leave_their_outputs_open():
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 26, "x" : 1]> '
        "g (float[2] a) => (y) { b = x.Strange (a) y = Relu (b) }"
    )
    inference = Inference(model)
    inference.infer_graph(model.graph)
    assert all(value.shape is None for node in model.graph for value in node.outputs)


def test_large_results_are_left_to_the_compiled_code():
    values, _ = inferred(
        "g (float[2] x) => (y) <int64[3] big = {300, 300, 300}> { y = ConstantOfShape (big) }"
    )
    assert values["y"].const_value is None
    assert shape(values, "y") == "[300,300,300]"


def test_scalars_stay_scalars():
    values, _ = inferred("g (float[2] x) => (y) <float a = {2}, float b = {3}> { y = Add (a, b) }")
    data = values["y"].const_value.numpy()
    assert (data.shape, data.dtype, data.item()) == ((), np.float32, 5)


def test_shapes_that_do_not_fit_name_the_node_and_its_inputs():
    with pytest.raises(UnsupportedModelError) as error:
        inferred("g (float[2] x, float[3] z) => (y) { [sum] y = Add (x, z) }")
    text = error.value.render()
    assert text.startswith("the inputs of node 'sum' (Add) do not fit")
    assert "at:  x: FLOAT[2]\n  at:  z: FLOAT[3]" in text


def test_shapes_that_fit_at_some_lengths_only():
    with pytest.raises(UnsupportedModelError) as error:
        inferred("g (float[1, 2, T] x) => (y) <float[3, 2, 5] w> { [conv] y = Conv (x, w) }")
    assert error.value.what == "the inputs of node 'conv' (Conv) do not fit at T=1"


def test_elements_gathered_from_more_than_numpy_chooses_from():
    data = ", ".join(map(str, range(200)))
    values, _ = inferred(
        f"""g (float[1] x) => (y)
        <float[2, 100] wide = {{{data}}}, float[100, 2] high = {{{data}}},
         int64[1, 3] at = {{99, 0, -1}}, int64[3, 1] down = {{99, 0, -1}}> {{
            a = GatherElements <axis = 1> (wide, at)
            b = GatherElements <axis = 0> (high, down)
            y = Identity (x)
        }}"""
    )
    assert values["a"].const_value.numpy().tolist() == [[99, 0, 99]]
    assert values["b"].const_value.numpy().tolist() == [[198], [0], [198]]
