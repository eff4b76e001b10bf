"""A write to a constant box is a concatenation around it."""


def test_rows(check_pass):
    before = """g (float[4, 3] x, float[2, 3] u) => (float[4, 3] y) <int64[2, 1] i = {1, 2}> {
        [put] y = ScatterND (x, i, u)
    }"""
    after = """g (float[4,3] x, float[2,3] u) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_1 = {1}, int64[1] ints_3 = {3}, int64[1] ints_4 = {4}>
    {
        ["put.Slice"] "put.Slice.out" = Slice (x, ints_0, ints_1, ints_0)
        ["put.Slice_1"] "put.Slice_1.out" = Slice (x, ints_3, ints_4, ints_0)
        ["put.Concat"] y = Concat <axis: int = 0> ("put.Slice.out", u, "put.Slice_1.out")
    }"""
    check_pass("scatter-to-concat", before, after, tolerance=0)


def test_a_box_inside(check_pass):
    before = """g (float[4, 5] x, float[2, 2] u) => (float[4, 5] y)
    <int64[2, 2, 2] i = {1, 2, 1, 3, 2, 2, 2, 3}> { [put] y = ScatterND (x, i, u) }"""
    after = """g (float[4,5] x, float[2,2] u) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_1 = {1}, int64[1] ints_2 = {2},
        int64[1] ints_3 = {3}, int64[1] ints_4 = {4}, int64[1] ints_5 = {5}>
    {
        ["put.Slice"] "put.Slice.out" = Slice (x, ints_1, ints_3, ints_0)
        ["put.Slice_1"] "put.Slice_1.out" = Slice ("put.Slice.out", ints_0, ints_2, ints_1)
        ["put.Slice_2"] "put.Slice_2.out" = Slice ("put.Slice.out", ints_4, ints_5, ints_1)
        ["put.Concat"] "put.Concat.out" = Concat <axis: int = 1> ("put.Slice_1.out", u,
            "put.Slice_2.out")
        ["put.Slice_3"] "put.Slice_3.out" = Slice (x, ints_0, ints_1, ints_0)
        ["put.Slice_4"] "put.Slice_4.out" = Slice (x, ints_3, ints_4, ints_0)
        ["put.Concat_1"] y = Concat <axis: int = 0> ("put.Slice_3.out", "put.Concat.out",
            "put.Slice_4.out")
    }"""
    check_pass("scatter-to-concat", before, after, tolerance=0)


def test_all_of_it(check_pass):
    before = """g (float[2, 3] x, float[2, 3] u) => (float[2, 3] y) <int64[2, 1] i = {0, 1}> {
        [put] m = ScatterND (x, i, u)
        [end] y = Relu (m)
    }"""
    after = """g (float[2,3] x, float[2,3] u) => ( y) {
        [end] y = Relu (u)
    }"""
    check_pass("scatter-to-concat", before, after, tolerance=0)


def test_updates_of_another_shape(check_pass):
    before = """g (float[3, 2] x, float[2] u) => (float[3, 2] y) <int64[1] i = {2}> {
        [put] y = ScatterND (x, i, u)
    }"""
    after = """g (float[3,2] x, float[2] u) => ( y)
    <int64[1] ints_0 = {0}, int64[2] ints_1_2 = {1, 2}, int64[1] ints_2 = {2}>
    {
        ["put.Reshape"] "put.Reshape.out" = Reshape (u, ints_1_2)
        ["put.Slice"] "put.Slice.out" = Slice (x, ints_0, ints_2, ints_0)
        ["put.Concat"] y = Concat <axis: int = 0> ("put.Slice.out", "put.Reshape.out")
    }"""
    check_pass("scatter-to-concat", before, after, tolerance=0)


def test_elements_along_an_axis(check_pass):
    before = """g (float[2, 5] x, float[2, 2] u) => (float[2, 5] y) <int64[2, 2] i = {3, 4, 3, 4}> {
        [put] y = ScatterElements <axis = 1> (x, i, u)
    }"""
    after = """g (float[2,5] x, float[2,2] u) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_1 = {1}, int64[1] ints_3 = {3}>
    {
        ["put.Slice"] "put.Slice.out" = Slice (x, ints_0, ints_3, ints_1)
        ["put.Concat"] y = Concat <axis: int = 1> ("put.Slice.out", u)
    }"""
    check_pass("scatter-to-concat", before, after, tolerance=0)


def test_refuses_out_of_order(apply_pass):
    outcome = apply_pass(
        "scatter-to-concat",
        """g (float[4] x, float[2] u) => (float[4] y) <int64[2, 1] i = {2, 1}> {
        [put] y = ScatterND (x, i, u)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'put' (ScatterND): the places it writes are not a box in order"
    ]


def test_refuses_a_reduction(apply_pass):
    outcome = apply_pass(
        "scatter-to-concat",
        """g (float[4] x, float[2] u) => (float[4] y) <int64[2, 1] i = {1, 2}> {
        [put] y = ScatterND <reduction = "add"> (x, i, u)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'put' (ScatterND): it reduces with add"]


def test_refuses_data_of_varying_shape(apply_pass):
    outcome = apply_pass(
        "scatter-to-concat",
        """g (float[T] x, float[2] u) => (float[T] y) <int64[2, 1] i = {0, 0}> {
        [put] y = ScatterND (x, i, u)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'put' (ScatterND): the shape of its data varies"]
