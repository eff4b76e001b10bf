"""Dimensions as functions of time."""

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.ir import facts
from edgeseq.ir.samples import Samples


def model(low, high):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 26})
    one = ir.Model(graph, ir_version=13)
    facts.put(one, facts.DimRange("T", low, high))
    return one


def samples(low=1, high=4096):
    return Samples.of(model(low, high))


def test_holds_both_ends_and_neighbours_of_the_lower():
    assert samples(2, 50).points == (2, 3, 4, 5, 8, 15, 42, 50)
    assert samples(1, 2).points == (1, 2)


def test_without_time_there_is_one_point():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 26})
    assert Samples.of(ir.Model(graph, ir_version=13)) == Samples(None, (1,))


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda t: t, "T"),
        (lambda t: t + 4, "T + 4"),
        (lambda t: t - 1, "T - 1"),
        (lambda t: 160 * t, "160*T"),
        (lambda t: 2 * t + 1, "2*T + 1"),
        (lambda t: t // 2, "T//2"),
        (lambda t: (t + 1) // 2, "(T + 1)//2"),
        (lambda t: (3 * t + 2) // 4, "(3*T + 2)//4"),
    ],
)
def test_finds_the_function(function, text):
    found = samples()
    dim = found.dim([function(point) for point in found.points])
    assert str(dim) == text
    assert found.values(dim) == tuple(function(point) for point in found.points)


def test_a_constant_is_a_number():
    assert samples().dim([7] * 8) == 7


def test_what_is_no_such_function_is_unknown():
    found = samples()
    assert found.dim([point * point for point in found.points]) is None


def test_another_symbol_has_no_values():
    assert samples().values(ir.SymbolicDim("N")) is None
    assert samples().shape_values(ir.Shape([1, "N"])) is None


@given(a=st.integers(1, 64), b=st.integers(0, 99), c=st.integers(1, 16))
def test_the_function_holds_between_the_points(a, b, c):
    found = samples(1, 4096)
    dim = found.dim([(a * point + b) // c for point in found.points])
    if dim is not None:
        at = {"T": 4096}
        value = dim if isinstance(dim, int) else dim.evaluate(at)
        assert value == (a * 4096 + b) // c
