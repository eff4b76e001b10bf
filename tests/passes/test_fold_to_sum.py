"""Overlapping blocks are added as shifted lines."""

from collections.abc import Callable

import numpy as np
import pytest

from edgeseq.pipeline import prepare
from tests.passes.conftest import Outcome, parse, run

# Image, block, strides, dilations, pads of both axes at both ends
CASES = {
    "frames that overlap": ((1, 40), (1, 16), (1, 8), (1, 1), (0, 0)),
    "frames that do not divide": ((1, 45), (1, 15), (1, 6), (1, 1), (0, 0)),
    "frames apart": ((1, 40), (1, 4), (1, 9), (1, 1), (0, 0)),
    "frames with padding": ((1, 30), (1, 16), (1, 4), (1, 1), (0, 5)),
    "patches": ((6, 7), (3, 2), (1, 1), (1, 1), (1, 1)),
    "patches apart": ((9, 8), (3, 2), (2, 3), (1, 1), (1, 0)),
    "dilated patches": ((9, 10), (3, 2), (1, 1), (2, 3), (0, 0)),
    "one block": ((4, 5), (4, 5), (1, 1), (1, 1), (0, 0)),
}


AFTER = """g (float[1, 4, 3] x) => (float[i,j,k,l] y) <
    int64[1] ints_0 = {0},
    int64[6] ints_0_0_0_0_0_1 = {0,0,0,0,0,1},
    int64[6] ints_0_0_1_0_0_0 = {0,0,1,0,0,0},
    int64[1] ints_1 = {1},
    int64[5] ints_1_1_1_1_8 = {1,1,1,1,8},
    int64[6] ints_1_1_1_4_1_3 = {1,1,1,4,1,3},
    int64[4] ints_1_1_1_8 = {1,1,1,8},
    int64[4] ints_1_2_2_3 = {1,2,2,3},
    int64[3] ints_1_2_3 = {1,2,3},
    int64[3] ints_1_4_3 = {1,4,3},
    int64[2] ints_1_8 = {1,8},
    int64[1] ints_2 = {2}> {
    ["f.Reshape"] "f.Reshape.out" = Reshape (x, ints_1_1_1_4_1_3)
    ["f.Transpose"] "f.Transpose.out" = Transpose <perm = [0, 1, 2, 4, 3, 5]> ("f.Reshape.out")
    ["f.Reshape_1"] "f.Reshape_1.out" = Reshape ("f.Transpose.out", ints_1_4_3)
    ["f.Reshape_2"] "f.Reshape_2.out" = Reshape ("f.Reshape_1.out", ints_1_2_2_3)
    ["f.Slice"] "f.Slice.out" = Slice ("f.Reshape_2.out", ints_0, ints_1, ints_1)
    ["f.Reshape_3"] "f.Reshape_3.out" = Reshape ("f.Slice.out", ints_1_2_3)
    ["f.Pad"] "f.Pad.out" = Pad ("f.Reshape_3.out", ints_0_0_0_0_0_1)
    ["f.Slice_1"] "f.Slice_1.out" = Slice ("f.Reshape_2.out", ints_1, ints_2, ints_1)
    ["f.Reshape_4"] "f.Reshape_4.out" = Reshape ("f.Slice_1.out", ints_1_2_3)
    ["f.Pad_1"] "f.Pad_1.out" = Pad ("f.Reshape_4.out", ints_0_0_1_0_0_0)
    ["f.Add"] "f.Add.out" = Add ("f.Pad.out", "f.Pad_1.out")
    ["f.Transpose_1"] "f.Transpose_1.out" = Transpose <perm: ints = [0, 2, 1]> ("f.Add.out")
    ["f.Reshape_5"] "f.Reshape_5.out" = Reshape ("f.Transpose_1.out", ints_1_8)
    ["f.Reshape_6"] "f.Reshape_6.out" = Reshape ("f.Reshape_5.out", ints_1_1_1_1_8)
    ["f.Reshape_7"] y = Reshape ("f.Reshape_6.out", ints_1_1_1_8)
}"""


def text(name: str) -> str:
    image, block, strides, dilations, pads = CASES[name]
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, d, p in zip(image, block, strides, dilations, pads, strict=True)
    ]
    shape = f"2, {3 * block[0] * block[1]}, {counts[0] * counts[1]}"
    return f"""g (float[{shape}] x) => (float[i,j,k,l] y)
    <int64[2] image = {{{image[0]}, {image[1]}}}, int64[2] block = {{{block[0]}, {block[1]}}}> {{
        [f] y = Col2Im <strides = [{strides[0]}, {strides[1]}],
            dilations = [{dilations[0]}, {dilations[1]}],
            pads = [{pads[0]}, {pads[1]}, {pads[0]}, {pads[1]}]> (x, image, block)
    }}"""


@pytest.mark.parametrize("name", CASES)
def test_same_as_the_operator(name: str) -> None:
    before = parse(text(name))
    after = before.clone()
    prepare(after, passes=("bind-shapes", "fold-constants", "fold-to-sum"), check=True)
    assert all(node.op_type != "Col2Im" for node in after.graph)
    want, got = run(before, 1, "reference"), run(after, 1)
    np.testing.assert_allclose(got["y"], want["y"], rtol=0, atol=1e-6)


def test_frames_of_an_inverse_stft(check_pass: Callable[..., Outcome]) -> None:
    check_pass(
        "fold-to-sum",
        """g (float[1, 4, 3] x) => (float[i,j,k,l] y)
        <int64[2] image = {1, 8}, int64[2] block = {1, 4}> {
            [f] y = Col2Im <strides = [1, 2]> (x, image, block)
        }""",
        AFTER,
        tolerance=1e-6,
        runner="reference",
    )


def test_dilated_blocks_apart_are_refused(apply_pass: Callable[..., Outcome]) -> None:
    outcome = apply_pass(
        "fold-to-sum",
        """g (float[1, 4, 4] x) => (float[i,j,k,l] y)
        <int64[2] image = {7, 7}, int64[2] block = {2, 2}> {
            [f] y = Col2Im <strides = [2, 2], dilations = [3, 3]> (x, image, block)
        }""",
    )
    assert outcome.refusals == ["node 'f' (Col2Im): its blocks are dilated and apart"]
