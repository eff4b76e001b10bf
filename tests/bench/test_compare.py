"""Both sides run the same model on the same frames, and say so when they do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeseq import api
from edgeseq.bench import bench_model
from edgeseq.bench.compiled import Compiled
from edgeseq.bench.frames import recorded
from edgeseq.errors import NumericsError, UsageError
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target, load

Small = tuple[Path, Path]


@pytest.mark.parametrize("source", ["original", "artifact"])
def test_a_report_on_a_model_with_state(small: Small, source: str) -> None:
    file, dist = small
    report = bench_model(dist, str(file) if source == "original" else None, rounds=3, calls=37)
    assert report.microseconds.keys() == {"edgeseq", "onnxruntime"}
    assert all(s.p10 <= s.median <= s.p90 for s in report.microseconds.values())
    assert report.difference["onnxruntime"] < 1e-5
    assert report.latency.keys() == report.cold.keys() == {"edgeseq", "onnxruntime"}
    assert all(0 < found.p50 <= found.p99 for found in report.latency.values())
    assert report.weight_bytes == 0 or report.bandwidth
    assert (report.call, report.called_from, report.rounds) == ("step", "C", 3)
    json.dumps(dataclasses.asdict(report))


def test_beside_another_artifact(small: Small, wrong: Path, tmp_path: Path) -> None:
    file, dist = small
    options = CompileOptions(tmp_path / "edgeseq", (host_target(),), consts={"gain": 0.5})
    api.compile_model(str(file), options)
    report = bench_model(dist, str(options.output), rounds=2, calls=20)
    assert report.microseconds.keys() == {"edgeseq", "edgeseq/"}
    assert report.against == str(options.output)
    assert report.difference["edgeseq/"] < 1e-5
    options = dataclasses.replace(options, output=tmp_path / "wrong")
    api.compile_model(str(wrong), options)
    with pytest.raises(NumericsError, match="edgeseq and wrong/ differ after 20 calls"):
        bench_model(dist, str(options.output), rounds=1, calls=20)
    options = dataclasses.replace(options, output=tmp_path / "split", stream=False)
    api.compile_model(str(file), options)
    with pytest.raises(UsageError, match="called in another way than 'small'"):
        bench_model(dist, str(options.output), rounds=1, calls=20)


def test_other_numbers_are_refused(small: Small, wrong: Path) -> None:
    with pytest.raises(NumericsError, match="edgeseq and onnxruntime differ after 20 calls"):
        bench_model(small[1], str(wrong), rounds=1, calls=20)


def test_another_model_is_refused(small: Small, tmp_path: Path) -> None:
    from edgeseq.bench import write_adder

    adder = write_adder(tmp_path / "adder.onnx")
    with pytest.raises(UsageError, match="has no input 's', a state of 'small'"):
        bench_model(small[1], str(adder), rounds=1, calls=1)


def test_missing_and_broken_models(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        bench_model(small[1], str(tmp_path / "none.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UsageError, match="ONNX Runtime cannot open"):
        bench_model(small[1], str(tmp_path / "text.onnx"))


def test_without_a_compiler_it_is_called_from_python(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    report = bench_model(small[1], rounds=2, calls=10)
    assert report.called_from == "Python"


def test_the_c_loop_steps_as_python_does(small: Small) -> None:
    dist = small[1]
    model = load(dist)
    side = Compiled(model, recorded(dist, model, whole=False))
    frames = recorded(dist, model, whole=False).calls
    side.reset()
    side.time(2 * len(frames) + 3)
    stream = model.stream()
    for index in range(2 * len(frames) + 3):
        expected = stream.step(frames[index % len(frames)])
    assert isinstance(expected, dict)
    assert (side._stream.state("s") == stream.state("s")).all()


def test_frames_are_those_recorded(small: Small) -> None:
    dist = small[1]
    model = load(dist)
    steps = recorded(dist, model, whole=False)
    whole = recorded(dist, model, whole=True)
    assert steps.steps is None
    assert whole.steps is not None
    for index, frame in enumerate(steps.calls):
        for name, array in frame.items():
            assert (whole.calls[0][name][index] == array).all()


def test_missing_vectors(small: Small, tmp_path: Path) -> None:
    model = load(small[1])
    with pytest.raises(UsageError, match=r"vectors\.safetensors' is missing"):
        recorded(tmp_path, model, whole=False)


def test_a_model_whose_state_was_hidden_is_timed_on_whole_sequences(tmp_path: Path) -> None:
    """The user's GRU has no state inputs; the compiled one carries what the passes exposed."""
    rng = np.random.default_rng(1)
    shapes = {"W": [1, 12, 3], "R": [1, 12, 4], "B": [1, 24]}
    constants = [
        onnx.numpy_helper.from_array(rng.standard_normal(s).astype(np.float32) * 0.3, n)
        for n, s in shapes.items()
    ]
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["y", ""], "gru", hidden_size=4)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", 1, 1, 4])
    graph = helper.make_graph([node], "gru", [x], [y], constants)
    file, dist = tmp_path / "gru.onnx", tmp_path / "dist"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), file)
    api.compile_model(str(file), CompileOptions(dist, targets=("c",), dims={"T": (1, 100)}))
    whole = bench_model(dist, str(file), rounds=2, calls=80)
    assert whole.call.startswith("sequence of ")
    stepwise = bench_model(dist, rounds=2, calls=20)
    assert stepwise.call == "step"
