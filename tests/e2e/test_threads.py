"""`--threads`: who computes a layer changes no bit, and what does not pay is left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import edgeseq
from edgeseq import api
from edgeseq.bench.threads import bench_threads
from edgeseq.errors import UsageError
from edgeseq.lower import costs
from edgeseq.options import CompileOptions, QuantizeOptions
from edgeseq.runtime import host_target

INPUTS, HIDDEN, OUTPUTS = 24, 64, 100
MODEL = """<ir_version: 10, opset_import: ["" : 20]>
shared (float[T, 1, 24] x, float[1, 1, 64] h, float[1, 1, 64] g, float[1, 1, 64] k,
        float[1, 1, 64] c)
    => (float[T, 1, 100] y, float[1, 1, 64] h_out, float[1, 1, 64] g_out, float[1, 1, 64] k_out,
        float[1, 1, 64] c_out)
<float[1, 192, 24] W1, float[1, 192, 64] W2, float[1, 192, 64] W3, float[1, 192, 64] W4,
 float[1, 256, 64] W5, float[1, 256, 64] W6, float[64, 64] W7, float[64, 100] W8>
{
    axis = Constant <value_ints = [1]> ()
    all, h_out = GRU <hidden_size = 64, linear_before_reset = 1> (x, W1, W2, , , h)
    first = Squeeze(all, axis)
    more, g_out = GRU <hidden_size = 64, linear_before_reset = 0> (first, W3, W4, , , g)
    second = Squeeze(more, axis)
    most, k_out, c_out = LSTM <hidden_size = 64> (second, W5, W6, , , k, c)
    third = Squeeze(most, axis)
    product = MatMul(third, W7)
    acted = Relu(product)
    y = MatMul(acted, W8)
}
"""


def model(text: str = MODEL) -> onnx.ModelProto:
    """Random weights; those of the LSTM and of one product are zero in most blocks of 16."""
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(3)
    for info in (i for i in proto.graph.value_info if i.name[0] == "W"):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        numbers = (random.standard_normal(shape) * 0.2).astype(np.float32)
        if info.name in ("W5", "W6"):
            kept = random.random((1, shape[1] // 16, shape[2])) < 0.2
            numbers *= kept.repeat(16, axis=1)
        if info.name == "W7":
            numbers *= (random.random((shape[0], shape[1] // 16)) < 0.2).repeat(16, axis=1)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, info.name))
    return ir.to_proto(ir.from_proto(proto))


def slow_machine(file: Path) -> Path:
    """A cost table by which even these layers take long."""
    table = costs.load()
    levels = {
        level: {
            name: costs.Cost(*(1000 * v for v in dataclasses.astuple(cost)))
            for name, cost in kernels.items()
        }
        for level, kernels in table.levels.items()
    }
    file.write_text(costs.dumps(dataclasses.replace(table, levels=levels)))
    return file


@pytest.fixture(scope="module", params=["float", "int8"])
def dist(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threads")
    scheme = None if request.param == "float" else "int8"
    options = CompileOptions(
        folder / "dist",
        (host_target(), "c"),
        name="shared",
        isa="x86-64-v3" if host_target() == "x86-64" else None,
        threads=3,
        cost_table=slow_machine(folder / "costs.json"),
        cache=False,
        quantize=QuantizeOptions(scheme=scheme, activations="dynamic" if scheme else "auto"),
    )
    if host_target() != "x86-64":
        options = dataclasses.replace(options, targets=("c",))
    onnx.save(model(), folder / "shared.onnx")
    api.compile_model(str(folder / "shared.onnx"), options)
    return options.output


def manifest(dist: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((dist / "manifest.json").read_text())
    return found


def test_every_layer_is_shared(dist: Path) -> None:
    kernels = manifest(dist)["kernels"]
    assert len(kernels) == 5
    sparse = sum("_b16x" in k["name"] or "_nm" in k["name"] for k in kernels)
    assert sparse >= 1
    for kernel in kernels:
        assert " threads share " in kernel["why"], kernel
    twice = [k for k in kernels if "reset_first=1" in k["detail"]]
    assert [k["why"].endswith("a step, forked 2 times") for k in twice] == [True]


def test_same_bits_for_any_number_of_threads(dist: Path) -> None:
    x = np.random.default_rng(1).standard_normal((90, 1, INPUTS)).astype(np.float32)
    wanted: dict[str, Any] = {}
    for threads in (1, 2, 3):
        stream = edgeseq.load(dist, threads=threads).stream()
        steps = np.concatenate([stream.step(frame[None]) for frame in x])
        stream.reset()
        got = {"steps": steps, "run": stream.run(x), "state": stream.save()[64:]}
        wanted = wanted or got
        for name, value in got.items():
            same = np.asarray(value).tobytes() == np.asarray(wanted[name]).tobytes()
            assert same, f"{name} with {threads} threads"


def test_a_saved_state_goes_on_with_other_threads(dist: Path) -> None:
    x = np.random.default_rng(2).standard_normal((4, 1, INPUTS)).astype(np.float32)
    alone, shared = (edgeseq.load(dist, threads=n).stream() for n in (1, 3))
    alone.run(x)
    shared.run(x)
    assert alone.save() == shared.save()
    shared.load(alone.save())
    assert shared.step(x[:1]).tobytes() == alone.step(x[:1]).tobytes()


def test_streams_share_a_pool_without_races(dist: Path, tmp_path: Path) -> None:
    """Under ThreadSanitizer, where the compiler has it."""
    sources = [dist / "c" / "shared.c", dist / "c" / "shared_threads.c"]
    program = Path(__file__).parent / "threads.c"
    sizes = [f"-DINPUTS={INPUTS}", f"-DOUTPUTS={OUTPUTS}"]
    common = ["cc", "-std=gnu11", "-g", *sizes, f"-I{dist / 'c'}", "-pthread"]
    common += [str(program), *map(str, sources), "-o", str(tmp_path / "program")]
    # Not optimized: what is inlined for all sizes would take minutes to compile.
    watched = subprocess.run([*common, "-fsanitize=thread"], capture_output=True)
    if watched.returncode:
        subprocess.run(common, check=True)
    x = np.random.default_rng(3).standard_normal((40, 1, INPUTS)).astype(np.float32)
    outputs = []
    for threads in (1, 2, 3):
        run = ["setarch", "-R", str(tmp_path / "program"), str(threads)]
        done = subprocess.run(run, input=x.tobytes(), capture_output=True)
        assert (done.returncode, done.stderr.decode()) == (0, "")
        outputs.append(done.stdout)
    assert len(set(outputs)) == 1
    stream = edgeseq.load(dist).stream()
    want = np.concatenate([stream.step(frame[None]) for frame in x])
    got = np.frombuffer(outputs[0], np.float32).reshape(want.shape)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)  # of another instruction set


def test_the_library_needs_no_threads(dist: Path) -> None:
    target = host_target()
    if target not in manifest(dist)["targets"]:
        pytest.skip(f"{target} was not compiled")
    library = dist / target / "libshared.so"
    listed = subprocess.run(["nm", "-D", "-u", library], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == ""
    assert manifest(dist)["targets"][target]["library"] == f"{target}/libshared.so"
    assert manifest(dist)["targets"][target]["threads"] == 3


SMALL = """<ir_version: 10, opset_import: ["" : 20]>
shared (float[1, 24] x) => (float[1, 100] y) <float[24, 100] W1> { y = MatMul(x, W1) }
"""


def test_small_layers_stay_with_one_thread(tmp_path: Path) -> None:
    options = CompileOptions(tmp_path / "dist", ("c",), name="shared", threads=2)
    compiled = api.compile_model(model(SMALL), options).folder
    (kernel,) = manifest(compiled)["kernels"]
    assert "; one thread: " in kernel["why"]
    assert kernel["why"].endswith(" us a step, shared from 10 us on")
    assert "es_share_" not in (compiled / "c" / "shared.c").read_text()
    x = np.ones((1, INPUTS), np.float32)
    plain = edgeseq.load(compiled).stream()
    shared = edgeseq.load(compiled, threads=2).stream()
    assert shared.step(x).tobytes() == plain.step(x).tobytes()


def test_what_was_compiled_for_one_thread_says_so(tmp_path: Path) -> None:
    options = CompileOptions(tmp_path / "dist", ("c",), name="shared")
    compiled = api.compile_model(model(), options).folder
    assert "threads" not in manifest(compiled)["targets"]["c"]
    assert "parallel" not in (compiled / "c" / "shared.h").read_text()
    with pytest.raises(UsageError) as caught:
        edgeseq.load(compiled, threads=2)
    assert caught.value.what.endswith("has no layers that threads share")
    assert caught.value.fix == "edgeseq compile ... --threads 2"
    with pytest.raises(UsageError, match="0 threads"):
        edgeseq.load(compiled, threads=0)


def test_wasm_has_no_threads(tmp_path: Path) -> None:
    options = CompileOptions(tmp_path / "dist", ("c", "wasm"), threads=2)
    with pytest.raises(UsageError) as caught:
        api.compile_model(model(), options)
    assert caught.value.what == "target 'wasm' has no threads"
    assert caught.value.fix == "compile it apart, without --threads"
    with pytest.raises(UsageError, match="65 threads"):
        api.compile_model(model(), dataclasses.replace(options, targets=("c",), threads=65))


def test_bench_times_them(dist: Path) -> None:
    report = bench_threads(dist, None, rounds=2, calls=3)
    assert list(report.microseconds) == [1, 2, 3]
    assert list(report.ratio) == [2, 3]
    assert all(one.median > 0 for one in report.microseconds.values())
    assert all(n <= (os.cpu_count() or 1) for n in report.fork)
