"""A scheme for each layer within a budget of error."""

from __future__ import annotations

from edgeseq.quantize.search import Option, budget_of, cheapest


def option(scheme: str, nbytes: int, error: float) -> Option:
    return Option(scheme, nbytes, error)


OPTIONS = {
    "sensitive": [option("int8", 100, 0.5), option("float", 400, 0.0)],
    "robust": [option("int8", 100, 0.01), option("float", 400, 0.0)],
    "large": [option("int8", 10_000, 0.2), option("float", 40_000, 0.0)],
}


def chosen(budget: float) -> dict[str, str]:
    return {name: o.scheme for name, o in cheapest(OPTIONS, budget).items()}


def test_a_wide_budget_takes_the_cheapest() -> None:
    assert set(chosen(1.0).values()) == {"int8"}


def test_what_gives_most_for_its_bytes_is_widened_first() -> None:
    assert chosen(0.3) == {"sensitive": "float", "robust": "int8", "large": "int8"}
    assert chosen(0.05) == {"sensitive": "float", "robust": "float", "large": "float"}
    assert chosen(0.0) == {"sensitive": "float", "robust": "float", "large": "float"}


def test_a_useless_rung_is_skipped() -> None:
    ladder = {
        "one": [
            option("w4g32", 50, 0.5),
            option("int8", 100, 0.5),
            option("bf16", 200, 0.001),
            option("float", 400, 0.0),
        ]
    }
    assert cheapest(ladder, 0.01)["one"].scheme == "bf16"


def test_budget_of_a_loss() -> None:
    assert abs(budget_of(3.0103) - 1.0) < 1e-4
    assert budget_of(0.0) == 0.0
