"""What only looks at data differently is a Reshape to a constant."""


def test_squeeze_and_unsqueeze(check_pass):
    before = """g (float[1, 3] x) => (float[3, 1, 1] y)
    <int64[1] zero = {0}, int64[2] ends = {1, -1}> {
        [s] m = Squeeze (x, zero)
        [u] y = Unsqueeze (m, ends)
    }"""
    after = """g (float[1,3] x) => ( y)
    <int64[1] ints_3 = {3}, int64[3] ints_3_1_1 = {3, 1, 1}>
    {
        [s] m = Reshape (x, ints_3)
        [u] y = Reshape (m, ints_3_1_1)
    }"""
    check_pass("views-to-reshape", before, after, tolerance=0)


def test_a_transpose_of_ones(check_pass):
    before = """g (float[1, 3, 1, 5] x) => (float[3, 5, 1, 1] y) {
        [t] y = Transpose <perm = [1, 3, 0, 2]> (x)
    }"""
    after = """g (float[1,3,1,5] x) => ( y)
    <int64[4] ints_3_5_1_1 = {3, 5, 1, 1}>
    {
        [t] y = Reshape (x, ints_3_5_1_1)
    }"""
    check_pass("views-to-reshape", before, after, tolerance=0)


def test_a_mean_of_one(check_pass):
    before = """g (float[2, 1] x) => (float[2] y) <int64[1] one = {1}> {
        [m] y = ReduceMean <keepdims = 0> (x, one)
    }"""
    after = """g (float[2,1] x) => ( y)
    <int64[1] ints_2 = {2}>
    {
        [m] y = Reshape (x, ints_2)
    }"""
    check_pass("views-to-reshape", before, after, tolerance=0)


def test_time_is_the_unknown_size(check_pass):
    before = """g (float[1, T, 3] x) => (float[T, 1, 3] y) {
        [t] y = Transpose <perm = [1, 0, 2]> (x)
    }"""
    after = """g (float[1,T,3] x) => ( y)
    <int64[3] "ints_-1_1_3" = {-1, 1, 3}>
    {
        [t] y = Reshape (x, "ints_-1_1_3")
    }"""
    check_pass("views-to-reshape", before, after, tolerance=0)


def test_a_computed_target(check_pass):
    before = """g (float[T, 6] x) => (float[T, 2, 3] y) <int64[2] tail = {2, 3}> {
        [s] length = Shape <start = 0, end = 1> (x)
        [c] target = Concat <axis = 0> (length, tail)
        [r] y = Reshape (x, target)
    }"""
    after = """g (float[T,6] x) => ( y)
    <int64[3] "ints_-1_2_3" = {-1, 2, 3}>
    {
        [r] y = Reshape (x, "ints_-1_2_3")
    }"""
    check_pass("views-to-reshape", before, after, tolerance=0)


def test_refuses_two_sizes_vary(apply_pass):
    outcome = apply_pass(
        "views-to-reshape",
        """g (float[T, T] x) => (float[T, T, 1] y) <int64[1] two = {2}> {
        [u] y = Unsqueeze (x, two)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'u' (Unsqueeze): more than one dimension varies"]
