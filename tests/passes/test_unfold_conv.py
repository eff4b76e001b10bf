"""A 1x1 convolution of shifted copies is a wider convolution, however the copies are made."""

AFTER = """g (float[1, 2, 1, 6] x) => (float[1, 5, 1, 6] y) <float[5, 2, 1, 3] "conv.weight"> {
    [conv] y = Conv <group = 1, kernel_shape = [1, 3], pads = [0, 1, 0, 1]> (x, "conv.weight")
}"""


def test_written_with_gather_as_torch_unfold_exports(check_pass):
    before = """g (float[1, 2, 1, 6] x) => (float[1, 5, 1, 6] y)
    <int64[8] p = {0, 0, 0, 1, 0, 0, 0, 1}, int64[1, 1] row = {0}, int64[4] s = {1, 6, 1, 6},
     int64[3, 6] i = {0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6, 7}, float[5, 6, 1, 1] w> {
        [pad] a = Pad (x, p)
        [rows] b = Gather <axis = 2> (a, row)
        [columns] c = Gather <axis = 4> (b, i)
        [order] d = Transpose <perm = [0, 1, 2, 4, 3, 5]> (c)
        [flat] e = Reshape (d, s)
        [conv] y = Conv <group = 1, kernel_shape = [1, 1]> (e, w)
    }"""
    check_pass("unfold-conv", before, AFTER, tolerance=1e-6)


def test_written_with_slices_and_a_concat(check_pass):
    before = """g (float[1, 2, 1, 6] x) => (float[1, 5, 1, 6] y)
    <int64[8] p = {0, 0, 0, 1, 0, 0, 0, 1}, int64[1] zero = {0}, int64[1] one = {1},
     int64[1] two = {2}, int64[1] six = {6}, int64[1] seven = {7}, int64[1] eight = {8},
     int64[1] last = {3}, float[5, 6, 1, 1] w> {
        [pad] a = Pad (x, p)
        [left] b = Slice (a, zero, six, last)
        [here] c = Slice (a, one, seven, last)
        [right] d = Slice (a, two, eight, last)
        [join] e = Concat <axis = 1> (b, c, d)
        [conv] y = Conv <group = 1, kernel_shape = [1, 1]> (e, w)
    }"""
    check_pass("unfold-conv", before, AFTER, tolerance=1e-6)


def test_refuses_a_border_that_is_not_zero(apply_pass):
    outcome = apply_pass(
        "unfold-conv",
        """g (float[1, 1, 6] x) => (float[1, 5, 6] y)
        <int64[6] p = {0, 0, 1, 0, 0, 1}, int64[1] zero = {0}, int64[1] two = {2},
         int64[1] six = {6}, int64[1] eight = {8}, float[5, 2, 1] w> {
            [pad] a = Pad <mode = "edge"> (x, p)
            [left] b = Slice (a, zero, six, two)
            [right] d = Slice (a, two, eight, two)
            [join] e = Concat <axis = 1> (b, d)
            [conv] y = Conv (e, w)
        }""",
    )
    assert outcome.refusals == ["node 'conv' (Conv): its border is not zero"]


def test_refuses_a_border_that_holds_other_values(apply_pass):
    outcome = apply_pass(
        "unfold-conv",
        """g (float[1, 1, 8] x) => (float[1, 5, 6] y)
        <int64[1] zero = {0}, int64[1] two = {2}, int64[1] six = {6}, int64[1] eight = {8},
         float[5, 2, 1] w> {
            [left] b = Slice (x, zero, six, two)
            [right] d = Slice (x, two, eight, two)
            [join] e = Concat <axis = 1> (b, d)
            [conv] y = Conv (e, w)
        }""",
    )
    assert not outcome.record.modified


def test_leaves_a_wider_kernel_that_multiplies_more(apply_pass):
    outcome = apply_pass(
        "unfold-conv",
        """g (float[1, 2, 9] x) => (float[1, 5, 9] y)
        <int64[6] p = {0, 0, 0, 0, 0, 4}, int64[1] zero = {0}, int64[1] two = {2},
         int64[1] four = {4}, int64[1] nine = {9}, int64[1] end = {13}, float[5, 4, 1] w> {
            [pad] a = Pad (x, p)
            [here] b = Slice (a, zero, nine, two)
            [far] d = Slice (a, four, end, two)
            [join] e = Concat <axis = 1> (b, d)
            [conv] y = Conv (e, w)
        }""",
    )
    assert not outcome.record.modified
