"""State pairs: those of real models, and what must never be taken for one."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from edgeseq.errors import UsageError
from edgeseq.frontends.onnx import import_onnx
from edgeseq.frontends.states import ambiguities, mark_states
from edgeseq.ir import facts

Shape = list[int | str]

REAL = {
    "gtcrn/gtcrn.onnx": [
        ("conv_cache", "conv_cache_out"),
        ("tra_cache", "tra_cache_out"),
        ("inter_cache", "inter_cache_out"),
    ],
    "gtcrn/gtcrn_simple.onnx": [
        ("conv_cache", "conv_cache_out"),
        ("tra_cache", "tra_cache_out"),
        ("inter_cache", "inter_cache_out"),
    ],
    "DTLN/model_1.onnx": [("input_3", "tf_op_layer_stack_2")],
    "DTLN/model_2.onnx": [("input_5", "tf_op_layer_stack_5")],
    "silero-vad/silero_vad.onnx": [("state", "stateN")],
    "silero-vad/silero_vad_16k_op15.onnx": [("state", "stateN")],
    "silero-vad/silero_vad_op18_ifless.onnx": [("state", "stateN")],
    "rwkv5/converted_rwkv5_step.onnx": [
        ("att_x", "att_x_out"),
        ("ffn_x", "ffn_x_out"),
        ("S", "S_out"),
    ],
    "mamba-kws/converted_step.onnx": [
        ("conv_state", "conv_state_out"),
        ("ssm_state", "ssm_state_out"),
        ("y_sum", "y_sum_out"),
        ("count", "count_out"),
    ],
    "mamba-kws/converted_scan.onnx": [],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", REAL)
def test_real_models(models_dir: Path, file: str) -> None:
    model = import_onnx(models_dir / file)
    assert mark_states(model) == REAL[file]
    assert mark_states(model) == REAL[file]
    assert ambiguities(model) == []


def value(name: str, shape: Shape | None, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    made = None if shape is None else ir.Shape(shape)
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=made)


def model_of(inputs: dict[str, Shape], outputs: dict[str, Shape | None]) -> ir.Model:
    """A model whose outputs each depend on all inputs; what it computes does not matter."""
    ins = [value(name, shape) for name, shape in inputs.items()]
    nodes, outs = [], []
    for name, shape in outputs.items():
        node = ir.node("Sum", ins)
        node.outputs[0].name, node.outputs[0].dtype = name, ir.DataType.FLOAT
        node.outputs[0].shape = None if shape is None else ir.Shape(shape)
        nodes.append(node)
        outs.append(node.outputs[0])
    graph = ir.Graph(ins, outs, nodes=nodes, opset_imports={"": 26})
    return ir.Model(graph, ir_version=13)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("h", "h_out"),
        ("state", "stateN"),
        ("h0", "hn"),
        ("h_0", "h_n"),
        ("state_in", "state_out"),
        ("in_state", "out_state"),
        ("cache", "new_cache"),
        ("past_key", "present_key"),
        ("past", "present"),
        ("enc_in_cache1", "enc_out_cache1"),
        ("past_key_values.0.key", "present.0.key"),
        ("hidden_last_fw", "hidden_new_fw"),
        ("prev_mem", "mem"),
        ("mem_old", "mem_new"),
        ("lstm.h", "lstm_h_next"),
        ("carry:0", "carry_out"),
    ],
)
def test_names(old: str, new: str) -> None:
    model = model_of({"x": [1, 8], old: [2, 4]}, {"y": [1, 3], new: [2, 4]})
    assert mark_states(model) == [(old, new)]
    assert facts.get(model.graph.inputs[1], facts.State) == facts.State(new)
    assert facts.get(model.graph.inputs[0], facts.State) is None


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": [1, 8]}, {"x_out": [1, 8]}),
        ({"x": [1, 8], "gain": [1, 8]}, {"x_out": [1, 8], "gain_used": [1, 8]}),
        ({"x": [1, 8], "h": [2, 4]}, {"y": [1, 8], "h_out": [2, 5]}),
        ({"x": [1, 8], "h": [2, 4]}, {"y": [1, 8], "h_out": [1, 2, 4]}),
        ({"x": [1, 8], "h": [2, 4]}, {"y": [1, 8], "h_out": [2, 4], "h_new": [2, 4]}),
        ({"x": [1, 8], "reference": [1, 9]}, {"y": [1, 8], "echo": [1, 9]}),
        ({"x": [1, 8], "y": [1, 8]}, {"left": [1, 8], "right": [1, 8]}),
    ],
    ids=["data-alone", "first-to-first", "size", "rank", "two-successors", "shape-alone", "stereo"],
)
def test_data_is_left_alone(inputs: dict[str, Shape], outputs: dict[str, Shape | None]) -> None:
    model = model_of(inputs, outputs)
    assert mark_states(model) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        ({"x": [1, 8], "C": [4], "n": [4], "m": [2]}, {"y": [8], "p": [4], "q": [4], "r": [2]}, 3),
        ({"x": [1, 8], "gain": [1], "h": [4], "c": [4]}, {"y": [8], "h2": [4], "c2": [4]}, 2),
        ({"x": [1, 8], "h": [4], "c": [4]}, {"y": [8], "h2": [4], "c2": [5]}, 0),
        ({"x": [1, 8], "h": ["n"], "c": [4]}, {"y": [8], "h2": ["n"], "c2": [4]}, 0),
        ({"x": [1, 8], "mask": [4], "scale": [4]}, {"y": [8], "a": [4], "b": [4]}, 0),
        ({"h": [4], "c": [4]}, {"y": [8], "a": [4], "b": [4]}, 0),
    ],
    ids=["all", "the-last", "size", "open-size", "no-word", "no-data"],
)
def test_order(inputs: dict[str, Shape], outputs: dict[str, Shape | None], pairs: int) -> None:
    model = model_of(inputs, outputs)
    want = list(zip(list(inputs)[-pairs:], list(outputs)[1:], strict=True)) if pairs else []
    assert mark_states(model) == want


def test_a_state_needs_data_beside_it() -> None:
    model = model_of({"a": [4], "b": [5]}, {"a_out": [4], "b_out": [5]})
    assert mark_states(model) == [("b", "b_out")]
    assert ambiguities(model) == [
        "input 'a' could be a state that continues as 'a_out' (by name); "
        "say so with --state a=a_out"
    ]


def test_types_must_agree() -> None:
    model = model_of({"x": [1], "count": [1]}, {"y": [1], "count_out": [1]})
    model.graph.inputs[1].dtype = ir.DataType.INT64
    assert mark_states(model) == []


def test_unknown_shapes_are_enough_for_names() -> None:
    model = model_of({"x": [1, 8], "cache": [2, "n"]}, {"y": None, "cache_out": None})
    assert mark_states(model) == [("cache", "cache_out")]


def test_an_axis_of_time_is_no_state() -> None:
    model = model_of({"x": ["T", 8], "noise": ["T", 4]}, {"y": ["T", 8], "noise_out": ["T", 4]})
    facts.put(model.graph.inputs[1], facts.TimeAxis(0, "T"))
    assert mark_states(model) == []


def test_ambiguity_is_reported() -> None:
    model = model_of({"x": [1, 8], "h": [2, 4]}, {"y": [1, 8], "h_out": [2, 4], "h_new": [2, 4]})
    mark_states(model)
    assert ambiguities(model) == [
        "input 'h' could be a state that continues as 'h_out' or 'h_new' (by name); "
        "say so with --state h=h_out"
    ]


def lstm_model(swapped: bool) -> ir.Model:
    """An LSTM whose states have names that say nothing, packed in one tensor or not."""
    text = """
    <ir_version: 10, opset_import: ["" : 22]>
    g (float[T, 1, 3] a, float[1, 1, 2] b, float[1, 1, 2] c,
       float[1, 8, 3] W, float[1, 8, 2] R)
    => (float[T, 1, 1, 2] d, float[1, 1, 2] e, float[1, 1, 2] f)
    { d, %s, %s = LSTM <hidden_size = 2> (a, W, R, , , b, c) }
    """ % (("f", "e") if swapped else ("e", "f"))
    return ir.from_onnx_text(text)


@pytest.mark.parametrize("swapped", [False, True])
def test_first_and_last_state_of_a_layer(swapped: bool) -> None:
    model = lstm_model(swapped)
    assert mark_states(model) == ([("b", "f"), ("c", "e")] if swapped else [("b", "e"), ("c", "f")])


def test_the_users_pairs_are_the_only_ones() -> None:
    model = model_of({"x": [1, 8], "h": [2], "c": [2]}, {"y": [1, 8], "h_out": [2], "c_out": [2]})
    assert mark_states(model) == [("h", "h_out"), ("c", "c_out")]
    assert mark_states(model, ["h=c_out"]) == [("h", "c_out")]
    assert mark_states(model, []) == []


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["h"], "--state h: not a pair\n  fix: write it as input=output"),
        (["hh=h_out"], "--state hh=h_out: no input 'hh'\n  fix: did you mean 'h'? known: h, x"),
        (
            ["h=h_ou"],
            "--state h=h_ou: no output 'h_ou'\n  fix: did you mean 'h_out'? known: h_out, y",
        ),
        (["h=h_out", "h=y"], "--state h=y: input 'h' is already in another pair"),
        (["h=h_out", "x=h_out"], "--state x=h_out: output 'h_out' is already in another pair"),
        (
            ["h=y"],
            "--state h=y: a state and its next value must be alike\n"
            "  at:  'h' FLOAT [2]\n"
            "  at:  'y' FLOAT [1, 8]",
        ),
    ],
)
def test_pairs_that_do_not_fit(pairs: list[str], message: str) -> None:
    model = model_of({"x": [1, 8], "h": [2]}, {"y": [1, 8], "h_out": [2]})
    with pytest.raises(UsageError) as caught:
        mark_states(model, pairs)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
