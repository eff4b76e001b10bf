"""`edgeseq prune`, and what `compile` and `inspect` do with sparsity."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.ir import facts
from edgeseq.train import prunable
from tests.train.conftest import gru_model


@pytest.fixture
def saved(tmp_path):
    """A model file with 16 recurrent units fewer than a block, and samples beside it."""
    ir.save(gru_model("T"), tmp_path / "m.onnx")
    random = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=random.normal(size=(1, 60, 6)))
    return tmp_path / "m.onnx"


COMMON = ("--dim", "T=1:100", "-q")


def test_the_file_stays_as_it_is_but_for_the_weights(inline, saved, tmp_path):
    done = inline(
        *("prune", saved, "--sparsity", "0.5", "--pattern", "4x1", *COMMON),
        *("--allocation", "uniform", "--keep-dense", "head.weight", "-o", tmp_path / "s.onnx"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "336 weights to 50.0%" in done.stdout
    assert "synthetic inputs: not accuracy-checked" in done.stdout
    assert "kept dense on request" in done.stdout
    before, after = (onnx.load(tmp_path / name) for name in ("m.onnx", "s.onnx"))
    onnx.checker.check_model(after, full_check=True)
    assert before.opset_import == after.opset_import
    assert [n.SerializeToString() for n in before.graph.node] == [
        n.SerializeToString() for n in after.graph.node
    ]
    for old, new in zip(before.graph.initializer, after.graph.initializer, strict=True):
        one, other = (onnx.numpy_helper.to_array(t) for t in (old, new))
        if old.name in ("gru.w", "gru.r"):
            assert (other == 0).mean() == 0.5
            assert (one == other)[other != 0].all()
        else:
            assert (one == other).all()


def test_json_lists_every_matrix(inline, saved, tmp_path):
    done = inline(
        *("prune", saved, "--pattern", "2:4", "--criterion", "wanda", *COMMON, "--json"),
        *("--calibrate", tmp_path / "a.npz", "-o", tmp_path / "s.onnx"),
    )
    report = json.loads(done.stdout)
    assert not report["synthetic"]
    kept = sum(r["density"] * r["outputs"] * r["inputs"] for r in report["matrices"])
    assert report["kept"] == pytest.approx(kept, abs=0.01)
    assert {r["pattern"] for r in report["matrices"]} == {"2:4"}
    assert 0 < report["output_error"] < 1


def test_a_recipe_says_it_all(inline, saved, tmp_path):
    (tmp_path / "sparse.toml").write_text(
        '[prune]\nmodel = "m.onnx"\noutput = "s.onnx"\nsparsity = 0.5\npattern = "4x1"\n'
        'dim.T = [1, 100]\ncalibrate = "a.npz"\ncriterion = "magnitude"\n'
        'density."gru.r[z]" = 0.25\n'
    )
    assert inline("prune", "--recipe", tmp_path / "sparse.toml", "-q").returncode == 0
    masks = {m.name: m.get() != 0 for m in prunable.find(ir.load(tmp_path / "s.onnx"))}
    assert masks["gru.r[z]"].mean() == 0.25


def test_recovery_lowers_the_error_and_keeps_the_zeros(inline, saved, tmp_path):
    errors = {}
    for schedule, steps in (("one-shot", 0), ("one-shot", 60), ("cubic", 60)):
        done = inline(
            *(
                "prune",
                saved,
                "--sparsity",
                "0.5",
                "--pattern",
                "4x1",
                *COMMON,
                "--json",
                "--force",
            ),
            *("--calibrate", tmp_path / "a.npz"),
            *("--criterion", "magnitude") * (schedule == "one-shot"),
            *("--recover", steps, "--recover-schedule", schedule, "-o", tmp_path / "s.onnx"),
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        errors[schedule, steps] = report["output_error"]
        found = prunable.find(ir.load(tmp_path / "s.onnx"))
        kept = {r["name"]: r["density"] for r in report["matrices"]}
        for matrix in found:
            if matrix.name in kept:
                assert (matrix.get() != 0).mean() == pytest.approx(kept[matrix.name], abs=1e-5)
    assert errors["one-shot", 60] < errors["one-shot", 0]
    assert errors["cubic", 60] < errors["one-shot", 0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-o", "s.onnx"], "it is not said how much to prune"),
        (["--sparsity", "0.5"], "-o FILE is missing"),
        (["--sparsity", "1.5", "-o", "s.onnx"], "sparsity 1.5 is outside [0, 1)"),
        (["--sparsity", "0.5", "-o", "s.onnx", "--density", "w"], "cannot read --density 'w'"),
        (["--sparsity", "0.5", "-o", "m.onnx"], "the output file 'm.onnx' exists"),
        (["--sparsity", "0.5", "-o", "s.onnx", "--calibrate", "no"], "no calibration samples"),
        (
            [*"--sparsity .5 -o s.onnx --criterion wanda --recover-schedule cubic".split()],
            "the cubic schedule takes neither",
        ),
        (
            ["--sparsity", "0.5", "-o", "s.onnx", "--recover-schedule", "cubik"],
            "unknown recovery schedule 'cubik'\n  fix: did you mean 'cubic'",
        ),
        (["--sparsity", "0.5", "-o", "s.onnx", "--budget", "1ms"], "does not go with --sparsity"),
        (["--budget", "0ms", "-o", "s.onnx"], "cannot read --budget '0ms'"),
        (
            ["--sparsity", "0.5", "-o", "s.onnx", "--pattern", "64x1"],
            "nothing to prune\n  at:  gru.w[z]: 8 outputs",
        ),
        (
            ["--sparsity", "0.5", "-o", "s.onnx", "--density", "gru.w=1.5"],
            "density 1.5 of 'gru.w' is outside (0, 1]",
        ),
        (
            ["--sparsity", "0.5", "-o", "s.onnx", "--keep-dense", "gru.x"],
            "no weight matrix 'gru.x'\n  fix: did you mean 'gru.",
        ),
        (
            ["--sparsity", ".5", "--pattern", "4x1", "-o", "s.onnx", "--calibrate", "names.npz"],
            "'q'",
        ),
        (
            ["--sparsity", ".5", "--pattern", "4x1", "-o", "s.onnx", "--calibrate", "nan.npz"],
            "is nan at [0, 7, 3]",
        ),
        (
            [*"--sparsity .5 --pattern unstructured --rearrange -o s.onnx".split()],
            "--rearrange does nothing for the pattern unstructured",
        ),
    ],
)
def test_bad_command_lines_write_nothing(inline, saved, flags, message, tmp_path):
    np.savez(tmp_path / "names.npz", q=np.ones((1, 60, 6)))
    broken = np.ones((1, 60, 6))
    broken[0, 7, 3] = np.nan
    np.savez(tmp_path / "nan.npz", x=broken)
    done = inline("prune", saved, *COMMON, *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "s.onnx").exists()


def test_compile_refuses_a_criterion_without_a_sparsity(inline, saved, tmp_path):
    done = inline("compile", saved, "--recover", "5", "-o", tmp_path / "dist", "-q")
    assert done.returncode == 2
    assert "it is not said how much to prune" in done.stderr


def test_compile_builds_the_pruned_model(inline, saved, tmp_path):
    done = inline(
        *("compile", saved, "--target", "c", "--sparsity", "0.5", "--pattern", "8x1", *COMMON),
        *("--calibrate", tmp_path / "a.npz", "-o", tmp_path / "dist"),
    )
    assert done.returncode == 0, done.stderr
    built = ir.load(tmp_path / "dist" / "model.onnx")
    marked = [v for v in built.graph.initializers.values() if facts.get(v, facts.Sparsity)]
    assert {facts.get(v, facts.Sparsity).pattern for v in marked} == {"8x1"}
    assert len(marked) == 2
    manifest = json.loads((tmp_path / "dist" / "manifest.json").read_text())
    assert "prune" in json.dumps(manifest)
    report = (tmp_path / "dist" / "report.html").read_text()
    assert "<h2>Sparsity</h2>" in report
    assert "Each layer pruned alone" in report
    shown = inline("inspect", tmp_path / "dist", "--picture")
    assert "gru.r[z]  8x1  50.0% stored" in shown.stdout or "gru.r[z]  8x1" in shown.stdout
    assert "█" in shown.stdout


def test_inspect_finds_zeros_that_nobody_marked(inline, tmp_path):
    model = gru_model("T")
    for matrix in prunable.find(model):
        mask = np.arange(matrix.shape[1]) % 4 < 2
        matrix.set(matrix.get() * mask)
    ir.save(model, tmp_path / "m.onnx")
    rows = json.loads(inline("inspect", "m.onnx", "--json").stdout)["sparsity"]
    assert {r["name"]: r["stored"] for r in rows}["gru.r[z]"] == 0.5


def test_inspect_shows_what_each_layer_costs(inline, saved, tmp_path):
    done = inline(
        *("inspect", saved, "--dim", "T=1:100", "--sensitivity", "4x1"),
        *("--calibrate", tmp_path / "a.npz", "--plot", tmp_path / "sweep.svg"),
    )
    assert done.returncode == 0, done.stderr
    assert "second-order" in done.stdout
    assert "knee" in done.stdout
    assert "gru.r" in done.stdout
    drawing = (tmp_path / "sweep.svg").read_text()
    assert drawing.count("<polyline") == 2


def test_a_misfit_says_what_happens_to_which_layer(inline, saved, tmp_path):
    flags = ("--sparsity", "0.5", "--pattern", "16x1", *COMMON, "-o", tmp_path / "s.onnx")
    done = inline("prune", saved, *flags, "--json")
    report = json.loads(done.stdout)
    assert {r["note"] for r in report["matrices"]} == {"8x1 fits 8 outputs"}
    assert {d["name"]: d["reason"] for d in report["dense"]} == {
        "head.weight": "5 outputs are fewer than the 8 of a block"
    }


GATES = """
<ir_version: 8, opset_import: ["": 16]>
cell (float[1,16] x, float[2,1,16] state) => (float[1,16] y, float[2,1,16] stateN) {
  zero = Constant <value: tensor = int64[1] {0}> ()
  one = Constant <value: tensor = int64[1] {1}> ()
  quarter = Constant <value: tensor = int64[1] {16}> ()
  half = Constant <value: tensor = int64[1] {32}> ()
  most = Constant <value: tensor = int64[1] {48}> ()
  all = Constant <value: tensor = int64[1] {64}> ()
  wi = Slice (weight_ih, zero, quarter, zero)
  wfc = Slice (weight_ih, quarter, most, zero)
  wo = Slice (weight_ih, most, all, zero)
  w = Concat <axis: int = 0> (wi, wo, wfc)
  W = Unsqueeze (w, zero)
  ri = Slice (weight_hh, zero, quarter, zero)
  rfc = Slice (weight_hh, quarter, most, zero)
  ro = Slice (weight_hh, most, all, zero)
  r = Concat <axis: int = 0> (ri, ro, rfc)
  R = Unsqueeze (r, zero)
  h0 = Slice (state, zero, one, zero)
  two = Add (one, one)
  c0 = Slice (state, one, two, zero)
  sequence = Unsqueeze (x, zero)
  out, h, c = LSTM <hidden_size: int = 16> (sequence, W, R, , , h0, c0)
  stateN = Concat <axis: int = 0> (h, c)
  y = Squeeze (h, zero)
}
"""


def test_gates_that_are_cut_and_joined_on_the_way_are_pruned(inline, tmp_path):
    """PyTorch's export to ONNX reorders the gates of an LSTM in the graph."""
    made = onnx.parser.parse_model(GATES)
    random = np.random.default_rng(0)
    arrays = {
        n: random.normal(0, 0.3, (64, 16)).astype(np.float32) for n in "weight_ih weight_hh".split()
    }
    made.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(made, tmp_path / "gates.onnx")
    done = inline(
        *("prune", tmp_path / "gates.onnx", "--sparsity", "0.75", "--pattern", "16x1", "--json"),
        *("-q", "-o", tmp_path / "s.onnx", "--allocation", "uniform"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [r["name"][-3:] for r in report["matrices"]] == [f"[{g}]" for _ in "wr" for g in "iofc"]
    assert {r["density"] for r in report["matrices"]} == {0.25}
    pruned = ir.load(tmp_path / "s.onnx")
    for matrix in prunable.find(pruned):
        assert ((matrix.get() != 0).any(axis=0)).sum() == 4
    inputs = {"x": arrays["weight_ih"][:1], "state": np.ones((2, 1, 16), np.float32)}
    session = onnxruntime.InferenceSession(tmp_path / "s.onnx", providers=["CPUExecutionProvider"])
    y, state = session.run(["y", "stateN"], inputs)
    assert (y == state[0]).all()
    assert np.abs(y).max() > 0.01


@pytest.mark.parametrize("name", ["silero_vad", "silero_vad_16k_op15", "silero_vad_op18_ifless"])
def test_the_lstm_of_a_real_model_is_pruned(inline, tmp_path, models_dir, name):
    done = inline(
        *("prune", models_dir / "silero-vad" / f"{name}.onnx", "--const", "sr=16000", "-q"),
        *("--shape", "input=1,576", "--shape", "state=2,1,128", "--json"),
        *("--sparsity", "0.8", "--criterion", "magnitude", "-o", tmp_path / "s.onnx"),
    )
    assert done.returncode == 0, done.stderr
    cell = [r for r in json.loads(done.stdout)["matrices"] if r["inputs"] == 128]
    assert sum(r["outputs"] * r["inputs"] for r in cell) == 2 * 512 * 128
    assert all(r["density"] < 0.3 for r in cell)
