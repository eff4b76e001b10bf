"""Small constant powers are products."""


def test_square(check_pass):
    before = """g (float[3] x) => (float[3] y) <float two = {2}> {
        [p] y = Pow (x, two)
    }"""
    after = """g (float[3] x) => ( y) {
        [p] y = Mul (x, x)
    }"""
    check_pass("pow-to-mul", before, after, tolerance=1e-07)


def test_cube(check_pass):
    before = """g (float[3] x) => (float[3] y) <int64 three = {3}> {
        [p] y = Pow (x, three)
    }"""
    after = """g (float[3] x) => ( y) {
        ["p.Mul"] "p.Mul.out" = Mul (x, x)
        [p] y = Mul ("p.Mul.out", x)
    }"""
    check_pass("pow-to-mul", before, after, tolerance=1e-06)


def test_root(check_pass):
    before = """g (float[3] x) => (float[3] y) <float half = {0.5}> {
        [a] m = Abs (x)
        [p] y = Pow (m, half)
    }"""
    after = """g (float[3] x) => ( y) {
        [a] m = Abs (x)
        [p] y = Sqrt (m)
    }"""
    check_pass("pow-to-mul", before, after, tolerance=1e-07)


def test_reciprocal(check_pass):
    before = """g (float[3] x) => (float[3] y) <float[1] minus = {-1}> {
        [p] y = Pow (x, minus)
    }"""
    after = """g (float[3] x) => ( y) {
        [p] y = Reciprocal (x)
    }"""
    check_pass("pow-to-mul", before, after, tolerance=1e-06)


def test_refuses_another_power(apply_pass):
    outcome = apply_pass(
        "pow-to-mul",
        """g (float[3] x) => (float[3] y) <float p = {1.7}> {
        [p] y = Pow (x, p)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'p' (Pow): no product is its power 1.7"]


def test_refuses_powers_that_differ(apply_pass):
    outcome = apply_pass(
        "pow-to-mul",
        """g (float[2] x) => (float[2] y) <float[2] p = {2, 3}> {
        [p] y = Pow (x, p)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'p' (Pow): its exponents differ"]


def test_refuses_an_exponent_that_broadcasts(apply_pass):
    outcome = apply_pass(
        "pow-to-mul",
        """g (float[1] x) => (float[3] y) <float[3] p = {2, 2, 2}> {
        [p] y = Pow (x, p)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'p' (Pow): its exponent broadcasts the base"]
