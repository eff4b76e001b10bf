"""A constant matrix on the left of several columns is a convolution of one tap."""

import numpy as np
import pytest

from tests.passes.conftest import parse, run


@pytest.mark.parametrize("shape", ["5, 7", "1, 5, 7", "2, 3, 5, 7"])
def test_computes_the_same(apply_pass, shape: str) -> None:
    text = f"""g (float[{shape}] x) => (float[{shape.replace("5, 7", "4, 7")}] y) <float[4, 5] a> {{
        [left] y = MatMul (a, x)
    }}"""
    outcome = apply_pass("matmul-to-conv", text)
    assert [node.op_type for node in outcome.model.graph] == ["Reshape", "Conv", "Reshape"]
    want, got = run(parse(text), 1)["y"], run(outcome.model, 1)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_leaves_a_column_and_a_matrix_on_the_right_alone(apply_pass) -> None:
    for operands, shape in (("a, x", "5, 1"), ("x, a", "7, 4")):
        outcome = apply_pass(
            "matmul-to-conv",
            f"""g (float[{shape}] x) => (float[m, n] y) <float[4, 5] a> {{
            [product] y = MatMul ({operands})
        }}""",
        )
        assert not outcome.record.modified
        assert outcome.refusals == []


def test_refuses_a_width_that_varies(apply_pass) -> None:
    outcome = apply_pass(
        "matmul-to-conv",
        "g (float[5, T] x) => (float[4, T] y) <float[4, 5] a> { [left] y = MatMul (a, x) }",
    )
    assert outcome.refusals == ["node 'left' (MatMul): the shape of its other operand varies"]
