"""A GRU cell written out becomes one GRU node, whatever the order of its gates."""

import pytest

TORCH = """g (float[2, 3] x, float[2, 4] h) => (float[2, 4] hn)
<float[12, 3] wi, float[12, 4] wh, float[12] bi, float[12] bh> {
    [fromx] a = Gemm <transB = 1> (x, wi, bi)
    [fromh] b = Gemm <transB = 1> (h, wh, bh)
    [cutx] xr, xz, xn = Split <axis = 1, num_outputs = 3> (a)
    [cuth] hr, hz, hp = Split <axis = 1, num_outputs = 3> (b)
    [sumr] sr = Add (hr, xr)
    [sumz] sz = Add (xz, hz)
    [reset] r = Sigmoid (sr)
    [update] z = Sigmoid (sz)
    [gated] gated = Mul (hp, r)
    [sumn] sn = Add (xn, gated)
    [new] n = Tanh (sn)
    [change] d = Sub (h, n)
    [part] p = Mul (d, z)
    [out] hn = Add (p, n)
}"""

KERAS = """g (float[2, 3] x, float[2, 4] h) => (float[2, 4] hn)
<float[3, 12] wi, float[4, 12] wh, float[12] bi, float[12] bh, float one = {1}> {
    [fromx] a0 = MatMul (x, wi)
    [fromh] b0 = MatMul (h, wh)
    [biasx] a = Add (a0, bi)
    [biash] b = Add (bh, b0)
    [cutx] xz, xr, xn = Split <axis = 1, num_outputs = 3> (a)
    [cuth] hz, hr, hp = Split <axis = 1, num_outputs = 3> (b)
    [sumr] sr = Add (xr, hr)
    [sumz] sz = Add (xz, hz)
    [reset] r = Sigmoid (sr)
    [update] z = Sigmoid (sz)
    [gated] gated = Mul (r, hp)
    [sumn] sn = Add (xn, gated)
    [new] n = Tanh (sn)
    [keep] k = Mul (z, h)
    [rest] q = Sub (one, z)
    [part] p = Mul (q, n)
    [out] hn = Add (k, p)
}"""

AFTER = """g (float[2, 3] x, float[2, 4] h) => (hn)
<int64[1] ints_0 = {0}, float[1, 24] "out.B", float[1, 12, 4] "out.R", float[1, 12, 3] "out.W"> {
    ["out.Unsqueeze"] "out.Unsqueeze.out" = Unsqueeze (x, ints_0)
    ["out.Unsqueeze_1"] "out.Unsqueeze_1.out" = Unsqueeze (h, ints_0)
    ["out.gru"] "out.gru.out", "out.gru.out_1" = GRU <hidden_size = 4, linear_before_reset = 1>
        ("out.Unsqueeze.out", "out.W", "out.R", "out.B", , "out.Unsqueeze_1.out")
    ["out.Squeeze"] hn = Squeeze ("out.gru.out_1", ints_0)
}"""


@pytest.mark.parametrize("before", [TORCH, KERAS], ids=["torch", "keras"])
def test_is_one_node_again(check_pass, before):
    check_pass("fuse-gru-cell", before, AFTER, tolerance=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "[sumz] sz = Add (xz, hz)",
            "[neg] nz = Neg (hz) [sumz] sz = Add (xz, nz)",
            "its gates are not parts of the same two sums",
        ),
        (
            "[sumn] sn = Add (xn, gated)",
            "[neg] nn = Neg (xn) [sumn] sn = Add (nn, gated)",
            "its new state is not made of parts of two sums",
        ),
        (
            "[change] d = Sub (h, n)",
            "[other] g = Neg (h) [change] d = Sub (g, n)",
            "the state it keeps is not the one its gates see",
        ),
        (
            "[sumz] sz = Add (xz, hz)",
            "[sumz] sz = Add (xr, hz)",
            "its gates are not three equal parts",
        ),
        (
            "[fromh] b = Gemm <transB = 1> (h, wh, bh)",
            "[fromh] b0 = Gemm <transB = 1> (h, wh, bh) [act] b = Relu (b0)",
            "'b' is no product with constant weights",
        ),
    ],
)
def test_refuses_other_arithmetic(apply_pass, old, new, reason):
    assert old in TORCH
    outcome = apply_pass("fuse-gru-cell", TORCH.replace(old, new))
    assert not outcome.record.modified
    assert outcome.refusals == [f"node 'out' (Add): {reason}"]
