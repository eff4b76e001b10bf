"""Model specs: files, programs and factories, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeseq.errors import UnsupportedModelError, UsageError
from edgeseq.frontends.load import from_module, from_proto, load
from edgeseq.ir import facts

torch.set_num_threads(1)

FACTORIES = """
import torch
from torch import nn

def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 2), (torch.randn(4, 3),)

def dynamic():
    return nn.Linear(3, 2), torch.randn(4, 3), {"input": {0: "T"}}

def raising():
    raise ValueError("no weights here")

def with_argument(path):
    return linear()

def bare():
    return nn.Linear(3, 2)

def wrong():
    return 3

def swapped():
    return (torch.randn(4, 3),), nn.Linear(3, 2)

def bad_inputs():
    return nn.Linear(3, 2), 7

class Zoo:
    linear = staticmethod(linear)

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that holds a package of factories."""
    (tmp_path / "my_models").mkdir()
    (tmp_path / "my_models" / "__init__.py").write_text("")
    (tmp_path / "my_models" / "small.py").write_text(FACTORIES)
    (tmp_path / "my_models" / "broken.py").write_text("import torch\n\nraise OSError('no disk')\n")
    (tmp_path / "my_models" / "needy.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("my_models", "script")]:
        del sys.modules[name]
    return tmp_path


def onnx_model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Abs(x) }'
    )


def test_onnx_file(folder: Path) -> None:
    onnx.save(onnx_model(), "abs.onnx")
    imported = load("abs.onnx")
    assert [node.op_type for node in imported.model.graph] == ["Abs"]
    digest = hashlib.sha256(Path("abs.onnx").read_bytes()).hexdigest()
    assert imported.source == {"spec": "abs.onnx", "sha256": digest}
    assert imported.torch_module is None


def test_onnx_in_memory() -> None:
    imported = from_proto(onnx_model())
    assert [node.op_type for node in imported.model.graph] == ["Abs"]
    assert imported.source["spec"] == "g"


@pytest.mark.parametrize("spec", ["my_models.small:linear", "my_models.small:Zoo.linear"])
def test_factory(folder: Path, spec: str) -> None:
    imported = load(spec)
    assert isinstance(imported.torch_module, nn.Linear)
    assert imported.example_inputs[0].shape == (4, 3)
    assert imported.source["spec"] == spec
    assert imported.source == load(spec).source
    assert str(folder) not in sys.path


def test_factory_in_a_script(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "script.py").write_text(FACTORIES)
    assert isinstance(load("deep/script.py:linear").torch_module, nn.Linear)


def test_factory_names_dimensions(folder: Path) -> None:
    model = load("my_models.small:dynamic").model
    assert facts.get(model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(0, "T")
    model = load("my_models.small:dynamic", {"input": {0: "frames"}}).model
    assert facts.get(model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(0, "frames")


def test_module_in_memory() -> None:
    module = nn.Linear(3, 2)
    imported = from_module(module, (torch.randn(4, 3),))
    assert imported.torch_module is module
    assert imported.source["spec"] == "torch.nn.modules.linear.Linear"


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("gone.onnx", "gone.onnx: no such file"),
        ("gone.pt2", "gone.pt2: no such file"),
        ("weights.pth", "'weights.pth' holds weights, not a program"),
        ("readme.txt", "'readme.txt' is of a kind that edgeseq does not read"),
        ("nothing", "'nothing' is neither a file nor package.module:factory"),
        (":linear", "':linear' does not name a factory"),
        ("my_models.small:", "'my_models.small:' does not name a factory"),
        ("gone.py:linear", "gone.py: no such file"),
        ("my_model.small:linear", "no module 'my_model' (for 'my_model.small')"),
        ("my_models.smal:linear", "no module 'my_models.smal'"),
        ("my_models.broken:f", "importing 'my_models.broken' raised OSError: no disk"),
        (
            "my_models.needy:f",
            "importing 'my_models.needy' raised ModuleNotFoundError: "
            "No module named 'not_there_at_all'",
        ),
        ("my_models.small:liner", "'my_models.small' has no 'liner'"),
        ("my_models.small:Zoo.liner", "'Zoo' has no 'liner'"),
        ("my_models.small:number", "'my_models.small:number' is not a function but of type int"),
        (
            "my_models.small:with_argument",
            "'my_models.small:with_argument' cannot be called without arguments: "
            "missing a required argument: 'path'",
        ),
        ("my_models.small:raising", "my_models.small:raising raised ValueError: no weights here"),
        (
            "my_models.small:bare",
            "'my_models.small:bare' returns a module alone, without example inputs",
        ),
        ("my_models.small:wrong", "'my_models.small:wrong' returns something of type int"),
        (
            "my_models.small:swapped",
            "'my_models.small:swapped' returns type tuple where the module should be",
        ),
        (
            "my_models.small:bad_inputs",
            "'my_models.small:bad_inputs' returns type int where the example inputs should be",
        ),
    ],
)
def test_what_cannot_be_loaded(folder: Path, spec: str, start: str) -> None:
    (folder / "readme.txt").write_text("hello")
    with pytest.raises(UsageError) as caught:
        load(spec)
    assert caught.value.what == start
    assert caught.value.exit_code == 2
    assert caught.value.fix


@pytest.mark.parametrize(
    ("spec", "fix"),
    [
        ("my_models.smal:linear", "did you mean 'my_models.small'?"),
        ("my_model.small:linear", "did you mean 'my_models'?"),
        ("my_models.small:liner", "did you mean 'linear'?"),
    ],
)
def test_suggestions(folder: Path, spec: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(spec)
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("my_models.small:raising", "small.py:13 in raising: raise ValueError"),
        ("my_models.broken:f", "broken.py:3 in <module>: raise OSError"),
    ],
)
def test_the_line_that_failed(folder: Path, spec: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(spec)
    assert line in caught.value.at[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"hello"])
def test_damaged_program(folder: Path, content: bytes) -> None:
    (folder / "m.pt2").write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a program of torch\.export, or is cut short"):
        load("m.pt2")


def test_truncated_program(folder: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.randn(4, 3),)), "m.pt2")
    whole = Path("m.pt2").read_bytes()
    Path("m.pt2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError) as caught:
        load("m.pt2")
    assert caught.value.exit_code == 2


def test_zip_that_is_no_program(folder: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), "m.pt2")
    with pytest.raises(UsageError, match=r"m\.pt2 cannot be loaded"):
        load("m.pt2")


def test_an_unsupported_module_is_not_a_usage_error(folder: Path) -> None:
    text = "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n"
    text += "        return x if x.sum() > 0 else -x\n"
    (folder / "script.py").write_text(f"{text}def make():\n    return M(), (torch.ones(1),)\n")
    with pytest.raises(UnsupportedModelError) as caught:
        load("script:make")
    assert "script.py:4 in forward" in caught.value.at[0]


def test_import_is_light() -> None:
    code = (
        "import sys, edgeseq.frontends.load, edgeseq.frontends.states as s; "
        "print([m for m in ('torch', 'onnx', 'onnx_ir', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_source_hash_is_of_the_model(folder: Path) -> None:
    one = load("my_models.small:linear").model
    data = ir.to_proto(one).SerializeToString(deterministic=True)
    assert load("my_models.small:linear").source["sha256"] == hashlib.sha256(data).hexdigest()
