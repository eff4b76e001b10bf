"""The little languages of the command line."""

from __future__ import annotations

import pytest

from edgeseq import flags
from edgeseq.errors import UsageError


def test_shape() -> None:
    assert flags.shape("x=1,T,80") == ("x", (1, "T", 80))
    assert flags.shape(" x = 1 , T ") == ("x", (1, "T"))
    assert flags.shape("x=") == ("x", ())


def test_dimension() -> None:
    assert flags.dimension("batch=1") == ("batch", 1)
    assert flags.dimension("T=1:4096") == ("T", (1, 4096))


def test_const() -> None:
    assert flags.const("sr=16000") == ("sr", 16000)
    assert flags.const("eps=1e-3") == ("eps", 1e-3)
    name, value = flags.const("causal=true")
    assert name == "causal"
    assert value is True


def test_state() -> None:
    assert flags.state("h_in=h_out") == ("h_in", "h_out")


@pytest.mark.parametrize("text", ["x", "=1", "x=1,,2", "x=0", "x=1.5", "x=a b", "x=2147483648"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read --shape"):
        flags.shape(text)


@pytest.mark.parametrize("text", ["T", "T=", "T=a", "T=1:2:3", "T=0:5", "T=5:1", "T=-1", "T=1:"])
def test_bad_dimensions(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read --dim"):
        flags.dimension(text)


@pytest.mark.parametrize("text", ["sr", "sr=", "sr=x", "=3"])
def test_bad_constants(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read --const"):
        flags.const(text)


@pytest.mark.parametrize("text", ["h", "h=", "=h"])
def test_bad_states(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read --state"):
        flags.state(text)
