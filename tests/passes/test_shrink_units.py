"""What nobody reads disappears from shapes, and the numbers stay."""

import base64

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.ir import channels, facts
from edgeseq.pipeline import prepare
from tests.passes.conftest import parse


def clear(model, name, axis, positions):
    """Set columns of a weight to zero."""
    value = model.graph.initializers[name]
    data = value.const_value.numpy().copy()
    data[(slice(None),) * (axis % data.ndim) + (positions,)] = 0
    value.const_value = ir.tensor(data, name=name)


def shrink(model):
    """Prepare, shrink and return both; they are run by ONNX Runtime."""
    prepare(model, passes=("bind-shapes", "fold-constants"))
    small = model.clone()
    done = prepare(small, passes=("shrink-units",), check=True)
    return small, done.records[-1]


def run(model, steps=5, seed=0):
    """Feed random numbers; the states start at zero, so that their sizes do not matter."""
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    random = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        shape = [n if isinstance(n, int) else steps for n in value.shape]
        state = facts.get(value, facts.State) is not None
        feeds[value.name] = np.zeros(shape) if state else random.normal(size=shape)
        feeds[value.name] = feeds[value.name].astype(np.float32)
    states = {s.output for v in model.graph.inputs if (s := facts.get(v, facts.State))}
    names = [v.name for v in model.graph.outputs]
    return {n: y for n, y in zip(names, session.run(None, feeds), strict=True) if n not in states}


def same(before, after):
    want, got = run(before), run(after)
    for name, y in want.items():
        np.testing.assert_allclose(got[name], y, rtol=1e-5, atol=1e-6)


def shape(model, name):
    return list(model.graph.initializers[name].shape)


MLP = """
g (float[T, 6] x) => (float[T, 3] y)
<float[8, 6] w1, float[8] b1, float[8] slope, float[8, 8] w2, float[8] b2, float[8, 3] w3>
{
  a = Gemm<transB = 1>(x, w1, b1)
  r = PRelu(a, slope)
  b = Gemm<transB = 1>(r, w2, b2)
  t = Tanh(b)
  s = Add(r, t)
  y = MatMul(s, w3)
}"""


def test_a_residual_loses_units_of_both_branches():
    model = parse(MLP)
    clear(model, "w3", 0, [1, 5])
    clear(model, "w2", 1, [1, 5, 6])
    small, record = shrink(model)
    assert shape(small, "w1") == [6, 6]
    assert shape(small, "w2") == [6, 6]
    assert shape(small, "w3") == [6, 3]
    assert shape(small, "slope") == [6]
    assert "w1: 6 of 8 rows are left" in record.notes
    same(model, small)


def test_a_unit_that_one_branch_still_reads_stays():
    model = parse(MLP)
    clear(model, "w3", 0, [1, 5])
    small, record = shrink(model)
    assert not record.modified
    assert shape(small, "w1") == [8, 6]


def test_one_unit_stays_where_none_is_read():
    model = parse(MLP)
    clear(model, "w3", 0, range(8))
    clear(model, "w2", 1, range(8))
    small, _ = shrink(model)
    assert shape(small, "w1") == [1, 6]
    same(model, small)


RECURRENT = """
g (float[T, 1, 6] x, float[1, 1, 8] h, float[1, 1, 8] c)
  => (float[T, 1, 3] y, float[1, 1, 8] h2, float[1, 1, 8] c2)
<float[1, GATES8, 6] w, float[1, GATES8, 8] r, float[1, TWICE8] b, float[8, 3] head,
 int64[1] ax = {1}>
{
  all, h2, c2 = LSTM<hidden_size = 8>(x, w, r, b, , h, c)
  out = Squeeze(all, ax)
  y = MatMul(out, head)
}"""


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_units_of_recurrences_go_with_their_states(op):
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    text = RECURRENT.replace("GATES8", str(8 * gates)).replace("TWICE8", str(16 * gates))
    if op != "LSTM":
        text = text.replace(", float[1, 1, 8] c2", "").replace(", float[1, 1, 8] c)", ")")
        text = text.replace(", h, c)", ", h)").replace("h2, c2 = LSTM", f"h2 = {op}")
    model = parse(
        text.replace("ax)", "ax)").replace(
            "float[8, 3] head>", "float[8, 3] head, int64[1] ax = {1}>"
        )
    )
    for value in model.graph.inputs:
        if value.name in "hc":
            facts.put(value, facts.State(f"{value.name}2"))
    first = np.arange(8, dtype=np.float32)
    facts.put(model.graph.inputs[1], facts.InitialState(base64.b64encode(first.tobytes()).decode()))
    clear(model, "r", 2, [0, 7])
    clear(model, "head", 0, [0, 7])
    small, _ = shrink(model)
    assert shape(small, "r") == [1, 6 * gates, 6]
    assert shape(small, "b") == [1, 12 * gates]
    assert list(small.graph.inputs[1].shape) == list(small.graph.outputs[1].shape) == [1, 1, 6]
    start = facts.get(small.graph.inputs[1], facts.InitialState)
    assert np.frombuffer(base64.b64decode(start.data), np.float32).tolist() == [1, 2, 3, 4, 5, 6]
    same(model, small)


def test_a_state_that_is_an_output_of_its_own_stays():
    text = RECURRENT.replace("GATES8", "32").replace("TWICE8", "64")
    model = parse(text)
    clear(model, "r", 2, [0, 7])
    clear(model, "head", 0, [0, 7])
    _, record = shrink(model)
    assert not record.modified


CONVOLUTION = """
g (float[1, 2, 9, 4] x) => (float[1, 9, 3] y)
<float[8, 2, 3, 1] w1, float[8] b1, float[8] scale, float[8] shift, float[8] mean, float[8] var,
 float[8, 1, 3, 1] deep, float[4, 2, 1, 1] side, float[48, 3] head, int64[3] dims = {1, 9, 48}>
{
  a = Conv<pads = [1, 0, 1, 0]>(x, w1, b1)
  n = BatchNormalization(a, scale, shift, mean, var)
  d = Conv<group = 8, pads = [1, 0, 1, 0]>(n, deep)
  e = Conv(x, side)
  c = Concat<axis = 1>(d, e)
  t = Transpose<perm = [0, 2, 1, 3]>(c)
  f = Reshape(t, dims)
  y = MatMul(f, head)
}"""


def test_channels_go_through_batchnorm_depthwise_concat_and_reshape():
    model = parse(CONVOLUTION)
    # Channel c of 12, position f of 4, is row 4 c + f of the head.
    clear(model, "head", 0, [*range(8, 12), *range(44, 48), 0])
    small, _ = shrink(model)
    assert shape(small, "w1") == [7, 2, 3, 1]
    assert shape(small, "deep") == [7, 1, 3, 1]
    assert shape(small, "side") == [3, 2, 1, 1]
    assert shape(small, "head") == [40, 3]
    same(model, small)


HEADS = """
g (float[1, T, 8] x) => (float[1, T, 8] y)
<float[8, 12] q, float[8, 12] k, float[8, 12] v, float[12, 8] out, int64[4] split = {1, -1, 3, 4},
 int64[3] merge = {1, -1, 12}>
{
  q1 = MatMul(x, q)
  k1 = MatMul(x, k)
  v1 = MatMul(x, v)
  q2 = Reshape(q1, split)
  k2 = Reshape(k1, split)
  v2 = Reshape(v1, split)
  q3 = Transpose<perm = [0, 2, 1, 3]>(q2)
  k3 = Transpose<perm = [0, 2, 3, 1]>(k2)
  v3 = Transpose<perm = [0, 2, 1, 3]>(v2)
  s = MatMul(q3, k3)
  p = Softmax(s)
  o = MatMul(p, v3)
  o2 = Transpose<perm = [0, 2, 1, 3]>(o)
  o3 = Reshape(o2, merge)
  y = MatMul(o3, out)
}"""


def test_an_attention_head_is_one_channel():
    model = parse(HEADS)
    clear(model, "out", 0, [4, 5, 6, 7, 0])
    small, _ = shrink(model)
    assert shape(small, "q") == shape(small, "v") == [8, 8]
    assert shape(small, "out") == [8, 8]
    same(model, small)


SPLIT = """
g (float[T, 6] x) => (float[T, 2] y)
<float[6, 12] w, float[5, 2] one, float[3, 2] two, int64[2] sizes = {5, 7}, int64[1] three = {3},
 int64[1] six = {6}, int64[1] last = {-1}>
{
  a = MatMul(x, w)
  r = Relu(a)
  s, t = Split<axis = 1>(r, sizes)
  u = Slice(t, three, six, last)
  b = MatMul(s, one)
  c = MatMul(u, two)
  y = Add(b, c)
}"""


def test_bounds_of_split_and_slice_move():
    model = parse(SPLIT)
    clear(model, "one", 0, [0, 4])
    clear(model, "two", 0, [1])
    small, _ = shrink(model)
    assert shape(small, "one") == [3, 2]
    assert shape(small, "two") == [2, 2]
    same(model, small)


NORMALIZED = """
g (float[T, 6] x) => (float[T, 2] y)
<float[6, 8] w, float[8] scale, float[8, 2] head>
{
  a = MatMul(x, w)
  n = LayerNormalization(a, scale)
  y = MatMul(n, head)
}"""


def test_a_layer_norm_keeps_what_it_averages_and_says_so():
    model = parse(NORMALIZED)
    clear(model, "head", 0, [0, 1])
    prepare(model, passes=("bind-shapes", "fold-constants"))
    found = channels.find(model)
    assert not len(found.removable())
    assert any("LayerNormalization" in reason for reason in found.why.values())
    _, record = shrink(model)
    assert not record.modified
