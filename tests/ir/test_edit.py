"""Edits keep names unique, values typed, and outputs named."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.ir import facts
from edgeseq.ir.edit import Editor, reshape_target, sole_user, static_shape, sweep
from edgeseq.ir.names import name_nodes

TEXT = """<ir_version: 13, opset_import: ["" : 26]>
g (float[2, 3] x) => (float[2, 3] y) <float[3] w = {1, 2, 3}> {
    [first] m = Add (x, w)
    [second] y = Relu (m)
}"""


@pytest.fixture
def edit():
    edit = Editor(ir.from_onnx_text(TEXT))
    edit.inference.infer_graph(edit.model.graph)
    return edit


def node(edit, name):
    return next(one for one in edit.model.graph if one.name == name)


def test_names_are_unique(edit):
    assert [edit.name("free"), edit.name("m"), edit.name("m"), edit.name("first")] == [
        "free",
        "m_1",
        "m_2",
        "first_1",
    ]
    edit.release(["m"])
    assert edit.name("m") == "m"


def test_constants_keep_their_shape_and_the_users_name(edit):
    value = edit.constant(np.float32(3), "three", source="scale")
    assert value.const_value.numpy().shape == ()
    assert facts.get(value, facts.SourceName) == facts.SourceName("scale")
    assert edit.model.graph.initializers["three"] is value


def test_equal_integers_are_shared(edit):
    assert edit.ints([1, -1]) is edit.ints([1, -1])
    assert edit.ints([1]) is not edit.ints(1)
    assert edit.ints([np.iinfo(np.int64).max]).name == "ints_end"


def test_emitted_nodes_are_typed(edit):
    value = edit.emit(node(edit, "second"), "Transpose", [node(edit, "first").outputs[0]])
    assert (str(value.shape), value.dtype) == ("[3,2]", ir.DataType.FLOAT)
    assert [one.name for one in edit.model.graph] == ["first", "second.Transpose", "second"]


def test_a_replaced_output_keeps_its_name(edit):
    second = node(edit, "second")
    edit.replace_node(second, edit.emit(second, "Abs", [second.inputs[0]]))
    assert [value.name for value in edit.model.graph.outputs] == ["y"]
    assert edit.model.graph.outputs[0].producer().op_type == "Abs"


def test_an_input_as_output_is_copied(edit):
    second = node(edit, "second")
    edit.replace_node(second, edit.model.graph.inputs[0])
    assert edit.model.graph.outputs[0].producer().op_type == "Identity"
    assert edit.model.graph.outputs[0].name == "y"


def test_a_remade_node_keeps_names_and_facts(edit):
    facts.put(node(edit, "second"), facts.SourceName("act"))
    new = edit.remake(node(edit, "second"), "Sigmoid", [node(edit, "first").outputs[0]])
    assert (new.name, new.outputs[0].name) == ("second", "y")
    assert facts.get(new, facts.SourceName) == facts.SourceName("act")
    assert edit.model.graph.outputs[0] is new.outputs[0]


def test_sweep_takes_chains_and_their_constants(edit):
    second = node(edit, "second")
    edit.replace_node(second, edit.emit(second, "Abs", [edit.model.graph.inputs[0]]))
    assert edit.sweep()
    assert [one.op_type for one in edit.model.graph] == ["Abs"]
    assert not edit.model.graph.initializers
    assert not sweep(edit.model.graph)


def test_small_questions(edit):
    value = node(edit, "first").outputs[0]
    assert sole_user(value) is node(edit, "second")
    assert sole_user(edit.model.graph.outputs[0]) is None
    assert static_shape(edit.model.graph.inputs[0]) == (2, 3)
    assert static_shape(None) is None
    assert reshape_target(ir.Shape([2, "T", 3])) == [2, -1, 3]
    assert reshape_target(ir.Shape(["T", "T"])) is None
    assert reshape_target(ir.Shape(["T", 0])) is None
    assert reshape_target(None) is None


def test_every_node_gets_a_name_of_its_own():
    model = ir.from_onnx_text(
        """<ir_version: 13, opset_import: ["" : 26]>
        g (float[2] x) => (float[2] y) { [a] b = Relu (x) [a] c = Relu (b) y = Relu (c) }"""
    )
    name_nodes(model)
    assert [node.name for node in model.graph] == ["a", "a_1", "Relu.y"]
    assert [facts.get(node, facts.SourceName) for node in model.graph] == [
        facts.SourceName("a"),
        facts.SourceName("a"),
        None,
    ]
