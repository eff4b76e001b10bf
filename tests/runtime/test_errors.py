"""Whole messages: what the user reads when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseq
from edgeseq.errors import EdgeseqError, ToolchainError, UsageError
from edgeseq.runtime._library import host_target

X = np.zeros((2, 3), np.float32)
ONE = np.ones(1, np.int32)
BIAS = np.zeros(2, np.float32)
Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def message(call: Callable[[], object], kind: type[EdgeseqError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_no_artifact(tmp_path: Path) -> None:
    assert message(lambda: edgeseq.load(tmp_path)) == (
        f"no compiled model in '{tmp_path}'\n"
        "  why: manifest.json is not there\n"
        f"  fix: edgeseq compile MODEL -o {tmp_path}"
    )


def test_truncated_manifest(loop_model: Path) -> None:
    file = loop_model / "manifest.json"
    file.write_text(file.read_text()[:100])
    text = message(lambda: edgeseq.load(loop_model))
    assert text.startswith(f"cannot read '{file}'\n  why: ")
    assert text.endswith("\n  fix: compile the model again")


def test_other_format(loop_model: Path, edit: Edit) -> None:
    edit(loop_model, lambda raw: raw.update(format=7))
    assert message(lambda: edgeseq.load(loop_model)) == (
        f"'{loop_model}/manifest.json' has format 7\n"
        "  why: this version of edgeseq reads format 1\n"
        "  fix: compile the model again with this version of edgeseq"
    )


def test_missing_entry(loop_model: Path, edit: Edit) -> None:
    edit(loop_model, lambda raw: raw["modes"].pop("run"))
    assert "why: the entry 'run' is missing" in message(lambda: edgeseq.load(loop_model))


def test_unknown_dtype(loop_model: Path, edit: Edit) -> None:
    edit(loop_model, lambda raw: raw["inputs"][0].update(dtype="float31"))
    assert "why: unknown dtype 'float31'; known: bfloat16, bool," in message(
        lambda: edgeseq.load(loop_model)
    )


@pytest.mark.parametrize("size", ["T **2", "f(T)", "T +", "T / 0"])
def test_unknown_size(loop_model: Path, edit: Edit, size: str) -> None:
    edit(loop_model, lambda raw: raw["outputs"][0].update(shape=[size]))
    assert message(lambda: edgeseq.load(loop_model)).startswith(
        f"cannot read '{loop_model}/manifest.json'\n  why: "
    )


def test_unknown_target(loop_model: Path) -> None:
    wanted = host_target() + "x"
    assert message(lambda: edgeseq.load(loop_model, wanted)) == (
        f"'{loop_model}' has no target '{wanted}'\n"
        f"  fix: did you mean '{host_target()}'? compiled: c, {host_target()}"
    )


def test_nothing_for_this_machine(loop_model: Path, edit: Edit) -> None:
    edit(loop_model, lambda raw: raw.update(targets={"wasm": raw["targets"]["c"]}))
    text = message(lambda: edgeseq.load(loop_model))
    assert f"why: this machine is {host_target()}; compiled: wasm" in text


def test_target_without_library_or_source(loop_model: Path, edit: Edit) -> None:
    wasm = {"files": {"wasm/acc.wasm": "00"}, "library": None}
    edit(loop_model, lambda raw: raw["targets"].update(wasm=wasm))
    text = message(lambda: edgeseq.load(loop_model, "wasm"))
    assert text.startswith(f"target 'wasm' of '{loop_model}' does not run from Python")


def test_library_missing(loop_model: Path) -> None:
    file = loop_model / host_target() / "libacc.so"
    file.unlink()
    assert message(lambda: edgeseq.load(loop_model)) == (
        f"the library '{file}' is missing\n  fix: compile the model again"
    )


def test_library_of_another_processor(loop_model: Path) -> None:
    file = loop_model / host_target() / "libacc.so"
    elf = bytearray(file.read_bytes())
    elf[18:20] = (243).to_bytes(2, "little")
    file.write_bytes(elf)
    assert message(lambda: edgeseq.load(loop_model)) == (
        f"cannot load '{file}' on this machine ({host_target()})\n"
        "  why: it was built for riscv\n"
        "  fix: pass target='c', or compile for this machine"
    )


def test_library_is_not_one(loop_model: Path) -> None:
    (loop_model / host_target() / "libacc.so").write_bytes(b"hello")
    text = message(lambda: edgeseq.load(loop_model))
    assert "why: the file is not a shared library of this system" in text


def test_library_of_another_model(loop_model: Path, edit: Edit) -> None:
    edit(loop_model, lambda raw: raw.update(name="other"))
    assert message(lambda: edgeseq.load(loop_model)) == (
        f"the library of target '{host_target()}' has no function 'other_state_size'\n"
        "  why: it was not built from this manifest\n"
        "  fix: compile the model again"
    )


def test_changed_file(loop_model: Path) -> None:
    edgeseq.load(loop_model, "c", check=True)
    with (loop_model / "c/acc.c").open("a") as source:
        source.write("/* changed */\n")
    assert message(lambda: edgeseq.load(loop_model, "c", check=True)) == (
        f"files of target 'c' in '{loop_model}' are not as they were compiled\n"
        "  at:  c/acc.c: its SHA-256 is not the recorded one\n"
        "  fix: compile the model again"
    )


def test_no_c_compiler(loop_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler --flag")
    text = message(lambda: edgeseq.load(loop_model, "c"), ToolchainError)
    assert text.startswith("cannot run the C compiler 'no-such-compiler'\n  why: ")
    assert text.endswith("\n  fix: install a C compiler, or set CC")


def test_c_compiler_fails(loop_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -include no_such_header.h")
    text = message(lambda: edgeseq.load(loop_model, "c"), ToolchainError)
    assert "no_such_header.h" in text


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (
            (X,),
            {},
            "input 'gain' is missing\n  why: inputs: x: float32[2, 3]; gain: int32[1]",
        ),
        ((X, ONE, ONE), {}, "3 inputs given, 'acc' takes 2: ['x', 'gain']"),
        (
            (X,),
            {"gian": ONE},
            "'acc' has no input 'gian'\n  why: inputs: x: float32[2, 3]; gain: int32[1]\n"
            "  fix: did you mean 'gain'?",
        ),
        (
            (X,),
            {"x": X},
            "input 'x' was given twice\n  why: inputs: x: float32[2, 3]; gain: int32[1]",
        ),
        (
            (X.astype(np.int64), ONE),
            {},
            "'x' must be float32, got int64\n"
            "  why: edgeseq converts between float types and between integer types only\n"
            "  fix: x.astype(numpy.float32)",
        ),
        (
            (X.T, ONE),
            {},
            "'x' must have the shape [2, 3], got [3, 2]\n  fix: run() takes many steps",
        ),
    ],
)
def test_wrong_inputs_of_step(
    loop_model: Path, args: tuple[object, ...], kwargs: dict[str, object], expected: str
) -> None:
    stream = edgeseq.load(loop_model).stream()
    assert message(lambda: stream.step(*args, **kwargs)) == expected


@pytest.mark.parametrize(
    ("x", "gain", "expected"),
    [
        (
            np.zeros((4, 2, 3), np.float32),
            ONE,
            "'gain' must have the shape [4, 1], got [1]\n"
            "  fix: one frame is [1]; T of them are [T, 1]",
        ),
        (
            np.zeros((4, 2, 3), np.float32),
            np.ones((3, 1), np.int32),
            "'gain' must have the shape [4, 1], got [3, 1]\n"
            "  fix: one frame is [1]; T of them are [T, 1]",
        ),
        (
            np.zeros(3, np.float32),
            ONE,
            "'x' must have the shape [1, 2, 3], got [3]\n"
            "  fix: one frame is [2, 3]; T of them are [T, 2, 3]",
        ),
        (
            np.zeros((0, 2, 3), np.float32),
            np.ones((0, 1), np.int32),
            "0 steps given\n  why: 'acc' was compiled for at least 1\n"
            "  fix: split the sequence: stream().run(chunk) keeps the state between chunks",
        ),
    ],
)
def test_wrong_shapes_of_a_stacked_run(
    loop_model: Path, x: object, gain: object, expected: str
) -> None:
    model = edgeseq.load(loop_model)
    assert message(lambda: model.run(x, gain)) == expected


def test_wrong_lengths_of_a_sequence(graph_model: Path) -> None:
    model = edgeseq.load(graph_model)
    for steps in (1, 5001):
        text = message(lambda n=steps: model.run(np.zeros((1, n, 2), np.float32), BIAS))  # type: ignore[misc]
        assert text.startswith(
            f"{steps} steps given\n  why: 'cumsum' was compiled for from 2 to 5000\n"
        )
    assert message(lambda: model.run(np.zeros((2, 9, 2), np.float32), BIAS)) == (
        "'x' must have the shape [1, T, 2], got [2, 9, 2]"
    )


def test_no_step(graph_model: Path) -> None:
    stream = edgeseq.load(graph_model).stream()
    assert message(lambda: stream.step(X, BIAS)) == (
        "'cumsum' has no single step\n"
        "  why: the whole sequence is needed\n"
        "  fix: call run() with the whole sequence"
    )


def test_unknown_state(loop_model: Path, graph_model: Path) -> None:
    stream = edgeseq.load(loop_model).stream()
    assert message(lambda: stream.state("cuont")) == (
        "'acc' has no state 'cuont'\n  fix: did you mean 'count'? states: acc, count"
    )
    assert message(lambda: stream.set_state("acc", X[0])) == (
        "'acc' must have the shape [2, 3], got [3]"
    )
    bare = edgeseq.load(graph_model).stream()
    assert message(lambda: bare.state("h")).endswith("fix: the model carries no state")


def test_saved_states_of_others(loop_model: Path) -> None:
    stream = edgeseq.load(loop_model).stream()
    assert message(lambda: stream.load(b"short")) == (
        "not a saved state of 'acc'\n  why: it has 5 bytes, a state has 192"
    )
    assert message(lambda: stream.load(bytes(192))) == (
        "'acc' failed in load\n  why: the saved state is not of this model (error 3)"
    )


def test_runtime_needs_numpy_alone(loop_model: Path) -> None:
    """Load and step in a process where everything but the standard library and numpy is barred."""
    program = """
import sys, json
class Bar:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "edgeseq"):
            raise ImportError(f"{name} is barred")
sys.meta_path.insert(0, Bar())
import numpy, edgeseq
before = set(sys.modules)
stream = edgeseq.load(sys.argv[1]).stream()
stream.step(numpy.zeros((2, 3), "float32"), [1])
print(json.dumps(sorted(m for m in sys.modules if m.startswith("edgeseq"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(loop_model)], capture_output=True, text=True, check=True
    )
    ours = {m for m in json.loads(done.stdout) if not m.startswith("edgeseq.runtime")}
    assert ours == {"edgeseq", "edgeseq.errors"}
