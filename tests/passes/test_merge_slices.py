"""`Slice(Slice(x)) -> Slice(x)`, `Slice(Concat(a, b)) -> b`."""


def test_of_a_slice(check_pass):
    before = """g (float[2, 8] x) => (float[2, 2] y)
    <int64[1] two = {2}, int64[1] seven = {7}, int64[1] one = {1}, int64[1] three = {3}> {
        [first] m = Slice (x, two, seven, one)
        [second] y = Slice (m, one, three, one)
    }"""
    after = """g (float[2,8] x) => ( y)
    <int64[1] ints_1 = {1}, int64[1] ints_3 = {3}, int64[1] ints_5 = {5}>
    {
        [second] y = Slice (x, ints_3, ints_5, ints_1)
    }"""
    check_pass("merge-slices", before, after, tolerance=0)


def test_of_a_slice_of_other_axes(check_pass):
    before = """g (float[4, 8, 5] x) => (float[2, 3, 5] y)
    <int64[2] low = {1, 1}, int64[2] high = {3, 9}, int64[2] axes = {0, 1}, int64[2] low2 = {2,
        0},
     int64[2] high2 = {5, 5}, int64[2] axes2 = {1, 2}> {
        [first] m = Slice (x, low, high, axes)
        [second] y = Slice (m, low2, high2, axes2)
    }"""
    after = """g (float[4,8,5] x) => ( y)
    <int64[2] ints_0_1 = {0, 1}, int64[2] ints_1_3 = {1, 3}, int64[2] ints_3_6 = {3, 6}>
    {
        [second] y = Slice (x, ints_1_3, ints_3_6, ints_0_1)
    }"""
    check_pass("merge-slices", before, after, tolerance=0)


def test_of_a_whole_input_of_a_concat(check_pass):
    before = """g (float[2, 3] a, float[2, 4] b) => (float[2, 4] y)
    <int64[1] three = {3}, int64[1] seven = {7}, int64[1] one = {1}> {
        [join] m = Concat <axis = 1> (a, b)
        [cut] n = Slice (m, three, seven, one)
        [end] y = Relu (n)
    }"""
    after = """g (float[2,3] a, float[2,4] b) => ( y) {
        [end] y = Relu (b)
    }"""
    check_pass("merge-slices", before, after, tolerance=0)


def test_of_a_part_of_an_input_of_a_concat(check_pass):
    before = """g (float[2, 3] a, float[2, 4] b) => (float[2, 2] y)
    <int64[1] four = {4}, int64[1] six = {6}, int64[1] one = {1}> {
        [join] m = Concat <axis = 1> (a, b)
        [cut] y = Slice (m, four, six, one)
    }"""
    after = """g (float[2,3] a, float[2,4] b) => ( y)
    <int64[1] ints_1 = {1}, int64[1] ints_3 = {3}>
    {
        ["cut.Slice"] y = Slice (b, ints_1, ints_3, ints_1)
    }"""
    check_pass("merge-slices", before, after, tolerance=0)


def test_of_several_inputs_of_a_concat(check_pass):
    before = """g (float[3] a, float[4] b, float[2] c) => (float[6] y)
    <int64[1] three = {3}, int64[1] nine = {9}, int64[1] zero = {0}> {
        [join] m = Concat <axis = 0> (a, b, c)
        [cut] y = Slice (m, three, nine, zero)
    }"""
    after = """g (float[3] a, float[4] b, float[2] c) => ( y) {
        ["cut.Concat"] y = Concat <axis: int = 0> (b, c)
    }"""
    check_pass("merge-slices", before, after, tolerance=0)
