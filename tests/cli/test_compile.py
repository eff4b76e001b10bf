"""`edgeseq compile` on small models: what it says, and every way it can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
) -> Path:
    def ports(described: dict[str, list[Any]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, FLOAT, s) for n, s in described.items()]

    graph = helper.make_graph(nodes, "g", ports(inputs), ports(outputs))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), file)
    return file


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    """y = relu(x) + s; s_out = y; gain is fed as an input."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["xg"], "amplify"),
        helper.make_node("Add", ["xg", "s"], ["y"], "add"),
        helper.make_node("Identity", ["y"], ["s_out"], "carry"),
    ]
    shape = [1, 4]
    inputs = {"x": shape, "s": shape, "gain": [1]}
    return save(tmp_path / "scale.onnx", nodes, inputs, {"y": shape, "s_out": shape})


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix not in (".onnx", ".npz", ".toml"))


def test_tables_files_and_numbers(edgeseq, scale: Path, tmp_path: Path) -> None:
    import edgeseq as package

    done = edgeseq("compile", scale, "-o", "dist", "--target", "c", "--const", "gain=3")
    assert done.returncode == 0, done.stderr
    for name in ("c/scale.c", "c/scale.h", "manifest.json", "model.onnx"):
        assert f" dist/{name} " in done.stdout
        assert (tmp_path / "dist" / name).is_file()
    assert "next: edgeseq validate dist, edgeseq inspect dist" in done.stdout
    assert "bind-shapes" in done.stderr
    assert leftovers(tmp_path) == ["dist"]
    stream = package.load(tmp_path / "dist").stream()
    x = np.ones((1, 4), np.float32)
    assert [stream.step(x)[0, 0] for _ in range(3)] == [3, 6, 9]


def test_json_is_one_object_on_stdout(inline, scale: Path, tmp_path: Path) -> None:
    flags = ["-o", "dist", "--target", "c", "--const", "gain=3", "--json", "--name", "amp"]
    done = inline("compile", scale, *flags)
    report = json.loads(done.stdout)
    assert report["output"] == "dist"
    assert report["name"] == "amp"
    assert set(report["targets"]) == {"c"}
    sizes = {f: (tmp_path / "dist" / f).stat().st_size for f in report["files"]}
    assert report["files"] == sizes
    assert {"c/amp.c", "manifest.json"} <= set(sizes)
    assert "import" in {e["stage"] for e in report["events"]}


def test_recipe_and_quiet(inline, scale: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "edgeseq.toml"
    recipe.write_text(
        '[compile]\nmodel = "scale.onnx"\noutput = "dist"\ntarget = "c"\nconst.gain = 2\n'
    )
    done = inline("compile", "--recipe", recipe, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    flags = json.loads((tmp_path / "dist/manifest.json").read_text())["flags"]
    assert flags["consts"] == {"gain": 2}


def test_another_cost_table_stands_in_the_manifest(inline, scale: Path, tmp_path: Path) -> None:
    from edgeseq.lower import costs

    table = costs.CostTable("a test", (1, 2), {})
    (tmp_path / "table.json").write_text(costs.dumps(table))
    flags = ["--target", "c", "-q", "--cost-table", "table.json"]
    done = inline("compile", scale, "-o", "dist", *flags)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "dist/manifest.json").read_text())
    assert manifest["cost_table"] == table.hash != costs.load().hash
    assert "cost_table" not in manifest["flags"]


def test_a_cost_table_that_is_none(inline, scale: Path, tmp_path: Path) -> None:
    done = inline("compile", scale, "-o", "dist", "--cost-table", scale, "-q")
    assert done.returncode == 2
    assert done.stderr.startswith("edgeseq: error: cannot read the cost table")
    assert leftovers(tmp_path) == []


def test_emit_ir_and_keep(inline, scale: Path, tmp_path: Path) -> None:
    flags = ["--target", "c", "--emit-ir", "fold-constants", "--keep", "kept"]
    done = inline("compile", scale, "-o", "dist", *flags)
    assert done.returncode == 0, done.stderr
    kept = sorted(p.name for p in (tmp_path / "kept").glob("*.onnx"))
    assert any("fold-constants" in name for name in kept)
    for file in [*(tmp_path / "kept").glob("*.onnx"), *(tmp_path / "dist").glob("*.onnx")]:
        onnx.checker.check_model(onnx.load(file))


def test_the_output_folder_is_not_overwritten(inline, scale: Path, tmp_path: Path) -> None:
    first = inline("compile", scale, "-o", "dist", "--target", "c", "--name", "one")
    assert first.returncode == 0, first.stderr
    again = inline("compile", scale, "-o", "dist", "--target", "c", "--name", "two")
    assert again.returncode == 2
    assert again.stderr.startswith("edgeseq: error: the output folder 'dist' exists\n  why: ")
    assert (tmp_path / "dist/c/one.c").is_file()
    forced = inline("compile", scale, "-o", "dist", "--target", "c", "--name", "two", "--force")
    assert forced.returncode == 0, forced.stderr
    assert [p.name for p in (tmp_path / "dist/c").glob("*.c")] == ["two.c"]
    assert leftovers(tmp_path) == ["dist"]


def test_force_replaces_nothing_but_artifacts(inline, scale: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    done = inline("compile", scale, "-o", "mine", "--target", "c", "--force")
    assert done.returncode == 2
    assert "'mine' is not an artifact, and --force replaces only artifacts" in done.stderr
    assert (mine / "thesis.txt").read_text() == "precious"


def test_unsupported_operators_are_all_listed(edgeseq, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Warp", ["x"], ["a"], "first", domain="my"),
        helper.make_node("Relu", ["a"], ["b"], "fine"),
        helper.make_node("Fold", ["b"], ["c"], "second", domain="my"),
        helper.make_node("Warp", ["c"], ["y"], "third", domain="my"),
    ]
    file = save(tmp_path / "m.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]})
    done = edgeseq("compile", file, "-o", "dist", "--target", "c", "-q")
    assert (done.returncode, done.stdout) == (3, "")
    assert "3 nodes of 2 operators are not supported: my.Fold, my.Warp" in done.stderr
    for name in ("first", "second", "third"):
        assert f"  at:  node '{name}' (my." in done.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "m.onnx: no such file\n"),
        (b"", "m.onnx is not an ONNX model, or is cut short\n"),
        (b"hello\n", "m.onnx is not an ONNX model, or is cut short\n"),
        ("truncated", "m.onnx is not an ONNX model, or is cut short\n"),
    ],
)
def test_files_that_are_no_models(
    inline, scale: Path, tmp_path: Path, content: bytes | str | None, what: str
) -> None:
    if content == "truncated":
        content = scale.read_bytes()[:-40]
    if isinstance(content, bytes):
        (tmp_path / "m.onnx").write_bytes(content)
    done = inline("compile", "m.onnx", "-o", "dist", "--target", "c", "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"edgeseq: error: {what}")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "dimensions without a size\n"),
        (["--shape", "x=2,3,4,5"], ""),
        (["--dim", "depth=2"], "--dim depth: the model has no such dimension\n"),
        (["--shape", "z=1"], "--shape z: the model has no such input\n"),
        (["--const", "z=1"], "--const z: the model has no such input\n"),
        (["--dim", "rows=2", "--dim", "columns=2", "--state", "x=q"], ""),
        (["--dim", "rows=2", "--dim", "columns=2", "--emit-ir", "nonsense"], "unknown stage"),
        (["--dim", "rows=2", "--dim", "columns=2", "--name", "a b"], "'a b' cannot be the prefix"),
        (["--dim", "rows=2", "--dim", "columns=2", "--inputs", "no.npz"], "cannot read sample"),
    ],
)
def test_flags_that_do_not_fit_the_model(
    inline, tmp_path: Path, flags: list[str], what: str
) -> None:
    shape = ["rows", "columns", 3]
    node = helper.make_node("Relu", ["x"], ["y"], "relu")
    file = save(tmp_path / "m.onnx", [node], {"x": shape}, {"y": shape})
    done = inline("compile", file, "-o", "dist", "--target", "c", "-q", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"edgeseq: error: {what}")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("after", ["import", "lower"])
def test_an_interrupt_leaves_nothing(scale: Path, tmp_path: Path, after: str) -> None:
    command = [sys.executable, "-m", "edgeseq.cli", "compile", str(scale), "-o", "dist"]
    process = subprocess.Popen(
        [*command, "--no-cache"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends the signal to the whole group
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(after):
            os.killpg(process.pid, signal.SIGINT)
            break
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (130, "")
    assert errors.endswith("edgeseq: interrupted\n")
    assert "Traceback" not in errors
    assert leftovers(tmp_path) == []
