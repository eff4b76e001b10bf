"""A layer normalisation written out."""


def test_with_scale_and_bias(check_pass):
    before = """g (float[2, 3, 4] x) => (float[2, 3, 4] y)
    <int64[2] axes = {-2, -1}, float two = {2}, float eps = {0.001}, float[3, 4] w,
        float[4] b> {
        [mean] m = ReduceMean (x, axes)
        [centre] d = Sub (x, m)
        [square] q = Pow (d, two)
        [var] v = ReduceMean (q, axes)
        [safe] e = Add (v, eps)
        [root] r = Sqrt (e)
        [norm] n = Div (d, r)
        [scale] s = Mul (n, w)
        [bias] y = Add (b, s)
    }"""
    after = """g (float[2,3,4] x) => ( y)
    <float[3,4] "root.bias", float[3,4] "root.scale">
    {
        [bias] y = LayerNormalization <axis: int = -2, epsilon: float = 0.001> (x,
            "root.scale", "root.bias")
    }"""
    check_pass("fuse-layer-norm", before, after, tolerance=1e-06)


def test_bare_and_by_a_reciprocal(check_pass):
    before = """g (float[T, 4] x) => (float[T, 4] y) <int64[1] axes = {1}, float[1] eps = {0.001}> {
        [mean] m = ReduceMean (x, axes)
        [centre] d = Sub (x, m)
        [square] q = Mul (d, d)
        [var] v = ReduceMean (q, axes)
        [safe] e = Add (eps, v)
        [root] r = Sqrt (e)
        [over] i = Reciprocal (r)
        [norm] y = Mul (i, d)
    }"""
    after = """g (float[T,4] x) => ( y)
    <float[4] "root.scale">
    {
        [norm] y = LayerNormalization <axis: int = -1, epsilon: float = 0.001> (x, "root.scale")
    }"""
    check_pass("fuse-layer-norm", before, after, tolerance=1e-06)


def test_refuses_other_axes(apply_pass):
    outcome = apply_pass(
        "fuse-layer-norm",
        """g (float[2, 4] x) => (float[2, 4] y) <int64[1] axes = {0}, float eps = {0.001}> {
        [mean] m = ReduceMean (x, axes)
        [centre] d = Sub (x, m)
        [square] q = Mul (d, d)
        [var] v = ReduceMean (q, axes)
        [safe] e = Add (v, eps)
        [root] r = Sqrt (e)
        [norm] y = Div (d, r)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'root' (Sqrt): its means are not over the last axes, kept, of sizes that are known"
    ]


def test_refuses_a_deviation_used_twice(apply_pass):
    outcome = apply_pass(
        "fuse-layer-norm",
        """g (float[2, 4] x) => (float[2, 4] y, float[2, 1] r)
    <int64[1] axes = {1}, float eps = {0.001}> {
        [mean] m = ReduceMean (x, axes)
        [centre] d = Sub (x, m)
        [square] q = Mul (d, d)
        [var] v = ReduceMean (q, axes)
        [safe] e = Add (v, eps)
        [root] r = Sqrt (e)
        [norm] y = Div (d, r)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'root' (Sqrt): its root does not divide what it was computed from, and nothing else"
    ]
