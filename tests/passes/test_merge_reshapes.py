"""`Reshape(Reshape(x)) -> Reshape(x)`."""


def test_reads_from_before_the_first(check_pass):
    before = """g (float[2, 3] x) => (float[3, 2] y) <int64[1] a = {6}, int64[2] b = {3, 2}> {
        [first] m = Reshape (x, a)
        [second] y = Reshape (m, b)
    }"""
    after = """g (float[2, 3] x) => (float[3, 2] y) <int64[2] b = {3, 2}> {
        [second] y = Reshape (x, b)
    }"""
    check_pass("merge-reshapes", before, after, tolerance=0)


def test_the_first_stays_for_its_other_users(check_pass):
    before = """g (float[2, 3] x) => (float[3, 2] y, float[6] z)
    <int64[1] a = {6}, int64[2] b = {3, 2}> {
        [first] m = Reshape (x, a)
        [second] y = Reshape (m, b)
        [other] z = Relu (m)
    }"""
    after = """g (float[2, 3] x) => (float[3, 2] y, float[6] z)
    <int64[1] a = {6}, int64[2] b = {3, 2}> {
        [first] m = Reshape (x, a)
        [second] y = Reshape (x, b)
        [other] z = Relu (m)
    }"""
    check_pass("merge-reshapes", before, after, tolerance=0)


def test_time_becomes_the_unknown_size(check_pass):
    before = """g (float[T, 6] x) => (float[T, 2, 3] y)
    <int64[2] a = {-1, 3}, int64[3] b = {-1, 2, 3}> {
        [first] m = Reshape (x, a)
        [second] y = Reshape (m, b)
    }"""
    after = """g (float[T, 6] x) => (float[T, 2, 3] y) <int64[3] b = {-1, 2, 3}> {
        [second] y = Reshape (x, b)
    }"""
    check_pass("merge-reshapes", before, after, tolerance=0)
