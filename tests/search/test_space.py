"""What layers may be, and points worth a first look."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir
import pytest

from edgeseq.search import pareto, starts
from edgeseq.search.space import Choice, Costs, Place, places
from edgeseq.search.study import Limits, Tried
from edgeseq.search.trial import Measured


def test_choices_are_what_kernels_have(prepared: ir.Model, costs: Costs) -> None:
    lstm = str(prepared.graph.node(0).name)
    found = places(prepared, ("bf16", "int8", "w4g32"), (0.25,), frozenset({lstm}), costs)
    by_name = {place.name: place for place in found}
    assert set(by_name) == {"W", "middle", "head"}
    assert list(by_name["W"].choices) == [
        *("float", "float@0.25", "bf16", "bf16@0.25", "int8", "int8@0.25")
    ]
    assert list(by_name["head"].choices) == ["float", "bf16", "int8", "w4g32"]


def test_bytes_and_seconds(prepared: ir.Model, costs: Costs) -> None:
    lstm = str(prepared.graph.node(0).name)
    found = {p.name: p for p in places(prepared, ("int8",), (0.25,), frozenset({lstm}), costs)}
    cell = found["W"].choices
    weights = 4 * 32 * (16 + 32)
    assert cell["float"].nbytes == 4 * weights
    assert cell["int8"].nbytes == weights + 4 * 2 * 4 * 32
    # A block of 16 outputs and one input holds 16 floats, or four inputs in bytes, and an index.
    assert cell["float@0.25"].nbytes == weights // 4 // 16 * (64 + 2)
    assert cell["int8@0.25"].nbytes == weights // 4 // 64 * (64 + 2) + 4 * 2 * 4 * 32
    assert (cell["float"].seconds or 0) > (cell["int8"].seconds or 0) > 0
    assert (cell["float"].seconds or 0) > (cell["float@0.25"].seconds or 0) > 0


def test_n_of_m_has_its_own_density_and_kernels(prepared: ir.Model, costs: Costs) -> None:
    lstm = str(prepared.graph.node(0).name)
    given = (("bf16", "int8"), (0.25, 0.1), frozenset({lstm}), costs)
    cell = {p.name: p for p in places(prepared, *given, "2:4")}["W"].choices
    assert list(cell) == ["float", "float@0.5", "bf16", "bf16@0.5", "int8", "int8@0.5"]
    weights = 4 * 32 * (16 + 32)
    # A block holds 16 weights, and where each of them comes from in ten bytes.
    assert cell["float@0.5"].nbytes == weights // 2 // 16 * (64 + 10)
    assert cell["bf16@0.5"].nbytes == weights // 2 // 16 * (32 + 10)
    assert (cell["float"].seconds or 0) > (cell["float@0.5"].seconds or 0) > 0
    # No int8 kernel leaves such zeros out, and none fits groups of five.
    assert cell["int8@0.5"] == dataclasses.replace(cell["int8"], density=0.5)
    odd = {p.name: p for p in places(prepared, *given, "2:5")}["W"].choices
    assert odd["float@0.4"].nbytes == odd["float"].nbytes


def test_no_time_where_the_table_has_none(prepared: ir.Model, costs: Costs) -> None:
    (first, *_) = places(prepared, ("int8",), (), frozenset(), Costs(costs.table, ("other",)))
    assert first.choices["int8"].seconds is None


def place(name: str, **sizes: int) -> Place:
    made = {"float": Choice("float", 1.0, 400, 4e-6)}
    made |= {n: Choice(n, 1.0, size, size * 1e-8) for n, size in sizes.items()}
    return Place(name, "MatMul", name, 100, made)


PLACES = [place("a", bf16=200, int8=100), place("b", int8=100)]


def test_uniform_points_leave_in_float_what_has_no_such_choice() -> None:
    assert list(starts.uniform(PLACES)) == [
        {"a": "float", "b": "float"},
        {"a": "bf16", "b": "float"},
        {"a": "int8", "b": "int8"},
    ]


def test_greedy_points_follow_what_single_layers_cost() -> None:
    errors = {("a", "bf16"): 1e-6, ("a", "int8"): 1e-2, ("b", "int8"): 1e-4}

    def known(point: object) -> Measured | None:
        assert isinstance(point, dict)
        ((name, text),) = ((n, t) for n, t in point.items() if t != "float")
        return Measured(errors[name, text], 0, 0.0)

    points = [dict(p) for p in starts.greedy(PLACES, known)]
    assert {"a": "int8", "b": "int8"} in points  # 0.1 dB is an error of 2 %
    assert {"a": "bf16", "b": "int8"} in points  # 0.01 dB is 0.2 %


def tried(nbytes: int, seconds: float, error: float) -> Tried:
    return Tried({}, Measured(error, nbytes, seconds))


def test_front() -> None:
    points = [
        tried(100, 1.0, 0.1),
        tried(100, 1.0, 0.1),  # the same again
        tried(200, 1.0, 0.2),  # beaten
        tried(200, 0.5, 0.2),
        tried(50, 2.0, 0.9),  # loses too much
    ]
    found = pareto.front(points, Limits(drop=1.0))
    assert [(t.measured.nbytes, t.measured.seconds) for t in found] == [(100, 1.0), (200, 0.5)]


@pytest.mark.parametrize(("error", "snr", "drop"), [(0.01, 20.0, 0.0432), (1.0, 0.0, 3.0103)])
def test_measured(error: float, snr: float, drop: float) -> None:
    one = Measured(error, 0, 0.0)
    assert one.snr == pytest.approx(snr)
    assert one.drop == pytest.approx(drop, abs=1e-3)
