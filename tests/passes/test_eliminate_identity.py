"""Nodes that return an input unchanged."""


def test_by_shape_and_constants(check_pass):
    before = """g (float[2, 3] x) => (float[2, 3] y)
    <int64[2] same = {2, 3}, int64[4] none = {0, 0, 0, 0}, float zero = {0}, float one = {1}> {
        [a] a = Identity (x)
        [b] b = Reshape (a, same)
        [c] c = Pad (b, none)
        [d] d = Transpose <perm = [0, 1]> (c)
        [e] e = Concat <axis = 0> (d)
        [f] f = Add (e, zero)
        [g1] g1 = Mul (one, f)
        [h] h = Cast <to = 1> (g1)
        [i] i = Split <axis = 0, num_outputs = 1> (h)
        [end] y = Relu (i)
    }"""
    after = """g (float[2,3] x) => ( y) {
        [end] y = Relu (x)
    }"""
    check_pass("eliminate-identity", before, after, tolerance=0)


def test_an_output_keeps_its_name(check_pass):
    before = """g (float[3] x) => (float[3] y) {
        [a] m = Relu (x)
        [b] y = Identity (m)
    }"""
    after = """g (float[3] x) => ( y) {
        [a] y = Relu (x)
    }"""
    check_pass("eliminate-identity", before, after, tolerance=0)


def test_an_input_that_is_an_output_is_copied(check_pass):
    before = """g (float[3] x) => (float[3] y) <int64[1] same = {3}> {
        [a] y = Reshape (x, same)
    }"""
    after = """g (float[3] x) => ( y) {
        ["a.Identity"] y = Identity (x)
    }"""
    check_pass("eliminate-identity", before, after, tolerance=0)
