"""`edgeseq.toml`: every flag has a key, flags win, and mistakes are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeseq import recipe
from edgeseq.cli.compile import compile as command
from edgeseq.cli.compile import gather
from edgeseq.cli.prune import prune
from edgeseq.cli.quantize import quantize
from edgeseq.errors import UsageError
from edgeseq.options import CompileOptions, QuantizeOptions, SparsityOptions

FULL = """
[compile]
model = "nets/gtcrn.onnx"
output = "dist"
target = ["x86-64", "c"]
shape.x = [1, "T", 80]
dim.T = [1, 4096]
dim.batch = 1
const.sr = 16000
state.h_in = "h_out"
stream = true
name = "net"
isa = "x86-64-v3"
cc.x86-64 = "gcc -g"
threads = 2
force = true
cache = false
seed = 7
inputs = "in.npz"
sparsity = 0.9
pattern = "16x4"
criterion = "wanda"
allocation = "erk-plus"
budget = "0.2ms"
calibrate = ["clips"]
hold-out = true
keep-dense = "head.*"
density."gru.R[z]" = 0.2
keep-diagonal = true
rearrange = true
recover = 500
recover-schedule = "one-shot"
checkpoint = "recovery.pt"
quantize = "int8"
scheme."head.*" = "bf16"
activations = "static"
observer = "mse"
rounding = "gptq"
equalize = true
smooth = 0.5
cell-states = "dynamic"
correct-bias = false
saturation-free = true
keep-float = "head.*"
drift = 5000
max-drop = "0.2dB"
cost-table = "times.json"
emit-ir = "fold-constants"
keep = "kept"
"""

# How the command talks, not what it compiles.
PRESENTATION = {"recipe_file", "as_json", "verbose", "quiet", "debug"}


def write(folder: Path, text: str) -> Path:
    file = folder / "edgeseq.toml"
    file.write_text(text)
    return file


def test_every_flag_has_a_key() -> None:
    params = {str(p.name).replace("_", "-") for p in command.params if p.name not in PRESENTATION}
    assert set(recipe.KEYS) == params


def test_every_field_has_a_flag(tmp_path: Path) -> None:
    _, options = gather(write(tmp_path, FULL), {})
    default = CompileOptions(tmp_path / "dist")
    same = [
        field.name
        for field in dataclasses.fields(CompileOptions)
        if getattr(options, field.name) == getattr(default, field.name)
    ]
    assert same == ["output"]


def test_recipe_alone(tmp_path: Path) -> None:
    model, options = gather(write(tmp_path, FULL), {})
    assert model == str(tmp_path / "nets/gtcrn.onnx")
    assert options == CompileOptions(
        output=tmp_path / "dist",
        targets=("x86-64", "c"),
        shapes={"x": (1, "T", 80)},
        dims={"T": (1, 4096), "batch": 1},
        consts={"sr": 16000},
        states=(("h_in", "h_out"),),
        stream=True,
        name="net",
        isa="x86-64-v3",
        cc={"x86-64": "gcc -g"},
        threads=2,
        force=True,
        cache=False,
        seed=7,
        inputs=tmp_path / "in.npz",
        cost_table=tmp_path / "times.json",
        emit_ir="fold-constants",
        keep=tmp_path / "kept",
        sparse=SparsityOptions(
            sparsity=0.9,
            pattern="16x4",
            criterion="wanda",
            allocation="erk-plus",
            budget="0.2ms",
            calibrate=(str(tmp_path / "clips"),),
            hold_out=True,
            keep_dense=("head.*",),
            densities={"gru.R[z]": 0.2},
            keep_diagonal=True,
            rearrange=True,
            recover=500,
            recover_schedule="one-shot",
            checkpoint=tmp_path / "recovery.pt",
        ),
        quantize=QuantizeOptions(
            scheme="int8",
            schemes={"head.*": "bf16"},
            activations="static",
            observer="mse",
            rounding="gptq",
            equalize=True,
            smooth=0.5,
            cell_states="dynamic",
            correct_bias=False,
            saturation_free=True,
            keep_float=("head.*",),
            drift=5000,
            max_drop=0.2,
        ),
    )


def test_the_table_of_prune_holds_its_flags(tmp_path: Path) -> None:
    params = {str(p.name).replace("_", "-") for p in prune.params if p.name not in PRESENTATION}
    assert set(recipe.TABLES["prune"]) == params
    text = '[prune]\nmodel = "m.onnx"\noutput = "s.onnx"\nsparsity = 1\n[compile]\nseed = 3\n'
    _, options = gather(write(tmp_path, text), {}, "prune")
    assert options == CompileOptions(tmp_path / "s.onnx", sparse=SparsityOptions(sparsity=1.0))


def test_the_table_of_quantize_holds_its_flags(tmp_path: Path) -> None:
    shown = {*PRESENTATION, "report"}
    params = {str(p.name).replace("_", "-") for p in quantize.params if p.name not in shown}
    assert set(recipe.TABLES["quantize"]) == params
    text = '[quantize]\nmodel = "m.onnx"\noutput = "s.onnx"\nquantize = "w8"\nmax-drop = 1\n'
    _, options = gather(write(tmp_path, text), {}, "quantize")
    chosen = QuantizeOptions(scheme="w8", max_drop=1.0)
    assert options == CompileOptions(tmp_path / "s.onnx", quantize=chosen)


def test_flags_win(tmp_path: Path) -> None:
    given = {
        "model": "other.onnx",
        "target": ("c",),
        "dim": ("T=1:10",),
        "const": (),
        "stream": False,
        "cache": None,
        "seed": 0,
    }
    model, options = gather(write(tmp_path, FULL), given)
    assert model == "other.onnx"
    assert options.targets == ("c",)
    assert options.dims == {"T": (1, 10), "batch": 1}
    assert options.consts == {"sr": 16000}
    assert (options.stream, options.cache, options.seed) == (False, False, 0)


def test_a_factory_is_no_path(tmp_path: Path) -> None:
    file = write(tmp_path, '[compile]\nmodel = "nets.voice:factory"\noutput = "d"')
    assert gather(file, {})[0] == "nets.voice:factory"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[compile]\ntarge = 'c'", "unknown key 'targe' in [compile] of '{file}'\n  fix: did you "),
        ("[compil]\n", "unknown table '[compil]' in '{file}'\n  fix: did you mean 'compile'?"),
        (
            "[compile]\nseed = true",
            "'seed' in '{file}' cannot be True\n  why: it must be a whole number",
        ),
        ("[compile]\nstream = 1", "'stream' in '{file}' cannot be 1\n  why: it must be true or"),
        ("[compile]\nshape.x = 3", "'shape' in '{file}' cannot be {{'x': 3}}\n  why: the shape"),
        ("[compile]\nshape.x = [0]", "'shape' in '{file}' cannot be {{'x': [0]}}\n  why: '0' is"),
        ("[compile]\ndim = 3", "'dim' in '{file}' cannot be 3\n  why: it must be a table"),
        ("[compile]\ndim.T = [5, 1]", "'dim' in '{file}' cannot be {{'T': [5, 1]}}\n  why: '5:1'"),
        ("[compile]\nconst.x = 'a'", "'const' in '{file}' cannot be {{'x': 'a'}}\n  why: 'x' must"),
        ("[compile]\nstate.x = 1", "'state' in '{file}' cannot be {{'x': 1}}\n  why: 'x' must"),
        ("[compile]\ntarget = 3", "'target' in '{file}' cannot be 3\n  why: it must be a string"),
        ("compile = [", "cannot read the recipe '{file}'\n  why: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        recipe.read(file)
    assert str(caught.value).startswith(expected.format(file=file))
