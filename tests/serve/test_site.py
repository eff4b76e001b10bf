"""What is served about an artifact, and what is said about one that cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgeseq import serve
from edgeseq.errors import ToolchainError, UsageError
from edgeseq.serve import peer


@pytest.mark.slow
def test_the_description_points_at_the_recorded_arrays(step: Path) -> None:
    site = serve.prepare(step, sample_rate=8000)
    about = json.loads(site.files["about.json"])
    vectors = safetensors.numpy.load((step / "verify/vectors.safetensors").read_bytes())
    assert (about["name"], about["step"], about["stacked"]) == ("step", True, True)
    assert (about["sample_rate"], about["audio"], about["peer"]) == (8000, False, None)
    places = [(f"in.{t['name']}", t) for t in about["inputs"]]
    places += [(f"out.{t['name']}", t) for t in about["outputs"]]
    places += [(f"state.{s['name']}", s["recorded"]) for s in about["states"]]
    assert len(places) == 3
    for key, place in places:
        count = int(np.prod(place["shape"]))
        assert place["offset"] % 8 == 0
        found = np.frombuffer(
            site.files["vectors.bin"], place["stored"], count, place["offset"]
        ).reshape(place["shape"])
        np.testing.assert_array_equal(found, vectors[key])


@pytest.mark.slow
def test_the_package_is_served_as_it_lies(step: Path) -> None:
    site = serve.prepare(step)
    inside = {n.removeprefix("package/") for n in site.files if n.startswith("package/")}
    assert inside == {f.name for f in (step / "wasm").iterdir()}
    assert site.files["package/step.wasm"] == (step / "wasm/step.wasm").read_bytes()
    assert site.files[""] == site.files["index.html"]


@pytest.mark.slow
def test_an_artifact_without_wasm_says_how_to_compile(step: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    shutil.copytree(step, dist)
    manifest = json.loads((dist / "manifest.json").read_text())
    manifest["targets"]["x86-64"] = manifest["targets"].pop("wasm")
    manifest["source"]["spec"] = "m.onnx"
    (dist / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError) as raised:
        serve.prepare(dist)
    assert raised.value.render() == (
        f"'{dist}' has nothing that a browser runs\n"
        "  why: it was compiled for x86-64\n"
        f"  fix: edgeseq compile m.onnx --target wasm --target x86-64 -o '{dist}' --force"
    )


@pytest.mark.slow
def test_a_damaged_file_is_not_served(step: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    shutil.copytree(step, dist)
    file = dist / "wasm" / "step.wasm"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match="not as they were compiled"):
        serve.prepare(dist)


def test_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no compiled model in"):
        serve.prepare(tmp_path)


@pytest.mark.slow
def test_no_onnxruntime_web(step: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError) as raised:
        serve.prepare(step, onnxruntime_web=tmp_path)
    assert raised.value.fix == f"npm install --prefix '{tmp_path}' onnxruntime-web"


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["", "node_modules/onnxruntime-web"])
def test_onnxruntime_web_is_served_with_a_model_it_reads(
    step: Path, tmp_path: Path, inside: str
) -> None:
    package = tmp_path / inside
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}')
    for name in peer.FILES:
        (package / "dist" / name).write_bytes(name.encode())
    site = serve.prepare(step, onnxruntime_web=tmp_path)
    about = json.loads(site.files["about.json"])
    assert about["peer"]["version"] == "1.2.3"
    assert about["peer"]["constants"] == []
    assert site.files[f"peer/{peer.ENTRY}"] == peer.ENTRY.encode()
    assert site.files["peer/model.onnx"]


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(step: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseq.cli", "serve", str(step), "--no-open", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    url = process.stdout.readline().split(" on ")[1].strip()
    assert process.stdout.readline() == "Ctrl-C ends it\n"
    with urllib.request.urlopen(f"{url}about.json", timeout=120) as answer:
        assert json.load(answer)["name"] == "step"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")


def test_the_command_without_an_artifact(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeseq.cli", "serve", str(tmp_path / "dist"), "--no-open"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no compiled model in" in done.stderr
