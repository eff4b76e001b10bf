"""The whole search: what it finds, that it survives a kill, and that its recipes are read."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import onnx_ir as ir
import optuna
import pytest

from edgeseq import api
from edgeseq.cli.compile import gather
from edgeseq.errors import BudgetError, UsageError
from edgeseq.options import CompileOptions, QuantizeOptions, SearchOptions, SparsityOptions
from edgeseq.quantize import command as quantization
from edgeseq.search import command, pareto
from edgeseq.search.space import Costs
from edgeseq.search.study import open_study
from edgeseq.train.compress import compress

STATES = (("h", "h_out"), ("c", "c_out"))


def options(clip: str, output: Path) -> CompileOptions:
    return CompileOptions(
        output, states=STATES, sparse=SparsityOptions(calibrate=(clip,)), targets=("x86-64",)
    )


def found(model: ir.Model, clip: str, costs: Costs, **wanted: object) -> pareto.Found:
    given = SearchOptions(**{"trials": 45, "densities": (0.25,), **wanted})  # type: ignore[arg-type]
    return command.search(model, options(clip, Path()), given, costs, lambda _: None)


def test_finds_what_is_smaller_faster_and_closer_than_uniform_int8(
    prepared: ir.Model, clip: str, costs: Costs
) -> None:
    result = found(prepared, clip, costs)
    int8 = next(t for t in result.tried if set(t.point.values()) == {"int8"}).measured
    best = [t.measured for t in result.front]
    assert any(
        m.nbytes < int8.nbytes and m.seconds < int8.seconds and m.error < int8.error for m in best
    )
    assert not any(pareto.beats(a, b) for a in best for b in best)
    assert len(result.tried) == 45


def test_limits_are_kept_or_it_is_said_how_close_it_came(
    prepared: ir.Model, clip: str, costs: Costs
) -> None:
    result = found(prepared, clip, costs, trials=12, max_size=12e3)
    assert result.front
    assert all(result.fixed + t.measured.nbytes <= 12e3 for t in result.front)
    wanted = SearchOptions(trials=12, max_size=1000)
    tight = found(prepared, clip, costs, trials=12, max_size=1000)
    assert tight.front == ()
    with pytest.raises(BudgetError, match="none of 12 points"):
        command.check_found(tight, wanted)


def test_a_recipe_gives_what_was_measured(
    small: onnx.ModelProto, prepared: ir.Model, clip: str, costs: Costs, tmp_path: Path
) -> None:
    given = options(clip, tmp_path)
    wanted = SearchOptions(trials=30, densities=(0.25,))
    result = command.search(prepared, given, wanted, costs, lambda _: None)
    pareto.write(result, str(tmp_path / "m.onnx"), given, tmp_path)
    points = json.loads((tmp_path / "pareto.json").read_text())["points"]
    mixed = max(points, key=lambda p: len({str(v) for v in p["layers"].values()}))
    _, chosen = gather(tmp_path / mixed["recipe"], {})
    assert chosen.states == STATES
    assert chosen.targets == ("x86-64",)
    assert chosen.sparse.hold_out
    schemes = {n: c["scheme"] for n, c in mixed["layers"].items()}
    assert chosen.quantize.schemes == schemes
    done = compress(prepared, chosen.sparse, 0, lambda _: None)
    stored = {row.name.partition("[")[0]: row.density for row in done.pruned.rows}
    assert stored["W"] == pytest.approx(mixed["layers"]["W"]["density"], abs=0.05)
    after = quantization.apply(done.model, chosen.quantize, chosen.sparse, 0, lambda _: None)
    assert {c.name: c.scheme for c in after.quantized.changes} == {
        n: s for n, s in schemes.items() if s != "float"
    }


def test_table_and_plot_are_written(
    prepared: ir.Model, clip: str, costs: Costs, tmp_path: Path
) -> None:
    result = found(prepared, clip, costs, trials=8)
    pareto.write(result, "m.onnx", options(clip, tmp_path), tmp_path)
    lines = (tmp_path / "pareto.txt").read_text().splitlines()
    assert len(lines) == len(result.front) + 1
    assert lines[0].split() == "point bytes us a step error, dB layers".split()
    plot = (tmp_path / "pareto.svg").read_text()
    assert plot.count('fill="#1a6fb5"') == 2 * len(result.front)
    assert plot.count("<circle") == 2 * len(result.tried)


def test_a_search_goes_on_after_a_kill(small: onnx.ModelProto, clip: str, tmp_path: Path) -> None:
    model, storage = tmp_path / "m.onnx", tmp_path / "study.db"
    onnx.save(small, model)
    wanted = SearchOptions(trials=500, storage=str(storage), densities=(0.5,))
    flags = f"search {model} --calibrate {clip} --state h=h_out --state c=c_out --target x86-64 "
    flags += f"--storage {storage} --trials 500 --densities 0.5 -o {tmp_path / 'out'} -q"
    process = subprocess.Popen([sys.executable, "-m", "edgeseq.cli", *flags.split()])
    end = time.monotonic() + 120
    while _count(storage) < 4 and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = _complete(storage)
    assert len(before) >= 4
    given = options(clip, tmp_path / "out")
    more = SearchOptions(trials=len(before) + 3, storage=str(storage), densities=(0.5,))
    measured: list[str] = []
    result = api.search_model(
        model, given, more, lambda e: measured.append(e.name) if e.stage == "search" else None
    )
    assert len(measured) == 3
    after = [dict(t.point) for t in result.tried]
    assert [point for point in after if point in before] == before
    assert (tmp_path / "out" / "point-01.toml").exists()
    other = SearchOptions(trials=9, storage=wanted.storage, densities=(0.25,))
    with pytest.raises(UsageError, match="another search"):
        api.search_model(model, options(clip, tmp_path / "new"), other)


def _count(storage: Path) -> int:
    """How many trials are complete; looking makes no tables, as optuna would."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{storage}?mode=ro", uri=True)) as base:
            (found,) = base.execute(
                "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
            ).fetchone()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return int(found)


def _complete(storage: Path) -> list[dict[str, str]]:
    study = optuna.load_study(study_name="edgeseq", storage=f"sqlite:///{storage}")
    return [t.params for t in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))]


def test_several_start_at_once(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    with ThreadPoolExecutor(4) as pool:
        studies = list(pool.map(lambda _: open_study(storage), range(4)))
    assert len({one.study_name for one in studies}) == 1


def test_bad_requests_are_named(prepared: ir.Model, clip: str, costs: Costs) -> None:
    with pytest.raises(UsageError, match="density 2"):
        found(prepared, clip, costs, densities=(2.0,))
    with pytest.raises(UsageError, match="unknown quantization 'int7'"):
        found(prepared, clip, costs, schemes=("int7",))
    with pytest.raises(UsageError, match="--trials -1"):
        found(prepared, clip, costs, trials=-1)
    with pytest.raises(UsageError, match="cannot use the storage"):
        found(prepared, clip, costs, storage="/no/such/folder/study.db")


def test_scales_of_each_step_though_there_are_samples(prepared: ir.Model, clip: str) -> None:
    wanted = QuantizeOptions("int8", {"head": "int8-dynamic"})
    done = quantization.apply(
        prepared, wanted, SparsityOptions(calibrate=(clip,)), 0, lambda _: None
    )
    how = {c.name: (c.scheme, c.activations) for c in done.quantized.changes}
    assert how["head"] == ("int8-dynamic", "dynamic")
    assert how["middle"] == ("int8", "static")


def test_schemes_by_name(prepared: ir.Model, clip: str) -> None:
    data = SparsityOptions(calibrate=(clip,))
    wanted = QuantizeOptions(scheme="int8", schemes={"mid*": "bf16", "head": "float"})
    done = quantization.apply(prepared.clone(), wanted, data, 0, lambda _: None)
    assert {c.name: c.scheme for c in done.quantized.changes} == {"W": "int8", "middle": "bf16"}
    for bad, message in (
        ({"nobody": "int8"}, "no layer is called 'nobody'"),
        ({"head": "int7"}, "unknown quantization 'int7'"),
    ):
        with pytest.raises(UsageError, match=message):
            quantization.apply(
                prepared.clone(), QuantizeOptions("int8", bad), data, 0, lambda _: None
            )
    with pytest.raises(UsageError, match="does not go with --quantize mixed"):
        quantization.apply(
            prepared.clone(),
            QuantizeOptions("mixed", {"head": "bf16"}),
            SparsityOptions(),
            0,
            lambda _: None,
        )
