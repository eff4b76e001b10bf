"""Every engine runs what it says it runs, and says what is wrong with what it is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeseq import api, engines, validate
from edgeseq.cli import main
from edgeseq.errors import EdgeseqError, ToolchainError, UsageError
from edgeseq.options import CompileOptions
from tests.e2e import models

pytestmark = pytest.mark.slow

PAIRS = [(engine, target) for engine in engines.names() for target in engines.find(engine).targets]


def have(engine: str) -> None:
    programs = {"node": "node", "chromium": "chromium", "qemu": "qemu-aarch64-static"}
    if engine in programs and shutil.which(programs[engine]) is None:
        pytest.skip(f"needs {programs[engine]}")


@pytest.mark.parametrize(("engine", "target"), PAIRS)
@pytest.mark.parametrize("model", ["step", "sequence"])
def test_numbers(engine: str, target: str, model: str, request: pytest.FixtureRequest) -> None:
    have(engine)
    dist = request.getfixturevalue(model)
    with engines.opened(dist, target, engine) as runner:
        verdict = validate.check(dist, target, runner)
    assert verdict.ok, validate.to_text(verdict)
    assert {"numbers"} <= {f.check for f in verdict.findings}


def test_a_suite_for_each_engine(step: Path, tmp_path: Path) -> None:
    have("node")
    junit = tmp_path / "found.xml"
    command = ["validate", str(step), "--target", "wasm", "--junit", str(junit)]
    assert main([*command, "--engine", "node", "--engine", "wasmtime"]) == 0
    suites = ElementTree.parse(junit).getroot().findall("testsuite")
    assert [s.get("name") for s in suites] == ["step on wasm in node", "step on wasm in wasmtime"]
    assert all(s.get("failures") == "0" and s.findall("testcase") for s in suites)


def test_a_module_for_relaxed_simd_alone(tmp_path: Path) -> None:
    """Where --isa leaves out the other one."""
    options = CompileOptions(tmp_path / "dist", ("wasm",), isa="relaxed-simd", name="step")
    dist = api.compile_model(models.build(models.STEP), options).folder
    assert [f.name for f in (dist / "wasm").glob("*.wasm")] == ["step.relaxed-simd.wasm"]
    for engine in ("wasmtime", *(["node"] if shutil.which("node") else [])):
        with engines.opened(dist, "wasm", engine) as model:
            assert validate.check(dist, "wasm", model).ok


def test_what_the_target_needs(step: Path) -> None:
    assert engines.choose("wasm") == "wasmtime"
    assert engines.choose("arm64-android") == "qemu"
    assert engines.choose("c") == "native"
    assert engines.choose("arm64-ios") is None
    assert engines.choose("wasm", "native") is None


def test_misuse(step: Path) -> None:
    for target, engine, what in (
        ("wasm", "qemu", "engine 'qemu' does not run target 'wasm'"),
        ("arm64-ios", None, "nothing here runs target 'arm64-ios'"),
        ("wasm", "wasmtim", "unknown engine 'wasmtim'"),
        ("armv8", None, f"'{step}' has no target 'armv8'"),
    ):
        with pytest.raises(UsageError) as raised, engines.opened(step, target, engine):
            pass
        assert raised.value.what == what


@pytest.mark.parametrize("engine", ["wasmtime", "node", "chromium"])
@pytest.mark.parametrize("fault", ["truncated", "weights"])
def test_damaged_files(engine: str, fault: str, step: Path, tmp_path: Path) -> None:
    have(engine)
    dist = tmp_path / "dist"
    shutil.copytree(step, dist)
    for file in (dist / "wasm").glob("*.wasm" if fault == "truncated" else "*.bin"):
        content = file.read_bytes()
        file.write_bytes(content[:200] if fault == "truncated" else content[::-1])
    wanted = "whole WebAssembly module" if fault == "truncated" else "weights"
    with pytest.raises(UsageError, match=wanted), engines.opened(dist, "wasm", engine):
        pass


@pytest.mark.parametrize(("engine", "target"), PAIRS)
def test_a_missing_engine_is_exit_6(
    engine: str, target: str, step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "wasmtime", None)
    with pytest.raises(ToolchainError) as raised, engines.opened(step, target, engine):
        pass
    assert raised.value.exit_code == 6
    assert raised.value.fix


def test_the_library_refuses_a_foreign_state(step: Path) -> None:
    have("qemu")
    for target, engine in (("arm64-linux", "qemu"), ("wasm", "wasmtime")):
        with engines.opened(step, target, engine) as model:
            stream = model.stream()
            saved = bytearray(stream.save())
            saved[16] ^= 1
            with pytest.raises(EdgeseqError, match="another model"):
                stream.load(bytes(saved))


def test_a_wrong_number_is_found(step: Path, tmp_path: Path) -> None:
    """Exit 4, were it not so: the vectors of one run against the library of another."""
    from safetensors.numpy import load_file, save_file

    dist = tmp_path / "dist"
    shutil.copytree(step, dist)
    file = dist / "verify" / "vectors.safetensors"
    vectors = {name: np.array(array) for name, array in load_file(file).items()}
    vectors["out.y"][3, 0, 1] += 1e-3
    save_file(vectors, file)
    manifest = json.loads((dist / "manifest.json").read_text())
    manifest["verify"].pop("sha256")
    (dist / "manifest.json").write_text(json.dumps(manifest))
    with engines.opened(dist, "wasm") as model:
        verdict = validate.check(dist, "wasm", model)
    assert not verdict.ok


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_a_processor_without_the_level_says_so(
    cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have("qemu")
    options = CompileOptions(tmp_path / "dist", ("arm64-linux",), isa="neon-dotprod", name="step")
    dist = api.compile_model(models.build(models.STEP), options).folder
    monkeypatch.setenv("QEMU_CPU", cpu)
    if cpu == "cortex-a76":
        with engines.opened(dist, "arm64-linux") as model:
            assert validate.check(dist, "arm64-linux", model).ok
    else:
        with pytest.raises(UsageError, match="lacks instructions"):  # noqa: SIM117
            with engines.opened(dist, "arm64-linux"):
                pass
