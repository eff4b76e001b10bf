"""A transposed convolution without strides is a convolution."""


def test_groups_dilations_and_pads(check_pass):
    before = """g (float[1, 4, 5, 6] x) => (float[1, 6, u, v] y) <float[4, 3, 3, 2] w, float[6] b> {
        [up] y = ConvTranspose <group = 2, dilations = [2, 1], pads = [1, 0, 2, 1]> (x, w, b)
    }"""
    after = """g (float[1,4,5,6] x) => ( y)
    <float[6] b, float[6,2,3,2] "up.weight">
    {
        [up] y = Conv <kernel_shape: ints = [3, 2], pads: ints = [3, 1, 2, 0],
            strides: ints = [1, 1], dilations: ints = [2, 1], group: int = 2> (x, "up.weight",
                b)
    }"""
    check_pass("conv-transpose-to-conv", before, after, tolerance=1e-06)


def test_along_time(check_pass):
    before = """g (float[1, 2, T] x) => (float[1, 3, u] y) <float[2, 3, 3] w> {
        [up] y = ConvTranspose (x, w)
    }"""
    after = """g (float[1,2,T] x) => ( y)
    <float[3,2,3] "up.weight">
    {
        [up] y = Conv <kernel_shape: ints = [3], pads: ints = [2, 2], strides: ints = [1],
            dilations: ints = [1], group: int = 1> (x, "up.weight")
    }"""
    check_pass("conv-transpose-to-conv", before, after, tolerance=1e-06)


def test_refuses_strides(apply_pass):
    outcome = apply_pass(
        "conv-transpose-to-conv",
        """g (float[1, 2, 5] x) => (float[1, 3, u] y) <float[2, 3, 3] w> {
        [up] y = ConvTranspose <strides = [2]> (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'up' (ConvTranspose): its strides are [2]"]


def test_refuses_too_much_padding(apply_pass):
    outcome = apply_pass(
        "conv-transpose-to-conv",
        """g (float[1, 2, 9] x) => (float[1, 3, u] y) <float[2, 3, 3] w> {
        [up] y = ConvTranspose <pads = [3, 0]> (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'up' (ConvTranspose): the convolution would need pads [-1, 2]"
    ]


def test_refuses_an_output_size(apply_pass):
    outcome = apply_pass(
        "conv-transpose-to-conv",
        """g (float[1, 2, 5] x) => (float[1, 3, u] y) <float[2, 3, 3] w> {
        [up] y = ConvTranspose <output_shape = [7]> (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'up' (ConvTranspose): it fixes its output size"]


def test_refuses_weights_that_are_inputs(apply_pass):
    outcome = apply_pass(
        "conv-transpose-to-conv",
        """g (float[1, 2, 5] x, float[2, 3, 3] w) => (float[1, 3, u] y) {
        [up] y = ConvTranspose (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'up' (ConvTranspose): its weights are not constants"]
