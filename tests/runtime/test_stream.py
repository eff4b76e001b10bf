"""Steps, chunks, states and threads."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import edgeseq
from edgeseq.errors import UsageError

X = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
ONE = np.ones(1, np.int32)


@pytest.mark.parametrize("target", [None, "c"])
def test_step_carries_the_state(loop_model: Path, target: str | None) -> None:
    stream = edgeseq.load(loop_model, target).stream()
    first = stream.step(X, ONE)
    second = stream.step({"x": X, "gain": ONE})
    third = stream.step(X, gain=[2])
    np.testing.assert_array_equal(first["y"], X)
    np.testing.assert_array_equal(second["y"], 2 * X)
    np.testing.assert_array_equal(third["y"], 4 * X)
    assert [int(r["n"]) for r in (first, second, third)] == [1, 2, 3]
    assert third["n"].dtype == np.int64


@pytest.mark.parametrize("chunks", [[1] * 7, [2, 2, 3], [7], [1, 5, 1]])
def test_chunks_equal_steps(loop_model: Path, chunks: list[int]) -> None:
    model = edgeseq.load(loop_model)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((7, 2, 3), np.float32)
    gain = rng.integers(-3, 4, (7, 1), np.int32)
    whole = model.run(x, gain)
    stream, at, parts = model.stream(), 0, []
    for n in chunks:
        parts.append(stream.run(x[at : at + n], gain[at : at + n])["y"])
        at += n
    np.testing.assert_array_equal(np.concatenate(parts), whole["y"])
    np.testing.assert_array_equal(whole["n"], np.arange(1, 8))


def test_one_frame_through_run_is_one_step(loop_model: Path) -> None:
    result = edgeseq.load(loop_model).run(X, ONE)
    assert result["y"].shape == (2, 3)
    assert result["n"].shape == ()


def test_graph_model_runs_whole_sequences_of_any_length(graph_model: Path) -> None:
    model = edgeseq.load(graph_model)
    bias = np.array([10, 20], np.float32)
    for steps in (2, 3, 5000):
        x = np.ones((1, steps, 2), np.float32)
        y = model.run(x, bias)
        assert isinstance(y, np.ndarray)
        np.testing.assert_array_equal(y, np.cumsum(x, 1) + bias)


def test_save_and_load_continue_exactly(loop_model: Path) -> None:
    model = edgeseq.load(loop_model)
    stream = model.stream()
    stream.step(X, ONE)
    saved = stream.save()
    ahead = stream.step(X, ONE)["y"]
    other = model.stream()
    other.load(saved)
    np.testing.assert_array_equal(other.step(X, ONE)["y"], ahead)


def test_states_are_read_and_written_by_either_name(loop_model: Path) -> None:
    stream = edgeseq.load(loop_model).stream()
    stream.set_state("acc", 5 * X.astype(np.float64))
    stream.set_state("count_out", 41)
    result = stream.step(X, ONE)
    np.testing.assert_array_equal(result["y"], 6 * X)
    assert int(result["n"]) == 42
    copy = stream.state("acc_out")
    copy[:] = 0
    np.testing.assert_array_equal(stream.state("acc"), 6 * X)
    stream.reset()
    np.testing.assert_array_equal(stream.state("acc"), 0 * X)


def test_streams_do_not_disturb_each_other(loop_model: Path) -> None:
    model = edgeseq.load(loop_model)
    a, b = model.stream(), model.stream()
    for _ in range(3):
        a.step(X, ONE)
        b.step(-X, ONE)
    np.testing.assert_array_equal(a.state("acc"), 3 * X)
    np.testing.assert_array_equal(b.state("acc"), -3 * X)


def test_threads_share_a_model(graph_model: Path) -> None:
    model = edgeseq.load(graph_model)
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.full((1, 500, 2), seed, np.float32)
        expected = np.cumsum(x, 1)
        for _ in range(50):
            if not np.array_equal(model.run(x, np.zeros(2, np.float32)), expected):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_bound_step_reads_and_writes_its_own_arrays(loop_model: Path) -> None:
    bound = edgeseq.load(loop_model).stream().bind()  # the stream itself goes out of scope
    bound.inputs["x"][:] = X
    bound.inputs["gain"][:] = 3
    bound()
    bound()
    np.testing.assert_array_equal(bound.outputs["y"], 6 * X)
    assert all(a.ctypes.data % 64 == 0 for a in (*bound.inputs.values(), *bound.outputs.values()))


def test_a_closed_stream_says_so(loop_model: Path) -> None:
    with edgeseq.load(loop_model).stream() as stream:
        stream.step(X, ONE)
    with pytest.raises(UsageError, match="the stream of 'acc' is closed"):
        stream.step(X, ONE)
    assert repr(stream) == "<edgeseq.Stream of acc: closed>"


def test_non_contiguous_and_fortran_inputs_are_copied(loop_model: Path) -> None:
    stream = edgeseq.load(loop_model).stream()
    np.testing.assert_array_equal(stream.step(np.asfortranarray(X), ONE)["y"], X)
    wide = np.zeros((2, 6), np.float32)
    wide[:, ::2] = X
    stream.reset()
    np.testing.assert_array_equal(stream.step(wide[:, ::2], ONE)["y"], X)


def test_repr_lists_inputs_outputs_states(loop_model: Path) -> None:
    assert repr(edgeseq.load(loop_model, "c")) == (
        "<edgeseq.Model acc on c\n"
        "  in    x: float32[2, 3]\n"
        "  in    gain: int32[1]\n"
        "  out   y: float32[2, 3]\n"
        "  out   n: int64[]\n"
        "  state acc: float32[2, 3]\n"
        "  state count: int64[]>"
    )
