"""Bounds that follow the length of time are constants."""


def test_to_the_end_and_before_it(check_pass):
    before = """g (float[T, 4] x) => (float[u, 4] y)
    <int64[1] zero = {0}, int64[4] pads = {3, 0, 0, 0}> {
        [pad] m = Pad (x, pads)
        [s] n = Shape <start = 0, end = 1> (x)
        [cut] y = Slice (m, zero, n, zero)
    }"""
    after = """g (float[T,4] x) => ( y)
    <int64[1] "ints_-3" = {-3}, int64[1] ints_0 = {0}, int64[4] pads = {3, 0, 0, 0},
        int64[1] zero = {0}>
    {
        [pad] m = Pad (x, pads)
        [cut] y = Slice (m, ints_0, "ints_-3", zero)
    }"""
    check_pass("constant-bounds", before, after, tolerance=0)


def test_the_end(check_pass):
    before = """g (float[T, 4] x) => (float[u, 4] y)
    <int64[1] zero = {0}, int64[4] pads = {3, 0, 0, 0}> {
        [pad] m = Pad (x, pads)
        [s] n = Shape <start = 0, end = 1> (m)
        [t] k = Shape <start = 0, end = 1> (x)
        [cut] d = Sub (n, k)
        [cut2] y = Slice (m, d, n, zero)
    }"""
    after = """g (float[T,4] x) => ( y)
    <int64[1] ints_3 = {3}, int64[1] ints_end = {9223372036854775807}, int64[4] pads = {3, 0,
        0, 0}, int64[1] zero = {0}>
    {
        [pad] m = Pad (x, pads)
        [cut2] y = Slice (m, ints_3, ints_end, zero)
    }"""
    check_pass("constant-bounds", before, after, tolerance=0)


def test_refuses_the_middle(apply_pass):
    outcome = apply_pass(
        "constant-bounds",
        """g (float[T, 4] x) => (float[u, 4] y) <int64[1] zero = {0}, int64[1] two = {2}> {
        [s] n = Shape <start = 0, end = 1> (x)
        [h] k = Div (n, two)
        [cut] y = Slice (x, zero, k, zero)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'cut' (Slice): its bounds move through time"]


def test_refuses_bounds_from_data(apply_pass):
    outcome = apply_pass(
        "constant-bounds",
        """g (float[T] x, int64[1] n) => (float[u] y) <int64[1] zero = {0}> {
        [cut] y = Slice (x, zero, n, zero)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'cut' (Slice): its bounds are computed from data"]
