"""What is computed twice is kept once."""


def test_nodes_and_constants(check_pass):
    before = """g (float[3] x) => (float[3] y) <int64[1] a = {3}, int64[1] b = {3}> {
        [p] m = Relu (x)
        [q] n = Relu (x)
        [r] o = Reshape (m, a)
        [s] p = Reshape (n, b)
        [end] y = Add (o, p)
    }"""
    after = """g (float[3] x) => ( y)
    <int64[1] a = {3}>
    {
        [p] m = Relu (x)
        [r] o = Reshape (m, a)
        [end] y = Add (o, o)
    }"""
    check_pass("eliminate-common", before, after, tolerance=0)
