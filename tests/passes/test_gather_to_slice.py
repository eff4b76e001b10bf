"""Constant indices are slices."""


def test_a_scalar(check_pass):
    before = """g (float[4, 3] x) => (float[3] y) <int64 last = {-1}> {
        [pick] y = Gather <axis = 0> (x, last)
    }"""
    after = """g (float[4,3] x) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_3 = {3}, int64[1] ints_4 = {4}>
    {
        ["pick.Slice"] "pick.Slice.out" = Slice (x, ints_3, ints_4, ints_0)
        ["pick.Squeeze"] y = Squeeze ("pick.Slice.out", ints_0)
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_a_run_with_a_step(check_pass):
    before = """g (float[2, 9] x) => (float[2, 3] y) <int64[3] i = {1, 4, 7}> {
        [pick] y = Gather <axis = 1> (x, i)
    }"""
    after = """g (float[2,9] x) => ( y)
    <int64[1] ints_1 = {1}, int64[1] ints_3 = {3}, int64[1] ints_8 = {8}>
    {
        ["pick.Slice"] y = Slice (x, ints_1, ints_8, ints_1, ints_3)
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_two_runs(check_pass):
    before = """g (float[9] x) => (float[5] y) <int64[5] i = {7, 8, 0, 1, 2}> {
        [pick] y = Gather (x, i)
    }"""
    after = """g (float[9] x) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_3 = {3}, int64[1] ints_7 = {7}, int64[1] ints_9 = {9}>
    {
        ["pick.Slice"] "pick.Slice.out" = Slice (x, ints_7, ints_9, ints_0)
        ["pick.Slice_1"] "pick.Slice_1.out" = Slice (x, ints_0, ints_3, ints_0)
        ["pick.Concat"] y = Concat <axis: int = 0> ("pick.Slice.out", "pick.Slice_1.out")
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_a_table_of_rows(check_pass):
    before = """g (float[2, 6] x) => (float[2, 3, 4] y)
    <int64[3, 4] i = {0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5}> {
        [pick] y = Gather <axis = 1> (x, i)
    }"""
    after = """g (float[2,6] x) => ( y)
    <int64[1] ints_0 = {0}, int64[1] ints_1 = {1}, int64[1] ints_2 = {2},
        int64[1] ints_4 = {4}, int64[1] ints_5 = {5}, int64[1] ints_6 = {6}>
    {
        ["pick.Slice"] "pick.Slice.out" = Slice (x, ints_0, ints_4, ints_1)
        ["pick.Slice_1"] "pick.Slice_1.out" = Slice (x, ints_1, ints_5, ints_1)
        ["pick.Slice_2"] "pick.Slice_2.out" = Slice (x, ints_2, ints_6, ints_1)
        ["pick.Unsqueeze"] "pick.Unsqueeze.out" = Unsqueeze ("pick.Slice.out", ints_1)
        ["pick.Unsqueeze_1"] "pick.Unsqueeze_1.out" = Unsqueeze ("pick.Slice_1.out", ints_1)
        ["pick.Unsqueeze_2"] "pick.Unsqueeze_2.out" = Unsqueeze ("pick.Slice_2.out", ints_1)
        ["pick.Concat"] y = Concat <axis: int = 1> ("pick.Unsqueeze.out",
            "pick.Unsqueeze_1.out", "pick.Unsqueeze_2.out")
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_the_whole_axis(check_pass):
    before = """g (float[3, 2] x) => (float[3, 2] y) <int64[3] i = {0, 1, 2}> {
        [pick] m = Gather (x, i)
        [end] y = Relu (m)
    }"""
    after = """g (float[3,2] x) => ( y) {
        [end] y = Relu (x)
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_beside_time(check_pass):
    before = """g (float[T, 4] x) => (float[T] y) <int64 i = {2}> {
        [pick] y = Gather <axis = 1> (x, i)
    }"""
    after = """g (float[T,4] x) => ( y)
    <int64[1] ints_1 = {1}, int64[1] ints_2 = {2}, int64[1] ints_3 = {3}>
    {
        ["pick.Slice"] "pick.Slice.out" = Slice (x, ints_2, ints_3, ints_1)
        ["pick.Squeeze"] y = Squeeze ("pick.Slice.out", ints_1)
    }"""
    check_pass("gather-to-slice", before, after, tolerance=0)


def test_refuses_a_real_lookup(apply_pass):
    outcome = apply_pass(
        "gather-to-slice",
        """g (float[20] x) => (float[9] y) <int64[9] i = {9, 8, 7, 6, 5, 4, 3, 2, 1}> {
        [pick] y = Gather (x, i)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'pick' (Gather): its indices are 9 runs"]


def test_refuses_the_end_of_time(apply_pass):
    outcome = apply_pass(
        "gather-to-slice",
        """g (float[T, 2] x) => (float[2] y) <int64 i = {-1}> {
        [pick] y = Gather (x, i)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'pick' (Gather): it counts from the end of an axis that varies"
    ]


def test_refuses_a_cube_of_indices(apply_pass):
    outcome = apply_pass(
        "gather-to-slice",
        """g (float[4] x) => (float[1, 1, 2] y) <int64[1, 1, 2] i = {0, 1}> {
        [pick] y = Gather (x, i)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'pick' (Gather): its indices have 3 dimensions"]
