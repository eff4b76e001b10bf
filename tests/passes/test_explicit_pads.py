"""Convolutions pad for themselves, in numbers."""


def test_takes_over_a_pad(check_pass):
    before = """g (float[1, 2, 5] x) => (float[1, 3, 6] y)
    <int64[6] p = {0, 0, 2, 0, 0, 1}, float[3, 2, 3] w> {
        [pad] m = Pad (x, p)
        [conv] y = Conv (m, w)
    }"""
    after = """g (float[1,2,5] x) => ( y)
    <float[3,2,3] w>
    {
        [conv] y = Conv <kernel_shape: ints = [3], strides: ints = [1], dilations: ints = [1],
            pads: ints = [2, 1], group: int = 1> (x, w)
    }"""
    check_pass("explicit-pads", before, after, tolerance=0)


def test_same_upper_with_strides(check_pass):
    before = """g (float[1, 2, 6] x) => (float[1, 3, 3] y) <float[3, 2, 3] w> {
        [conv] y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w)
    }"""
    after = """g (float[1,2,6] x) => ( y)
    <float[3,2,3] w>
    {
        [conv] y = Conv <kernel_shape: ints = [3], strides: ints = [2], dilations: ints = [1],
            pads: ints = [0, 1], group: int = 1> (x, w)
    }"""
    check_pass("explicit-pads", before, after, tolerance=0)


def test_same_lower(check_pass):
    before = """g (float[1, 2, 6] x) => (float[1, 3, 6] y) <float[3, 2, 4] w> {
        [conv] y = Conv <auto_pad = "SAME_LOWER"> (x, w)
    }"""
    after = """g (float[1,2,6] x) => ( y)
    <float[3,2,4] w>
    {
        [conv] y = Conv <kernel_shape: ints = [4], strides: ints = [1], dilations: ints = [1],
            pads: ints = [2, 1], group: int = 1> (x, w)
    }"""
    check_pass("explicit-pads", before, after, tolerance=0)


def test_valid(check_pass):
    before = """g (float[1, 2, 6] x) => (float[1, 3, 4] y) <float[3, 2, 3] w> {
        [conv] y = Conv <auto_pad = "VALID"> (x, w)
    }"""
    after = """g (float[1,2,6] x) => ( y)
    <float[3,2,3] w>
    {
        [conv] y = Conv <kernel_shape: ints = [3], strides: ints = [1], dilations: ints = [1],
            pads: ints = [0, 0], group: int = 1> (x, w)
    }"""
    check_pass("explicit-pads", before, after, tolerance=0)


def test_pads_of_chosen_axes(check_pass):
    before = """g (float[1, 2, T] x) => (float[1, 3, T] y)
    <int64[2] p = {2, 0}, int64[1] a = {-1}, float none = {0}, float[3, 2, 3] w> {
        [pad] m = Pad (x, p, none, a)
        [conv] y = Conv (m, w)
    }"""
    after = """g (float[1,2,T] x) => ( y)
    <float[3,2,3] w>
    {
        [conv] y = Conv <kernel_shape: ints = [3], strides: ints = [1], dilations: ints = [1],
            pads: ints = [2, 0], group: int = 1> (x, w)
    }"""
    check_pass("explicit-pads", before, after, tolerance=0)


def test_refuses_a_reflection(apply_pass):
    outcome = apply_pass(
        "explicit-pads",
        """g (float[1, 2, 5] x) => (float[1, 3, 5] y)
    <int64[6] p = {0, 0, 1, 0, 0, 1}, float[3, 2, 3] w> {
        [pad] m = Pad <mode = "reflect"> (x, p)
        [conv] y = Conv <kernel_shape = [3], strides = [1], dilations = [1], pads = [0, 0]> (m,
            w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'conv' (Conv): node 'pad' (Pad) does not pad spatial axes with zeros"
    ]


def test_refuses_padded_channels(apply_pass):
    outcome = apply_pass(
        "explicit-pads",
        """g (float[1, 1, 5] x) => (float[1, 3, 3] y)
    <int64[6] p = {0, 1, 0, 0, 0, 0}, float[3, 2, 3] w> {
        [pad] m = Pad (x, p)
        [conv] y = Conv <kernel_shape = [3], strides = [1], dilations = [1], pads = [0, 0]> (m,
            w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'conv' (Conv): node 'pad' (Pad) does not pad spatial axes with zeros"
    ]


def test_refuses_strides_along_time(apply_pass):
    outcome = apply_pass(
        "explicit-pads",
        """g (float[1, 2, T] x) => (float[1, 3, u] y) <float[3, 2, 3] w> {
        [conv] y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'conv' (Conv): its automatic padding depends on time"]
