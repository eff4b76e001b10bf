"""`validate`, `inspect` and `doctor` on one small artifact."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with leaky.onnx (y = 0.9 s + x, s_out = y) and dist."""
    from edgeseq import api
    from edgeseq.options import CompileOptions

    folder = tmp_path_factory.mktemp("leaky")
    shape = [1, 4]
    nodes = [
        helper.make_node("Mul", ["s", "decay"], ["kept"], "decay"),
        helper.make_node("Add", ["kept", "x"], ["y"], "add"),
        helper.make_node("Identity", ["y"], ["s_out"], "carry"),
    ]
    ports = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xsy"}
    ends = [ports["x"], ports["s"]], [ports["y"], helper.make_tensor_value_info("s_out", 1, shape)]
    decay = helper.make_tensor("decay", TensorProto.FLOAT, [1], [0.9])
    graph = helper.make_graph(nodes, "leaky", *ends, [decay])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.save(model, folder / "leaky.onnx")
    api.compile_model(
        str(folder / "leaky.onnx"), CompileOptions(folder / "dist", targets=("c",), name="leaky")
    )
    return folder


@pytest.fixture
def dist(compiled: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(compiled / "dist", tmp_path / "dist"))


def test_validate_passes_and_writes_junit(inline, compiled: Path, dist: Path) -> None:
    done = inline("validate", dist, "--junit", dist / "numerics.xml")
    assert done.returncode == 0
    assert "leaky on c: all 2 outputs within tolerance" in done.stdout
    assert 'failures="0"' in (dist / "numerics.xml").read_text()
    again = inline("validate", dist, "--against", compiled / "leaky.onnx")
    assert again.returncode == 0


def test_validate_fails_with_4_on_other_numbers(inline, dist: Path) -> None:
    file = dist / "verify/vectors.safetensors"
    vectors = load_file(file)
    vectors["out.y"][3] += 0.5
    save_file(vectors, file)
    manifest = json.loads((dist / "manifest.json").read_text())
    manifest["verify"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (dist / "manifest.json").write_text(json.dumps(manifest))
    done = inline("validate", dist, "--json", "--junit", dist / "numerics.xml")
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert not report["ok"]
    failed = [f for v in report["verdicts"] for f in v["findings"] if not f["ok"]]
    assert {f["name"] for f in failed} == {"y"}
    assert "<failure" in (dist / "numerics.xml").read_text()


def test_validate_refuses_changed_files(inline, dist: Path) -> None:
    with (dist / "c/leaky.c").open("a") as source:
        source.write("/* mine */\n")
    done = inline("validate", dist)
    assert done.returncode == 2
    assert "  at:  c/leaky.c: its SHA-256 is not the recorded one\n" in done.stderr


def test_validate_without_an_artifact(inline, tmp_path: Path) -> None:
    done = inline("validate", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"edgeseq: error: no compiled model in '{tmp_path}/none'\n"
        "  why: manifest.json is not there\n"
        f"  fix: edgeseq compile MODEL -o {tmp_path}/none\n"
    )


def test_inspect_an_artifact(inline, dist: Path) -> None:
    done = inline("inspect", dist, "--why")
    assert done.returncode == 0
    for cells in (["input", "x", "float32", "[1, 4]"], ["state", "s <- s_out", "float32"]):
        assert any(all(c in line for c in cells) for line in done.stdout.splitlines())
    assert json.loads(inline("inspect", dist, "--json").stdout)["name"] == "leaky"


def test_inspect_a_model(inline, compiled: Path) -> None:
    done = inline("inspect", compiled / "leaky.onnx", "--json", "--why")
    report = json.loads(done.stdout)
    assert report["operators"] == {"Add": 1, "Identity": 1, "Mul": 1}
    kinds = [(t["kind"], t["name"]) for t in report["tensors"]]
    assert kinds == [("input", "x"), ("state", "s <- s_out"), ("output", "y")]
    assert "bind-shapes" in [p["name"] for p in report["passes"]]


def test_emit_ir(inline, compiled: Path, tmp_path: Path) -> None:
    model = compiled / "leaky.onnx"
    text = inline("inspect", model, "--emit-ir", "import")
    assert "Mul" in text.stdout
    out = tmp_path / "after.onnx"
    assert inline("inspect", model, "--emit-ir", "eliminate-identity", "-o", out).returncode == 0
    onnx.checker.check_model(onnx.load(out))
    wrong = inline("inspect", model, "--emit-ir", "fold-constant")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(
        "edgeseq: error: unknown stage 'fold-constant'\n  fix: did you mean 'fold-constants'? "
    )


def test_catalogues(inline) -> None:
    for kind in ("passes", "targets"):
        names = [entry["name"] for entry in json.loads(inline(kind, "--json").stdout)]
        assert names == sorted(names)
        assert all(name in inline(kind).stdout for name in names)


def test_doctor(inline) -> None:
    report = json.loads(inline("doctor", "--json").stdout)
    assert report["machine"].keys() >= {"edgeseq", "python", "processor", "cache", "host target"}
    wanted = {p["package"] for p in report["packages"]}
    assert {"numpy", "onnx-ir", "apache-tvm", "torch"} <= wanted
    assert "pytest" not in wanted
    assert "cache" in inline("doctor").stdout
