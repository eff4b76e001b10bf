"""What cannot be lowered is said with the node or value, never as a defect of ours."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeseq.errors import UnsupportedModelError
from edgeseq.lower import select
from edgeseq.lower.relax_import import import_graph


def refused(text: str) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        import_graph(ir.from_onnx_text(text), {})
    return str(caught.value)


def test_an_output_that_is_not_computed() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 26]>
    g (float[1, 2, 8] x) => (float[1, 2, 4] y, int64[1, 2, 4] z)
    {
        y, z = MaxPool <kernel_shape = [2], strides = [2]> (x)
    }
    """
    assert refused(text).splitlines()[0] == "MaxPool cannot give its output 'z'"


def test_a_type_without_arrays_in_c() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 26]>
    g (float8e4m3fn[4] x) => (float8e4m3fn[4] y)
    {
        y = Identity(x)
    }
    """
    assert refused(text).splitlines()[0] == "'x' has elements of type FLOAT8E4M3FN"


def test_a_recurrence_that_the_kernels_do_not_know() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 26]>
    g (double[3, 1, 2] x) => (double[3, 1, 1, 1] y)
    <double[1, 3, 2] w = {1, 1, 1, 1, 1, 1}, double[1, 3, 1] r = {1, 1, 1}>
    {
        y = GRU <hidden_size = 1> (x, w, r)
    }
    """
    message = refused(text).splitlines()
    assert message[0] == "cannot lower operator GRU"
    assert message[2] == "  why: the weights are float64, the kernels are float32"


def test_a_shape_that_depends_on_a_length_names_the_flag() -> None:
    model = ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[1, frames] x) => (float[N] y) { y = Mystery (x) }""")
    model.graph.outputs[0].shape = None
    with pytest.raises(UnsupportedModelError) as error:
        select.Shapes({}).of(model.graph.outputs[0])
    assert error.value.render().endswith("that it depends on: --dim frames=SIZE")


def test_a_shape_that_depends_on_data_names_the_node_and_the_input() -> None:
    model = ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[1, 8] x, int64[1] past) => (float[1, N] y) <int64[1] one = {1}, int64[1] end = {8}> {
        [cut] part = Slice (x, past, end, one)
        y = Tanh (part)
    }""")
    for node in model.graph:
        node.outputs[0].shape = None
    with pytest.raises(UnsupportedModelError) as error:
        select.Shapes({}).of(model.graph.outputs[0])
    assert error.value.render().splitlines() == [
        "the shape of 'y' depends on numbers that only a run knows",
        "  at:  node 'cut' (Slice)",
        "  why: compiled code has fixed sizes, up to the time axis",
        "  fix: fix the input that decides (--const past=VALUE), or make the size a constant of"
        " the model",
    ]
