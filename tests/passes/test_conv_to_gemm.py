"""A convolution whose output is one pixel is a product."""

import numpy as np

from tests.passes.conftest import parse, run


def test_one_pixel(check_pass):
    before = """g (float[1, 4, 1] x) => (float[1, 3, 1] y) <float[3, 4, 1] w, float[3] b> {
        [point] y = Conv (x, w, b)
    }"""
    after = """g (float[1,4,1] x) => ( y)
    <int64[3] ints_1_3_1 = {1,3,1}, int64[2] ints_1_4 = {1,4}, float[3] b,
        float[3,4] "point.matrix">
    {
        ["point.Reshape"] "point.Reshape.out" = Reshape (x, ints_1_4)
        ["point.Gemm"] "point.Gemm.out" = Gemm <transB: int = 1> ("point.Reshape.out",
            "point.matrix", b)
        ["point.Reshape_1"] y = Reshape ("point.Gemm.out", ints_1_3_1)
    }"""
    check_pass("conv-to-gemm", before, after, tolerance=1e-06)


def test_a_window_over_everything_with_padding(apply_pass):
    text = """g (float[2, 3, 4, 2] x) => (float[2, 5, 1, 1] y) <float[5, 3, 3, 3] w> {
        [last] y = Conv <pads = [1, 1, 0, 0], strides = [3, 2]> (x, w)
    }"""
    outcome = apply_pass("conv-to-gemm", text)
    assert [node.op_type for node in outcome.model.graph] == ["Reshape", "Gemm", "Reshape"]
    want, got = run(parse(text), 1)["y"], run(outcome.model, 1)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_refuses_groups(apply_pass):
    outcome = apply_pass(
        "conv-to-gemm",
        """g (float[1, 4, 1] x) => (float[1, 4, 1] y) <float[4, 2, 1] w> {
        [point] y = Conv <group = 2> (x, w)
    }""",
    )
    assert not outcome.record.modified
    assert outcome.refusals == ["node 'point' (Conv): it has groups"]


def test_leaves_several_pixels_alone(apply_pass):
    outcome = apply_pass(
        "conv-to-gemm",
        "g (float[1, 4, 2] x) => (float[1, 3, 2] y) <float[3, 4, 1] w> { [c] y = Conv (x, w) }",
    )
    assert not outcome.record.modified
    assert outcome.refusals == []
