"""Normalisation by constants is folded into the linear operator beside it."""


def test_after_conv(check_pass):
    before = """g (float[1, 4, 5, 5] x) => (float[1, 6, 3, 3] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[6, 4, 3, 3] w, float[6] b> {
        [conv] z = Conv (x, w, b)
        [norm] y = BatchNormalization <epsilon = 0.001> (z, s, c, m, v)
    }"""
    after = """g (float[1,4,5,5] x) => ( y)
    <float[6] "conv.bias", float[6,4,3,3] "conv.weight">
    {
        [conv] y = Conv (x, "conv.weight", "conv.bias")
    }"""
    check_pass("fuse-conv-batchnorm", before, after, tolerance=1e-06)


def test_after_grouped_transposed_conv(check_pass):
    before = """g (float[1, 4, 5] x) => (float[1, 6, u] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[4, 3, 3] w> {
        [conv] z = ConvTranspose <group = 2, strides = [2]> (x, w)
        [norm] y = BatchNormalization (z, s, c, m, v)
    }"""
    after = """g (float[1,4,5] x) => ( y)
    <float[6] "conv.bias", float[4,3,3] "conv.weight">
    {
        [conv] y = ConvTranspose <group: int = 2, strides: ints = [2]> (x,
            "conv.weight", "conv.bias")
    }"""
    check_pass("fuse-conv-batchnorm", before, after, tolerance=1e-06)


def test_after_gemm(check_pass):
    before = """g (float[2, 4] x) => (float[2, 6] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[6, 4] w, float[6] b> {
        [fc] z = Gemm <transB = 1, beta = 0.5> (x, w, b)
        [norm] y = BatchNormalization (z, s, c, m, v)
    }"""
    after = """g (float[2,4] x) => ( y)
    <float[6] "fc.bias", float[6,4] "fc.weight">
    {
        [fc] y = Gemm <transB: int = 1> (x, "fc.weight", "fc.bias")
    }"""
    check_pass("fuse-conv-batchnorm", before, after, tolerance=1e-06)


def test_after_mat_mul(check_pass):
    before = """g (float[2, 4] x) => (float[2, 6] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[4, 6] w> {
        [fc] z = MatMul (x, w)
        [norm] y = BatchNormalization (z, s, c, m, v)
    }"""
    after = """g (float[2,4] x) => ( y)
    <float[6] "fc.bias", float[4,6] "fc.weight">
    {
        [fc] y = Gemm (x, "fc.weight", "fc.bias")
    }"""
    check_pass("fuse-conv-batchnorm", before, after, tolerance=1e-06)


def test_before_grouped_conv(check_pass):
    before = """g (float[1, 6, 5] x) => (float[1, 4, 3] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[4, 3, 3] w> {
        [norm] z = BatchNormalization (x, s, c, m, v)
        [conv] y = Conv <group = 2> (z, w)
    }"""
    after = """g (float[1,6,5] x) => ( y)
    <float[4] "conv.bias", float[4,3,3] "conv.weight">
    {
        [conv] y = Conv <group: int = 2> (x, "conv.weight", "conv.bias")
    }"""
    check_pass("fuse-conv-batchnorm", before, after, tolerance=1e-06)


def test_refuses_other_users(apply_pass):
    outcome = apply_pass(
        "fuse-conv-batchnorm",
        """g (float[1, 4, 5] x) => (float[1, 6, 3] y, float[1, 6, 3] z)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[6, 4, 3] w> {
        [conv] z = Conv (x, w)
        [norm] y = BatchNormalization (z, s, c, m, v)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'norm' (BatchNormalization): node 'conv' (Conv) has other users"
    ]


def test_refuses_a_padded_conv_after_it(apply_pass):
    outcome = apply_pass(
        "fuse-conv-batchnorm",
        """g (float[1, 6, 5] x) => (float[1, 4, 5] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[4, 6, 3] w> {
        [norm] z = BatchNormalization (x, s, c, m, v)
        [conv] y = Conv <pads = [1, 1]> (z, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'norm' (BatchNormalization): node 'conv' (Conv) pads with zeros, not with the shift"
    ]


def test_refuses_no_linear_operator(apply_pass):
    outcome = apply_pass(
        "fuse-conv-batchnorm",
        """g (float[1, 6, 5] x) => (float[1, 6, 5] y)
    <float[6] s, float[6] c, float[6] m, float[6] v> {
        [norm] y = BatchNormalization (x, s, c, m, v)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'norm' (BatchNormalization): no linear operator before it and no Conv after it"
    ]


def test_refuses_statistics_that_are_inputs(apply_pass):
    outcome = apply_pass(
        "fuse-conv-batchnorm",
        """g (float[1, 6, 5] x, float[6] m) => (float[1, 6, 5] y)
    <float[6] s, float[6] c, float[6] v> {
        [norm] y = BatchNormalization (x, s, c, m, v)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'norm' (BatchNormalization): its statistics are not constants"
    ]


def test_refuses_columns_that_are_not_channels(apply_pass):
    outcome = apply_pass(
        "fuse-conv-batchnorm",
        """g (float[2, 6, 4] x) => (float[2, 6, 6] y)
    <float[6] s, float[6] c, float[6] m, float[6] v, float[4, 6] w> {
        [fc] z = MatMul (x, w)
        [norm] y = BatchNormalization (z, s, c, m, v)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == [
        "node 'norm' (BatchNormalization): the channels of node 'fc' (MatMul) are not its columns"
    ]
