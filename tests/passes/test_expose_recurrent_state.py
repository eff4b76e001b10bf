"""After the pass a model runs in pieces of any length, and the pieces are the whole."""

from __future__ import annotations

import base64
import itertools
import zlib

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.states import mark_states
from edgeseq.frontends.torch_lstmp import function
from edgeseq.ir import facts
from edgeseq.pipeline import Settings, prepare, verify

HEADER = '<ir_version: 13, opset_import: ["" : 26]>\n'
CHUNKS = (1, 1, 3, 5, 2)
LENGTH = sum(CHUNKS)


def build(text):
    header = HEADER.replace("]", ', "edgeseq" : 1]') if "edgeseq." in text else HEADER
    proto = onnx.parser.parse_model(header + text)
    made = {name for node in proto.graph.node for name in node.output}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            numbers = np.random.default_rng(zlib.crc32(info.name.encode())).uniform(-1, 1, shape)
            tensor = onnx.numpy_helper.from_array(numbers.astype(np.float32), info.name)
            proto.graph.initializer.append(tensor)
    model = ir.from_proto(proto)
    if "edgeseq." in text:
        projection = function("LSTMP", 26)
        model.functions[projection.identifier()] = projection
        model.opset_imports["edgeseq"] = 1
    return model


class Runner:
    """A model in ONNX Runtime that keeps its states from call to call."""

    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
        self.names = [output.name for output in self.session.get_outputs()]
        self.next = {}
        self.states = {}
        for value in model.graph.inputs:
            state = facts.get(value, facts.State)
            if state is not None:
                self.next[value.name] = state.output
                self.states[value.name] = first(value)

    def __call__(self, feeds):
        results = self.session.run(None, {**feeds, **self.states})
        outputs = dict(zip(self.names, results, strict=True))
        self.states = {name: outputs.pop(out) for name, out in self.next.items()}
        return outputs


def first(value):
    shape = [int(dim) for dim in value.shape]
    given = facts.get(value, facts.InitialState)
    if given is None:
        return np.zeros(shape, np.float32)
    return np.frombuffer(base64.b64decode(given.data), "<f4").reshape(shape)


def inputs_of(model):
    random = np.random.default_rng(0)
    return {
        value.name: random.standard_normal(
            [dim if isinstance(dim, int) else LENGTH for dim in value.shape], np.float32
        )
        for value in model.graph.inputs
    }


def check_pieces(text, states, *, tolerance, settings=None):
    """Compare the original whole, the prepared whole and the prepared in pieces."""
    original = build(text)
    feeds = inputs_of(original)
    want = Runner(original)(feeds)
    model = build(text)
    records = prepare(model, settings, check=True).records
    verify(model)
    assert facts.get(model, facts.NotStreamable) is None
    found = {v.name: list(v.shape) for v in model.graph.inputs if facts.get(v, facts.State)}
    assert found == states
    time = {
        value.name: axis.axis
        for value in [*model.graph.inputs, *model.graph.outputs]
        if (axis := facts.get(value, facts.TimeAxis))
    }
    whole = Runner(model)(feeds)
    run, at, pieces = Runner(model), 0, {name: [] for name in want}
    for chunk in CHUNKS:
        part = {
            name: data.take(range(at, at + chunk), time[name]) if name in time else data
            for name, data in feeds.items()
        }
        for name, data in run(part).items():
            pieces[name].append(data)
        at += chunk
    for name, expected in want.items():
        parts = pieces[name]
        joined = np.concatenate(parts, time[name]) if name in time else parts[-1]
        for got in (whole[name], joined):
            assert got.shape == expected.shape
            assert np.abs(got - expected).max() <= tolerance, name
    return records


RECURRENT = """g (float[1, T, 3] x) => (float[1, T, 4] y, float[1, 1, 4] last)
<float[1, {n}, 3] w, float[1, {n}, 4] r, int64[1] one = {{1}}> {{
    [turn] xt = Transpose <perm = [1, 0, 2]> (x)
    [net] yt, last = {op} <hidden_size = 4{more}> (xt, w, r)
    [drop] ys = Squeeze (yt, one)
    [back] y = Transpose <perm = [1, 0, 2]> (ys)
}}"""


@pytest.mark.parametrize(
    ("op", "rows", "more", "states"),
    [
        ("RNN", 4, "", {"net_h": [1, 1, 4]}),
        ("GRU", 12, ", linear_before_reset = 1", {"net_h": [1, 1, 4]}),
        ("LSTM", 16, "", {"net_h": [1, 1, 4], "net_c": [1, 1, 4]}),
    ],
)
def test_recurrent_layers(op, rows, more, states):
    text = RECURRENT.format(op=op, n=rows, more=more)
    check_pieces(text, states, tolerance=1e-6)


def test_a_first_state_made_of_shapes_and_constants():
    text = """g (float[1, T, 3] x) => (float[T, 1, 1, 4] y)
    <float[1, 16, 3] w, float[1, 16, 4] r, int64[1] one = {1}, int64[1] four = {4}> {
        [turn] xt = Transpose <perm = [1, 0, 2]> (x)
        [shape] batch = Shape <start = 1, end = 2> (xt)
        [sizes] target = Concat <axis = 0> (one, batch, four)
        [fill] h = ConstantOfShape <value = float[1] {0.5}> (target)
        [zeros] c = ConstantOfShape (target)
        [net] y = LSTM <hidden_size = 4> (xt, w, r, , , h, c)
    }"""
    check_pieces(text, {"net_h": [1, 1, 4], "net_c": [1, 1, 4]}, tolerance=1e-6)


def test_two_layers_and_a_batch():
    text = """g (float[T, 3, 2] x) => (float[T, 3, 4] y)
    <float[1, 12, 2] w, float[1, 12, 4] r, float[1, 12, 4] w2, int64[1] one = {1}> {
        [low] a = GRU <hidden_size = 4> (x, w, r)
        [drop] b = Squeeze (a, one)
        [high] c = GRU <hidden_size = 4> (b, w2, r)
        [drop2] y = Squeeze (c, one)
    }"""
    check_pieces(text, {"low_h": [1, 3, 4], "high_h": [1, 3, 4]}, tolerance=1e-6)


def test_causal_convolutions_padded_by_a_pad_and_trimmed_after():
    text = """g (float[1, 2, T] x) => (float[1, 2, T] y)
    <float[2, 2, 3] w, int64[6] left = {0, 0, 4, 0, 0, 0}, int64[1] zero = {0},
     int64[1] end = {-2}, int64[1] last = {2}> {
        [pad] a = Pad (x, left)
        [first] b = Conv <dilations = [2]> (a, w)
        [act] c = Relu (b)
        [second] d = Conv <pads = [2, 2]> (c, w)
        [chomp] e = Slice (d, zero, end, last)
        [skip] y = Add (e, x)
    }"""
    states = {"first_past": [1, 2, 4], "second_past": [1, 2, 2]}
    check_pieces(text, states, tolerance=1e-6)


def test_a_convolution_over_time_and_frequency():
    text = """g (float[1, 2, T, 5] x) => (float[1, 3, T, 5] y) <float[3, 2, 2, 3] w> {
        [conv] y = Conv <pads = [1, 1, 0, 1]> (x, w)
    }"""
    check_pieces(text, {"conv_past": [1, 2, 1, 5]}, tolerance=1e-6)


def test_shifted_inputs_and_the_last_step():
    text = """g (float[1, T, 3] x) => (float[1, T, 3] y, float[1, 3] last)
    <float[1, 1, 3] before = {1, 2, 3}, int64[1] zero = {0}, int64[1] end = {-1},
     int64[1] time = {1}, int64[1] all = {9223372036854775807}> {
        [shift] a = Concat <axis = 1> (before, x)
        [cut] previous = Slice (a, zero, end, time)
        [difference] y = Sub (x, previous)
        [pick] b = Slice (y, end, all, time)
        [drop] last = Squeeze (b, time)
    }"""
    check_pieces(text, {"shift_past": [1, 1, 3]}, tolerance=0)


def test_the_mean_of_all_steps_so_far():
    """Cumulative layer normalisation: a sum over time, and a count of its steps."""
    text = """g (float[1, 3, T] x) => (float[1, 3, T] y, float[1, 1, T] means)
    <int64[1] channels = {1}, int64 time = {2}, int64 zero = {0}, float three = {3},
     float end = {1.5}, int64[2] all = {0, 1}> {
        [sums] s = ReduceSum (x, channels)
        [total] c = CumSum (s, time)
        [length] n = Shape <start = 2, end = 3> (x)
        [single] m = Squeeze (n)
        [float] f = Cast <to = 1> (m)
        [size] g = Mul (f, three)
        [last] l = Add (g, end)
        [count] k = Range (three, l, three)
        [rows] r = Unsqueeze (k, all)
        [mean] means = Div (c, r)
        [centre] y = Sub (x, means)
    }"""
    check_pieces(text, {"total_sum": [1, 1, 1], "count_count": [1]}, tolerance=1e-6)


def test_two_pasts_in_a_row():
    text = """g (float[1, 1, T] x) => (float[1, 1, T] y)
    <float[1, 1, 4] w, int64[6] one = {0, 0, 1, 0, 0, 0}, int64[6] two = {0, 0, 2, 0, 0, 0},
     float none = {0.5}> {
        [near] a = Pad (x, one, none)
        [far] b = Pad (a, two)
        [conv] y = Conv (b, w)
    }"""
    check_pieces(text, {"near_past": [1, 1, 1], "conv_past": [1, 1, 2]}, tolerance=1e-6)


def test_a_prepared_model_streams_when_it_is_prepared_again():
    model = build("""g (float[1, 1, T] x) => (float[1, 1, T] y) <float[1, 1, 3] w> {
        [conv] y = Conv <pads = [2, 0]> (x, w)
    }""")
    prepare(model)
    again = ir.from_proto(ir.to_proto(model))
    prepare(again)
    assert facts.get(again, facts.NotStreamable) is None
    states = [v.name for v in again.graph.inputs if facts.get(v, facts.State)]
    assert states == ["conv_past"]
    prepare(again, Settings(stream=False))
    assert facts.get(again, facts.NotStreamable) is not None


CACHED = """g (float[1, 2, T] x, float[1, 2, 4] cache, float[1, 2, 3] past)
    => (float[1, 2, T] y, float[1, 2, 4] cache_out, float[1, 2, 3] present)
<float[2, 2, 3] w, float[2, 2, 4] v, int64[6] pads = {{0, 0, 1, 0, 0, 0}},
 int64[1] four = {{-4}}, int64[1] three = {{{start}}}, int64[1] end = {{{end}}},
 int64[1] all = {{9223372036854775807}}, int64[1] time = {{2}}> {{
    [join] a = Concat <axis = 2> (cache, x)
    [near] b = Conv <dilations = [2]> (a, w)
    [keep] cache_out = Slice (a, four, all, time)
    [pad] c = Pad (b, pads)
    [more] d = Concat <axis = 2> (past, c)
    [far] y = Conv (d, v)
    [hold] present = Slice (d, three, end, time)
}}"""


def test_a_past_that_is_a_state_already():
    """Behind another past it is one step older."""
    text = CACHED.format(start=-4, end=-1).replace("float[2, 2, 4] v", "float[2, 2, 5] v")
    model = build(text)
    mark_states(model)
    prepare(model, check=True)
    assert facts.get(model, facts.NotStreamable) is None
    states = {v.name: list(v.shape) for v in model.graph.inputs if facts.get(v, facts.State)}
    assert states == {"cache": [1, 2, 4], "past": [1, 2, 3], "pad_past": [1, 2, 1]}
    x = np.random.default_rng(0).standard_normal((1, 2, LENGTH), np.float32)
    whole = Runner(model)({"x": x})["y"]
    run, edges = Runner(model), np.cumsum((0, *CHUNKS))
    parts = [run({"x": x[:, :, a:b]})["y"] for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts, 2), whole, atol=1e-6)


def test_a_state_that_is_not_the_last_steps_is_no_past():
    for start, end in ((-3, "9223372036854775807"), (-5, -2)):
        model = build(CACHED.format(start=start, end=end))
        mark_states(model)
        prepare(model, check=True)
        hindrance = facts.get(model, facts.NotStreamable)
        assert hindrance.node == "more"
        assert "no constant, and no state of the last steps" in hindrance.reason


def test_a_scan():
    text = """g (float[T, 2] x) => (float[T, 2] y) <float[2] zero = {0, 0}, float half = {0.5}> {
        [scan] s, y = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] i)
            => (float[2] n, float[2] o) {
                [decay] d = Mul (a, half)
                [add] n = Add (d, i)
                [copy] o = Neg (n)
        }> (zero, x)
    }"""
    check_pieces(text, {"scan_state_0": [2]}, tolerance=0)


def test_an_lstm_with_projection():
    text = """g (float[T, 2, 4] x) => (float[T, 2, 3] y)
    <float[24, 4] w, float[24, 3] r, float[48] b, float[3, 6] p, float[2, 3] h, float[2, 6] c> {
        [net] y, hn, cn = edgeseq.LSTMP (x, w, r, b, p, h, c)
    }"""
    check_pieces(text, {"net_h": [2, 3], "net_c": [2, 6]}, tolerance=1e-6)


def test_what_has_no_memory_needs_no_state():
    text = """g (float[1, T, 4] x) => (float[1, T, 4] y, float[1, T, 2] z)
    <float[4, 4] w, float[4] b, int64[1] zero = {0}, int64[1] two = {2}> {
        [product] a = MatMul (x, w)
        [norm] c = LayerNormalization (a, b)
        [soft] y = Softmax (c)
        [cut] z = Slice (y, zero, two, two)
    }"""
    check_pieces(text, {}, tolerance=1e-6)


def test_a_recurrence_over_frequency_is_computed_step_by_step():
    text = """g (float[5, T, 3] x) => (float[5, 2, T, 4] y)
    <float[2, 12, 3] w, float[2, 12, 4] r> {
        [net] y = GRU <hidden_size = 4, direction = "bidirectional"> (x, w, r)
    }"""
    check_pieces(text, {}, tolerance=1e-6)


def test_a_recurrence_over_frequency_whose_first_state_is_as_long_as_time():
    """What PyTorch writes for a GRU over the bins of each frame: zeros for a batch of T."""
    text = """g (float[5, T, 3] x) => (float[5, 1, T, 4] y)
    <float[1, 12, 3] w, float[1, 12, 4] r, int64[1] one = {1}, int64[1] four = {4}> {
        [long] t = Shape <start = 1, end = 2> (x)
        [sizes] s = Concat <axis = 0> (one, t, four)
        [zeros] h = ConstantOfShape (s)
        [net] y = GRU <hidden_size = 4> (x, w, r, , , h)
    }"""
    check_pieces(text, {}, tolerance=1e-6)


def test_a_state_the_user_passes_is_left_to_them():
    text = """g (float[T, 1, 3] x, float[1, 1, 4] h) => (float[T, 1, 1, 4] y, float[1, 1, 4] last)
    <float[1, 12, 3] w, float[1, 12, 4] r> {
        [net] y, last = GRU <hidden_size = 4> (x, w, r, , , h)
    }"""
    model = build(text)
    records = prepare(model, check=True).records
    assert [value.name for value in model.graph.inputs] == ["x", "h"]
    notes = [note for record in records for note in record.notes]
    assert "node 'net' (GRU) starts from input 'h', which is not a state" in notes


def refusals(text):
    model = build(text)
    records = prepare(model, check=True).records
    assert not any(facts.get(value, facts.State) for value in model.graph.inputs)
    found = [
        f"{one.node}: {one.reason}"
        for record in records
        if record.name == "expose-recurrent-state"
        for one in record.refusals
    ]
    hindrance = facts.get(model, facts.NotStreamable)
    assert hindrance is not None
    assert found[0].startswith(f"node '{hindrance.node}' (")
    assert found[0].endswith(f": {hindrance.reason}")
    return found


def recurrence(more):
    return RECURRENT.format(op="GRU", n=12, more=more)


TIME = "g (float[1, 2, T] x) => (float[a, b, c] y) <float[2, 2, 3] w, int64[1] last = {2}> "
REFUSED = {
    "a reverse recurrence": (
        recurrence(', direction = "reverse"'),
        ["node 'net' (GRU): it is reverse: it starts from the end of time"],
    ),
    "a convolution that looks ahead": (
        TIME + "{ [conv] y = Conv <pads = [1, 1]> (x, w) }",
        ["node 'conv' (Conv): it looks 1 steps ahead"],
    ),
    "a convolution that shortens time": (
        "g (float[1, 2, T] x) => (float[a, b, c] y) <float[2, 2, 1] w, float[2, 2, 2] v,"
        " int64[6] p = {0, 0, 1, 0, 0, 0}> "
        "{ [pad] a = Pad (x, p) [one] b = Conv (a, v) [two] c = Neg (b) "
        "[three] d = Concat <axis = 2> (c, c) [four] y = Conv (d, w) }",
        ["node 'three' (Concat): it strings pieces of time together"],
    ),
    "strides over time": (
        TIME + "{ [conv] y = Conv <pads = [2, 0], strides = [2]> (x, w) }",
        ["node 'conv' (Conv): its stride over time is 2"],
    ),
    "a mean over time": (
        TIME + "{ [mean] y = ReduceMean (x, last) }",
        ["node 'mean' (ReduceMean): its ReduceMean runs over all of time"],
    ),
    "softmax over time": (
        TIME + "{ [soft] y = Softmax (x) }",
        ["node 'soft' (Softmax): its Softmax runs over all of time"],
    ),
    "attention": (
        "g (float[1, T, 2] x) => (float[a, b, c] y) { [turn] k = Transpose <perm = [0, 2, 1]> (x) "
        "[scores] s = MatMul (x, k) [soft] p = Softmax (s) [mix] y = MatMul (p, x) }",
        [
            "node 'scores' (MatMul): it multiplies each step with every other",
            "node 'mix' (MatMul): its product sums over all of time",
        ],
    ),
    "a sum from the end": (
        "g (float[1, 2, T] x) => (float[a, b, c] y) <int64 axis = {2}> "
        "{ [sum] y = CumSum <reverse = 1> (x, axis) }",
        ["node 'sum' (CumSum): it sums up from the end of time, or leaves out the present"],
    ),
    "the last state at every step": (
        "g (float[T, 1, 3] x) => (float[a, b, c, d] y) <float[1, 12, 3] w, float[1, 12, 4] r> "
        "{ [net] h, last = GRU <hidden_size = 4> (x, w, r) [add] y = Add (h, last) }",
        ["node 'add' (Add): it uses at every step what is known only after the last"],
    ),
    "a first state that is computed": (
        "g (float[T, 1, 3] x, float[1, 1, 4] s) => (float[a, b, c, d] y) "
        "<float[1, 12, 3] w, float[1, 12, 4] r> "
        "{ [start] h = Tanh (s) [net] y = GRU <hidden_size = 4> (x, w, r, , , h) }",
        ["node 'net' (GRU): its first state 'h' is computed"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_future_or_all_of_time_is_refused(name):
    text, reasons = REFUSED[name]
    assert refusals(text) == reasons


def test_streaming_that_is_demanded_and_impossible():
    with pytest.raises(UnsupportedModelError) as error:
        prepare(build(recurrence(', direction = "reverse"')), Settings(stream=True))
    assert error.value.render() == (
        "the model cannot run step by step\n"
        "  at:  node 'net' (GRU): it is reverse: it starts from the end of time\n"
        "  why: each step may use the past only, and a bounded part of it\n"
        "  fix: leave out --stream to compile it for whole sequences"
    )


def test_streaming_that_is_turned_off():
    model = build(recurrence(""))
    prepare(model, Settings(stream=False))
    assert facts.get(model, facts.NotStreamable) == facts.NotStreamable(
        "", "streaming was turned off"
    )
    assert [value.name for value in model.graph.inputs] == ["x"]
