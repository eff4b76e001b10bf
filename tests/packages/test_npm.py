"""The npm package, used from Node as a developer would, and its types."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeseq
from edgeseq import api
from edgeseq.options import CompileOptions

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
# y = FACTOR times the sum of all x so far
SUM = """<ir_version: 10, opset_import: ["" : 20]>
sum (float[1, 4] x, float[1, 4] h) => (float[1, 4] y, float[1, 4] h_out)
<float[1] factor = {FACTOR}>
{
    h_out = Add(h, x)
    y = Mul(h_out, factor)
}
"""
FRAME = np.array([[-1.5, -0.5, 0.5, 1.5]], np.float32)


@pytest.fixture(scope="module", params=["node.mjs", "inline.mjs"])
def found(request: pytest.FixtureRequest, step: Path, tmp_path_factory: Any) -> dict[str, Any]:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    package = tmp_path_factory.mktemp("a földer") / "wasm"  # spaces and other letters
    shutil.copytree(step / "wasm", package)
    done = subprocess.run(
        ["node", str(HERE / "api.mjs"), str(package), request.param],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_numbers_and_states(found: dict[str, Any], step: Path) -> None:
    stream = edgeseq.load(step, "x86-64").stream()
    wanted = np.concatenate([stream.step(FRAME) for _ in range(5)])
    close = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(found["first"], wanted[0], **close)
    np.testing.assert_allclose(found["second"], wanted[1], **close)
    assert found["cloned"] == found["second"]
    np.testing.assert_allclose(np.reshape(found["run"], (4, 2)), wanted[1:5], **close)
    assert found["run"][:2] == found["second"]
    assert found["reset"] == found["first"]
    assert found["parts"]


ERRORS = {
    "too many states": "step: all 3 states are in use: dispose() of one, or load({ maxStates })",
    "too many steps": "step: steps must be a whole number from 1 to 4, not 5",
    "half a step": "step: steps must be a whole number from 1 to 4, not 0.5",
    "unknown input": "step: no input 'z'; there are 'x'",
    "an output as input": "step: no input 'y'; there are 'x'",
    "a short state": "step: not a saved state: it must be a Uint8Array of 128 bytes",
    "a damaged state": "step: state was not initialised: call step_init first",
    "a state of another model": "step: state belongs to another model",
    "a disposed state": "step: this state was disposed of",
    "a state made by hand": "step: states are made by model.createState()",
    "short weights": "step: the weights have 552 bytes instead of 560",
    "other weights": "step: the weights are of another model, or damaged",
    "no states": "step: maxStates must be a whole number from 1 to 65536, not 0",
    "another module": "step: the WebAssembly module is of another model",
    "a long array": "RangeError",
    "no SIMD": "step: this browser has no WebAssembly SIMD: update it (any since 2023 will do)",
}


def test_misuse_is_said_in_words(found: dict[str, Any]) -> None:
    cut = found["errors"].pop("a truncated module")
    assert cut.startswith("step: 'cut.wasm' is not a whole WebAssembly module: ")
    assert found["errors"] == ERRORS
    assert found["untouched"]


VERSIONS = """
const [old, now] = await Promise.all(['old', 'now'].map((f) => import(`./${f}/node.mjs`)));
const made = [(await old.load()).createState(), (await now.load()).createState()];
const turns = [];
for (let i = 0; i < 3; i++) {
  for (const state of made) {
    state.input('x').fill(i + 1);
    state.step();
    turns.push(state.output('y')[0]);
  }
}
let why = null;
try {
  made[0].restore(made[1].serialize());
} catch (error) {
  why = error instanceof old.ModelError && !(error instanceof now.ModelError) && error.message;
}
console.log(JSON.stringify({ turns, why, hashes: [old.model.hash, now.model.hash] }));
"""


def test_two_versions_of_a_model_on_one_page(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    for name, factor in (("old", 2.0), ("now", -3.0)):
        options = CompileOptions(tmp_path / f"{name}-dist", ("wasm",), name="sum")
        text = SUM.replace("FACTOR", str(factor))
        built = api.compile_model(onnx.parser.parse_model(text), options).folder
        (built / "wasm").rename(tmp_path / name)
    (tmp_path / "page.mjs").write_text(VERSIONS)
    done = subprocess.run(
        ["node", "page.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["turns"] == [2, -3, 6, -9, 12, -18]
    assert found["why"] == "sum: state belongs to another model"
    assert found["hashes"][0] != found["hashes"][1]


def test_the_modules_need_nothing(step: Path) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    engine = wasmtime.Engine(config)
    for name in ("step.wasm", "step.relaxed-simd.wasm"):
        module = wasmtime.Module.from_file(engine, str(step / "wasm" / name))
        assert list(module.imports) == []


def test_no_eval_and_no_network(step: Path) -> None:
    for name in ("core.mjs", "inline.mjs"):
        text = (step / "wasm" / name).read_text()
        for word in ("eval(", "new Function", "fetch(", "SharedArrayBuffer", "import("):
            assert word not in text, (name, word)


USE = """
import { load, model, type Inputs } from 'step';
const loaded = await load({ maxStates: 2 });
const state = loaded.createState();
const x: Float32Array = state.input('x');
const y: Float32Array = state.output('y');
const shape: readonly [1, 4] = model.inputs.x.shape;
const name: keyof Inputs = 'x';
x.set(y.subarray(0, shape[0]));
state.input(name);
// @ts-expect-error there is no such input
state.input('z');
// @ts-expect-error an output is no input
state.input('y');
"""


def test_types(step: Path, tmp_path: Path) -> None:
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("needs tsc: apt-get install node-typescript")
    shutil.copytree(step / "wasm", tmp_path / "node_modules" / "step")
    (tmp_path / "use.mts").write_text(USE)
    flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    flags += ["--lib", "es2022,dom"]
    done = subprocess.run(
        [tsc, *flags, "use.mts"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_package_json_names_what_is_there(step: Path, sequence: Path) -> None:
    for dist in (step, sequence):
        package = json.loads((dist / "wasm" / "package.json").read_text())
        for entry in package["exports"].values():
            paths = entry.values() if isinstance(entry, dict) else [entry]
            for path in paths:
                assert "*" in path or (dist / "wasm" / path).is_file(), path
