"""Loops keep what is recurrent; the rest is computed for all steps at once."""

from __future__ import annotations

import pytest

WEIGHTS = "float[3, 4] w, float[3, 4] v, float[4] b, float[4, 2] u, float one = {1}"

# A minimal gated unit: its gates see the input alone.
GATED = f"""g (float[T, 2, 3] x, float[2, 4] s0) => (float[T, 2, 2] y, float[2, 4] last)
<{WEIGHTS}> {{
    [loop] last, y = Scan <num_scan_inputs = 1, body = step (float[2, 4] s, float[2, 3] xt)
        => (float[2, 4] n, float[2, 2] o) {{
        [gate] zw = MatMul (xt, w)  [bias] zb = Add (zw, b)  [open] z = Sigmoid (zb)
        [new] c = MatMul (xt, v)
        [rest] k = Sub (one, z)  [keep] m = Mul (k, s)  [take] a = Mul (z, c)  [sum] n = Add (m, a)
        [bound] t = Tanh (n)  [read] o = MatMul (t, u)
    }}> (s0, x)
}}"""

SPLIT = f"""g (float[T, 2, 3] x, float[2, 4] s0) => (y, last) <{WEIGHTS}> {{
    ["loop.gate"] "loop.gate.out" = MatMul (x, w)
    ["loop.bias"] "loop.bias.out" = Add ("loop.gate.out", b)
    ["loop.open"] "loop.open.out" = Sigmoid ("loop.bias.out")
    ["loop.new"] "loop.new.out" = MatMul (x, v)
    ["loop.rest"] "loop.rest.out" = Sub (one, "loop.open.out")
    ["loop.take"] "loop.take.out" = Mul ("loop.open.out", "loop.new.out")
    ["loop.loop"] last, "loop.loop.out_1" = Scan <num_scan_inputs = 2,
        body = step (float[2, 4] s, float[2, 4] "k.step", float[2, 4] "a.step")
            => (n, "n.shown.out") {{
        [keep] m = Mul ("k.step", s)
        [sum] n = Add (m, "a.step")
        ["n.shown"] "n.shown.out" = Identity (n)
    }}> (s0, "loop.rest.out", "loop.take.out")
    ["loop.bound"] "loop.bound.out" = Tanh ("loop.loop.out_1")
    ["loop.read"] y = MatMul ("loop.bound.out", u)
}}"""

# Steps of a lower rank than what they are added to, and a constant of the body.
RANKS = """g (float[T, 4] x, float[2, 4] s0, float[2, 4] c) => (float[T, 2, 4] y) {
    [loop] last, y = Scan <num_scan_inputs = 1, body = step (float[2, 4] s, float[4] xt)
        => (float[2, 4] n, float[2, 4] o) <float half = {0.5}> {
        [mean] h = Mul (xt, half)  [bend] t = Tanh (s)  [sum] n = Add (t, h)
        [shift] p = Sub (n, xt)  [more] o = Add (p, c)
    }> (s0, x)
}"""

RANKS_SPLIT = """g (float[T, 4] x, float[2, 4] s0, float[2, 4] c) => (y)
<float "half.shared" = {0.5}, int64[1] ints_1 = {1}> {
    ["loop.mean"] "loop.mean.out" = Mul (x, "half.shared")
    ["loop.loop"] "loop.loop.out", "loop.loop.out_1" = Scan <num_scan_inputs = 2,
        body = step (float[2, 4] s, float[4] xt, float[4] "h.step") => (n, "n.shown.out") {
        [bend] t = Tanh (s)
        [sum] n = Add (t, "h.step")
        ["n.shown"] "n.shown.out" = Identity (n)
    }> (s0, x, "loop.mean.out")
    ["loop.Unsqueeze"] "loop.Unsqueeze.out" = Unsqueeze (x, ints_1)
    ["loop.shift"] "loop.shift.out" = Sub ("loop.loop.out_1", "loop.Unsqueeze.out")
    ["loop.more"] y = Add ("loop.shift.out", c)
}"""


@pytest.mark.parametrize(("before", "after"), [(GATED, SPLIT), (RANKS, RANKS_SPLIT)])
def test_gates_and_results_leave_the_loop(check_pass, before, after):
    check_pass("split-scan", before, after, tolerance=1e-6)


SELECTIVE = """g (float[T, 4] d, float[T, 4] x, float[T, 3] b, float[T, 3] c, float[4, 3] s0)
    => (float[T, 4] y) <float[4, 3] a, int64[1] i1 = {1}> {
    [loop] last, y = Scan <num_scan_inputs = 4, body = step (float[4, 3] s, float[4] dt,
        float[4] xt, float[3] bt, float[3] ct) => (float[4, 3] n, float[4] o) {
        d2 = Unsqueeze (dt, i1)  da = Mul (d2, a)  f = Exp (da)  m = Mul (f, s)
        u = Mul (dt, xt)  u2 = Unsqueeze (u, i1)  w = Mul (u2, bt)  n = Add (m, w)
        p = Mul (n, ct)  o = ReduceSum <keepdims = 0> (p, i1)
    }> (s0, d, x, b, c)
}"""


def test_a_loop_that_is_one_kernel_already_stays(apply_pass):
    outcome = apply_pass("split-scan", SELECTIVE)
    assert not outcome.record.modified


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("= 1, body", "= 1, scan_input_axes = [1], body", "time is not the first axis"),
        ("= 1, body", "= 1, scan_input_directions = [1], body", "its sequences run backwards"),
    ],
)
def test_says_why_not(apply_pass, old, new, reason):
    square = GATED.replace("float[T, 2, 3] x", "float[2, T, 3] x") if "axes" in new else GATED
    outcome = apply_pass("split-scan", square.replace(old, new))
    assert not outcome.record.modified
    assert reason in outcome.refusals[0]
