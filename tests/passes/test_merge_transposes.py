"""`Transpose(Transpose(x, p), q) -> Transpose(x, p[q])`."""


def test_composes(check_pass):
    before = """g (float[2, 3, 4] x) => (float[4, 2, 3] y) {
        [first] m = Transpose <perm = [1, 0, 2]> (x)
        [second] y = Transpose <perm = [2, 1, 0]> (m)
    }"""
    after = """g (float[2,3,4] x) => ( y) {
        [second] y = Transpose <perm: ints = [2, 0, 1]> (x)
    }"""
    check_pass("merge-transposes", before, after, tolerance=0)


def test_two_that_cancel_vanish(check_pass):
    before = """g (float[2, 3] x) => (float[2, 3] y) {
        [first] m = Transpose (x)
        [second] n = Transpose <perm = [1, 0]> (m)
        [end] y = Relu (n)
    }"""
    after = """g (float[2,3] x) => ( y) {
        [end] y = Relu (x)
    }"""
    check_pass("merge-transposes", before, after, tolerance=0)
