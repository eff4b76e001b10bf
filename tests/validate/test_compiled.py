"""The whole way: a model is compiled, and its library is validated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from edgeseq import api, validate
from edgeseq.errors import UsageError
from edgeseq.options import CompileOptions

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'
MODEL = """
leaky (float[1, 3] x, float[1, 3] s) => (float[1, 3] y, float[1, 3] s_out)
<float[1] decay = {%s}>
{
    kept = Mul(s, decay)
    s_out = Add(kept, x)
    y = Tanh(s_out)
}
"""


def save(file: Path, decay: str) -> Path:
    ir.save(ir.from_onnx_text(HEADER + MODEL % decay), file)
    return file


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    options = CompileOptions(folder / "dist", (api.host_targets()[0],))
    api.compile_model(save(folder / "leaky.onnx", "0.9"), options)
    return folder / "dist"


def test_the_compiled_library_passes(dist: Path) -> None:
    verdict = validate.check(dist, api.host_targets()[0])
    assert verdict.ok, validate.to_text(verdict)
    assert {"numbers", "last state", "single steps", "saved state"} <= {
        f.check for f in verdict.findings
    }


def test_against_the_same_model(dist: Path) -> None:
    same = validate.against(dist, str(dist.parent / "leaky.onnx"))
    verdict = validate.check(dist, api.host_targets()[0], against=same)
    assert verdict.ok, validate.to_text(verdict)
    assert verdict.oracle == "interpreter float64"


def test_against_another_model(dist: Path, tmp_path: Path) -> None:
    other = validate.against(dist, str(save(tmp_path / "other.onnx", "0.89")))
    verdict = validate.check(dist, api.host_targets()[0], against=other)
    failed = {(f.check, f.name) for f in verdict.failed}
    assert {("numbers", "y"), ("last state", "s")} <= failed


def test_a_changed_library_is_not_run(dist: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dist"
    shutil.copytree(dist, copy)
    target = api.host_targets()[0]
    library = next((copy / target).glob("*.so"))
    library.write_bytes(library.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="not as they were compiled"):
        validate.check(copy, target)


def test_validating_needs_neither_torch_nor_onnx(dist: Path) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "onnx", "onnx_ir", "onnxruntime", "tvm"]))
from pathlib import Path
from edgeseq import validate
from edgeseq.errors import ToolchainError
verdict = validate.check(Path({str(dist)!r}), {api.host_targets()[0]!r})
assert verdict.ok and verdict.findings
del sys.modules["onnx"], sys.modules["onnx_ir"]
try:
    validate.record
except ToolchainError as error:
    assert "edgeseq[torch]" in error.fix
else:
    raise AssertionError("record came without torch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
