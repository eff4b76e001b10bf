"""Sizes in T: Python's value, C's text and TIR's expression agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import tirx

from edgeseq.lower.size import Size

T = Size(0, "T")
numbers = st.integers(0, 50)


def test_numbers_stay_numbers() -> None:
    assert (Size.of(3) + 4) * 2 == Size.of(14)
    assert Size.of(3).c() == "3"


def test_identities_leave_no_trace() -> None:
    assert T + 0 == T
    assert T * 1 == T
    assert Size.of(0) == T * 0


@given(a=numbers, b=numbers, t=st.integers(1, 5000))
def test_arithmetic_is_that_of_integers(a: int, b: int, t: int) -> None:
    assert ((T + a) * b + a).at({"T": t}) == (t + a) * b + a


@given(a=st.integers(1, 9), b=numbers, t=st.integers(1, 5000))
def test_tir_expressions_keep_their_value(a: int, b: int, t: int) -> None:
    var = tirx.Var("T", "int64")
    assert Size.from_tir((var + b) // a * 4).at({"T": t}) == (t + b) // a * 4


def test_a_product_of_dimensions() -> None:
    var = tirx.Var("T", "int64")
    assert Size.product([2, var, tirx.IntImm("int64", 8)]).at({"T": 10}) == 160


def test_an_unknown_form_is_refused() -> None:
    var = tirx.Var("T", "int64")
    with pytest.raises(ValueError, match="is not supported"):
        Size.from_tir(tirx.min(var, tirx.IntImm("int64", 8)))


def test_a_product_has_one_form() -> None:
    assert T * 2 * 32 * 4 == Size.of(64) * (T * 4) == T * 256
    assert (T + 1) * 2 * 3 == (T + 1) * 6
    assert (T * 2 + 4) * 3 != (T * 6 + 4)


@given(st.permutations([2, 3, 5, T]), st.integers(1, 5000))
def test_the_order_of_factors_does_not_matter(factors: list[Size | int], t: int) -> None:
    product = Size.of(1)
    for factor in factors:
        product = product * factor
    assert product == T * 30
    assert product.at({"T": t}) == 30 * t
