"""`Concat(a, Concat(b, c)) -> Concat(a, b, c)`."""


def test_flattens(check_pass):
    before = """g (float[2] a, float[3] b, float[1] c) => (float[6] y) {
        [inner] m = Concat <axis = 0> (b, c)
        [outer] y = Concat <axis = -1> (a, m)
    }"""
    after = """g (float[2] a, float[3] b, float[1] c) => ( y) {
        [outer] y = Concat <axis: int = 0> (a, b, c)
    }"""
    check_pass("merge-concats", before, after, tolerance=0)


def test_refuses_other_users(apply_pass):
    outcome = apply_pass(
        "merge-concats",
        """g (float[2] a, float[3] b, float[1] c) => (float[6] y, float[4] z) {
        [inner] m = Concat <axis = 0> (b, c)
        [outer] y = Concat <axis = 0> (a, m)
        [other] z = Relu (m)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'inner' (Concat): it has other users"]
