"""The cost table: its arithmetic, its choices with their reasons, its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgeseq.errors import UsageError
from edgeseq.lower import costs, work
from edgeseq.lower.costs import Cost, CostTable

STEP = {"T": 1, "B": 1, "I": 128, "H": 384, "groups": 1, "directions": 1}
OLD, NEW = "x86-64-v3", "x86-64-v4"


def table(**changed: dict[str, Cost]) -> CostTable:
    """At both levels a sparse block costs 1.5 times a dense one, and bytes beyond 100 kB cost."""
    kernels = {
        "gru_f32": Cost(1e-7, 1e-8, 1e-9, 1e-9, 0.0, 4e-11),
        "gru_f32_b16x1": Cost(1e-7, 1e-8, 1.5e-9, 1.5e-9, 0.0, 4e-11),
        "gemm_f32": Cost(1e-8, 1e-8, 1e-9, 0.0, 0.0, 4e-11),
        "spmv_f32_b16x1": Cost(1e-8, 1e-8, 1.5e-9, 0.0, 0.0, 4e-11),
    }
    return CostTable("a test", (10_000, 100_000), {OLD: kernels | changed, NEW: dict(kernels)})


def test_the_work_of_a_dense_step() -> None:
    counted = work.of("gru_f32", STEP)
    blocks = 3 * 24 * (128 + 384)
    assert counted == work.Work(1, 24, blocks, blocks, 64 * blocks, 1)


def test_the_work_of_a_sequence_of_a_batch() -> None:
    counted = work.of("lstm_f32", STEP | {"T": 5, "B": 6, "directions": 2})
    blocks = 2 * 4 * 24 * 512
    assert counted == work.Work(5, 2 * 5 * 6 * 24, blocks * 10, blocks * 30, 64 * blocks, 10)


def test_the_work_of_stored_blocks() -> None:
    sizes = {"M": 1, "K": 100, "N": 33, "blocks": 7}
    assert work.of("spmv_f32_b16x1", sizes) == work.Work(1, 3, 7, 7, 7 * 66, 1)
    assert work.of("spmv_i8_b16x4", sizes) == work.Work(1, 3, 7, 7, 7 * 66, 1)
    assert work.of("spmv_f32_nm8", sizes) == work.Work(1, 3, 7, 7, 7 * 74, 1)
    assert work.of("spmv_bf16_nm16", sizes) == work.Work(1, 3, 7, 7, 7 * 42, 1)
    dense = work.of("gemm_i8", {"M": 1, "K": 101, "N": 33})
    assert dense is not None
    assert dense.loads == 3 * 26


def test_levels_are_read_once_for_each_row_and_have_scales() -> None:
    sizes = {"M": 5, "K": 100, "N": 33}
    grouped = {**sizes, "group": 32}
    assert work.of("gemv_i8w", sizes) == work.Work(1, 15, 1500, 1500, 300 * 16 + 48 * 4, 5)
    assert work.of("gemv_i4", grouped) == work.Work(1, 15, 1500, 1500, 300 * 8 + 48 * 4 * 4, 5)
    half = work.of("gemv_i4_f16", grouped)
    assert half is not None
    assert half.bytes == 300 * 8 + 48 * 4 * 2


@pytest.mark.parametrize(
    "name", ["cumsum_f32", "conv_f32", "gru", "gru_f64", "gru_f32_b16", "gemm_i4", "gemv_f32"]
)
def test_other_kernels_are_not_counted(name: str) -> None:
    assert work.of(name, STEP) is None
    assert table().seconds(name, STEP, OLD) is None


def test_seconds() -> None:
    blocks = 3 * 24 * 512
    expected = 1e-7 + 24 * 1e-8 + blocks * 2e-9 + (64 * blocks - 100_000) * 4e-11
    assert table().seconds("gru_f32", STEP, OLD) == pytest.approx(expected)
    small = table().seconds("gru_f32", STEP | {"I": 16, "H": 16}, OLD)
    assert small == pytest.approx(1e-7 + 1e-8 + 96 * 2e-9)
    assert table().seconds("gru_f32", STEP, "x86-64-v9") is None


def test_blocks_are_those_of_a_chain() -> None:
    one = work.of("gru_f32_b16x1", STEP | {"blocks": 100})
    two = work.of("gru_f32_b16x1", STEP | {"blocks": 100, "directions": 2})
    assert one is not None
    assert two is not None
    assert (two.loads, two.macs, two.bytes) == (2 * one.loads, 2 * one.macs, 2 * one.bytes)


def options(blocks: int) -> list[tuple[str, str, dict[str, int]]]:
    sparse = STEP | {"blocks": blocks}
    return [("dense", "gru_f32", STEP), ("sparse", "gru_f32_b16x1", sparse)]


def test_the_faster_one_is_taken_and_the_reason_has_both_times() -> None:
    choice, why = table().cheapest(options(3687), [OLD, NEW])
    assert choice == "sparse"
    assert why == "gru_f32_b16x1 17.1 us; gru_f32 164 us (cost table, x86-64-v4)"


def test_a_small_gain_is_not_worth_the_risk() -> None:
    blocks = 3 * 24 * 512
    sparse = table().seconds("gru_f32_b16x1", STEP | {"blocks": blocks * 72 // 100}, NEW)
    dense = table().seconds("gru_f32", STEP, NEW)
    assert sparse is not None
    assert dense is not None
    assert dense * (1 - costs.MARGIN) < sparse < dense
    choice, why = table().cheapest(options(blocks * 72 // 100), [NEW])
    assert choice == "dense"
    assert why.startswith("gru_f32 164 us; gru_f32_b16x1 ")


def test_one_level_where_it_is_slower_is_enough() -> None:
    slow = table(gru_f32_b16x1=Cost(1e-3, 0, 0, 0, 0, 0))
    assert slow.cheapest(options(100), [NEW])[0] == "sparse"
    assert slow.cheapest(options(100), [OLD, NEW])[0] == "dense"


def test_what_the_table_does_not_have_is_not_taken() -> None:
    unknown = [*options(100), ("int8", "gru_i8_b16x4", STEP | {"blocks": 1})]
    choice, why = table().cheapest(unknown, [OLD])
    assert choice == "sparse"
    assert why.endswith("gru_i8_b16x4 not measured (cost table, x86-64-v3)")
    first = [("int8", "gru_i8", STEP), *options(100)]
    assert table().cheapest(first, [OLD]) == ("int8", "the cost table has no time of gru_i8")


def test_the_worst_level_stands_in_for_one_that_was_not_measured() -> None:
    choice, why = table().cheapest(options(100), ["neon"])
    assert choice == "sparse"
    assert f"{OLD} in place of neon" in why
    n_of_m = {"gru_f32_nm8": Cost(1e-9, 0, 0, 0, 0, 0)}
    free = [*options(100), ("nm", "gru_f32_nm8", STEP | {"blocks": 1})]
    assert table(**n_of_m).cheapest(free, [OLD])[0] == "nm"
    choice, why = table(**n_of_m).cheapest(free, ["neon"])  # permuting costs more there
    assert choice == "sparse"
    assert "gru_f32_nm8 not measured" in why
    for levels in ([], [OLD, "neon"]):  # one choice is compiled for all of them
        assert table(**n_of_m).cheapest(free, levels)[0] != "nm"
    nothing = CostTable("", (0, 0), {})
    assert nothing.cheapest(options(100), ["neon"])[0] == "dense"


def test_a_table_is_its_file(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(costs.dumps(table()))
    assert costs.load(file) == table()
    assert costs.load(file).hash == table().hash
    other = dataclasses.replace(table(), caches=(1, 2))
    assert other.hash != table().hash


def test_what_is_shipped_can_be_read() -> None:
    shipped = costs.load()
    assert costs.loads(costs.dumps(shipped), "again") == shipped


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "Expecting value"),
        ("{}", "'format' is missing"),
        ('{"format": 9}', "its format is 9, this edgeseq reads 1"),
        ('{"format": 1, "levels": {}}', "'caches' is missing"),
        ("[]", "list indices must be integers"),
    ],
)
def test_what_is_not_a_table_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "table.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="is not a cost table") as caught:
        costs.load(file)
    assert why in caught.value.why
    assert "bench kernels --save" in caught.value.fix


@pytest.mark.parametrize("cost", [-1e-9, "x", float("nan"), None])
def test_a_cost_that_is_no_time_is_refused(tmp_path: Path, cost: object) -> None:
    body = json.loads(costs.dumps(table()))
    body["levels"][OLD]["gru_f32"]["call"] = cost
    file = tmp_path / "table.json"
    file.write_text(json.dumps(body))
    with pytest.raises(UsageError, match="is not a cost table"):
        costs.load(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the cost table") as caught:
        costs.load(tmp_path / "none.json")
    assert caught.value.why == "No such file or directory"
