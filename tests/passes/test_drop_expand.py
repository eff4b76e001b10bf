"""Operators that broadcast do the expanding."""


def test_into_a_sum(check_pass):
    before = """g (float[1, 4] a, float[T, 4] b) => (float[T, 4] y) <int64[1] four = {4}> {
        [s] n = Shape <start = 0, end = 1> (b)
        [c] target = Concat <axis = 0> (n, four)
        [e] wide = Expand (a, target)
        [sum] y = Add (wide, b)
    }"""
    after = """g (float[1,4] a, float[T,4] b) => ( y) {
        [sum] y = Add (a, b)
    }"""
    check_pass("drop-expand", before, after, tolerance=0)


def test_refuses_the_shape_itself(apply_pass):
    outcome = apply_pass(
        "drop-expand",
        """g (float[1, 4] a, float[4] b) => (float[3, 4] y) <int64[2] target = {3, 4}> {
        [e] wide = Expand (a, target)
        [sum] y = Add (wide, b)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'e' (Expand): Add takes its shape from it"]


def test_refuses_an_operator_that_does_not_broadcast(apply_pass):
    outcome = apply_pass(
        "drop-expand",
        """g (float[1, 4] a) => (float[3, 4] y)
    <int64[2] target = {3, 4}, int64[3] i = {0, 1, 2}> {
        [e] wide = Expand (a, target)
        [join] y = Concat <axis = 0> (wide)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'e' (Expand): Concat needs the expanded shape"]
