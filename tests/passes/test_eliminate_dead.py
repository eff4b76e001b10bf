"""What no output depends on disappears."""


def test_nodes_and_initializers(check_pass):
    before = """g (float[3] x) => (float[3] y) <float[3] w, float[3] unused> {
        [a] m = Add (x, w)
        [b] y = Relu (x)
    }"""
    after = """g (float[3] x) => ( y) {
        [b] y = Relu (x)
    }"""
    check_pass("eliminate-dead", before, after, tolerance=0, first=())
