"""An LSTM cell written out becomes one LSTM node, whatever the order of its gates."""

import pytest

TORCH = """g (float[2, 3] x, float[2, 4] h, float[2, 4] c) => (float[2, 4] hn, float[2, 4] cn)
<float[16, 3] wi, float[16, 4] wh, float[16] bi, float[16] bh> {
    [fromx] a = Gemm <transB = 1> (x, wi, bi)
    [fromh] b = Gemm <transB = 1> (h, wh, bh)
    [both] s = Add (b, a)
    [cut] i, f, g, o = Split <axis = 1, num_outputs = 4> (s)
    [si] si = Sigmoid (i)
    [sf] sf = Sigmoid (f)
    [tg] tg = Tanh (g)
    [so] so = Sigmoid (o)
    [keep] keep = Mul (sf, c)
    [new] new = Mul (si, tg)
    [next] cn = Add (keep, new)
    [squash] t = Tanh (cn)
    [out] hn = Mul (so, t)
}"""

AFTER = """g (float[2, 3] x, float[2, 4] h, float[2, 4] c) => (hn, cn)
<int64[1] ints_0 = {0}, float[1, 32] "out.B", float[1, 16, 4] "out.R", float[1, 16, 3] "out.W"> {
    ["next.Unsqueeze"] "next.Unsqueeze.out" = Unsqueeze (x, ints_0)
    ["next.Unsqueeze_1"] "next.Unsqueeze_1.out" = Unsqueeze (h, ints_0)
    ["next.Unsqueeze_2"] "next.Unsqueeze_2.out" = Unsqueeze (c, ints_0)
    ["out.lstm"] "out.lstm.out", "out.lstm.out_1", "out.lstm.out_2" = LSTM <hidden_size = 4>
        ("next.Unsqueeze.out", "out.W", "out.R", "out.B", , "next.Unsqueeze_1.out",
         "next.Unsqueeze_2.out")
    ["next.Squeeze"] hn = Squeeze ("out.lstm.out_1", ints_0)
    ["next.Squeeze_1"] cn = Squeeze ("out.lstm.out_2", ints_0)
}"""

KERAS = """g (float[2, 3] x, float[2, 4] h, float[2, 4] c) => (float[2, 4] hn, float[2, 4] cn)
<float[3, 16] wi, float[4, 16] wh, float[16] bias> {
    [fromx] a = MatMul (x, wi)
    [fromh] b = MatMul (h, wh)
    [both] s0 = Add (a, b)
    [bias] s = Add (s0, bias)
    [cut] i, f, g, o = Split <axis = 1, num_outputs = 4> (s)
    [so] so = Sigmoid (o)
    [sf] sf = Sigmoid (f)
    [si] si = Sigmoid (i)
    [tg] tg = Tanh (g)
    [keep] keep = Mul (sf, c)
    [new] new = Mul (si, tg)
    [next] cn = Add (keep, new)
    [squash] t = Tanh (cn)
    [out] hn = Mul (so, t)
}"""

CONCATENATED = """g (float[2, 3] x, float[2, 4] h, float[2, 4] c)
=> (float[2, 4] hn, float[2, 4] cn)
<float[7, 16] w, float[16] bias, int64[1] one = {1}, int64[1] zero = {0}, int64[1] four = {4},
 int64[1] eight = {8}, int64[1] twelve = {12}, int64[1] end = {16}> {
    [join] xh = Concat <axis = 1> (x, h)
    [product] p = MatMul (xh, w)
    [bias] s = Add (bias, p)
    [gate0] g = Slice (s, zero, four, one)
    [gate1] o = Slice (s, four, eight, one)
    [gate2] i = Slice (s, eight, twelve, one)
    [gate3] f = Slice (s, twelve, end, one)
    [so] so = Sigmoid (o)
    [sf] sf = Sigmoid (f)
    [si] si = Sigmoid (i)
    [tg] tg = Tanh (g)
    [keep] keep = Mul (c, sf)
    [new] new = Mul (tg, si)
    [next] cn = Add (new, keep)
    [squash] t = Tanh (cn)
    [out] hn = Mul (t, so)
}"""


@pytest.mark.parametrize("before", [TORCH, KERAS, CONCATENATED], ids=["torch", "keras", "concat"])
def test_is_one_node_again(check_pass, before):
    check_pass("fuse-lstm-cell", before, AFTER, tolerance=1e-6)


def refused(apply_pass, text):
    outcome = apply_pass("fuse-lstm-cell", text)
    assert not outcome.record.modified
    return outcome.refusals


def test_refuses_gates_of_different_sums(apply_pass):
    text = TORCH.replace("[so] so = Sigmoid (o)", "[neg] no = Neg (o) [so] so = Sigmoid (no)")
    reasons = ["node 'out' (Mul): its four gates are not parts of one sum"]
    assert refused(apply_pass, text) == reasons


def test_refuses_weights_that_are_inputs(apply_pass):
    text = TORCH.replace("float[2, 3] x,", "float[2, 3] x, float[16, 3] wi,")
    text = text.replace("<float[16, 3] wi, ", "<")
    reasons = ["node 'out' (Mul): the weights of node 'fromx' (Gemm) are not a constant matrix"]
    assert refused(apply_pass, text) == reasons


def test_refuses_one_product_alone(apply_pass):
    text = KERAS.replace("[both] s0 = Add (a, b)", "[both] s0 = Identity (a)")
    assert refused(apply_pass, text) == [
        "node 'out' (Mul): 's0' is no product with constant weights"
    ]


def test_refuses_a_state_of_another_size(apply_pass):
    text = TORCH.replace("float[2, 4] h,", "float[2, 5] h,").replace("[16, 4] wh", "[16, 5] wh")
    reasons = ["node 'out' (Mul): no operand of its products has 4 columns, as its state must"]
    assert refused(apply_pass, text) == reasons
