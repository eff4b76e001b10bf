"""Trained models of other people on every target that something here runs."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import torch

from edgeseq import api, engines, validate
from edgeseq.errors import EdgeseqError
from edgeseq.options import CompileOptions, QuantizeOptions
from tests.e2e.test_real_models import AT_16K

pytestmark = pytest.mark.slow

TARGETS = ("arm64-linux", "armv7-linux", "wasm")
MODELS = {
    "gtcrn/gtcrn_simple.onnx": {},
    "DTLN/model_1.onnx": {},
    "DTLN/model_2.onnx": {},
    "silero-vad/silero_vad_16k_op15.onnx": AT_16K,
    "rwkv5/converted_rwkv5_step.onnx": {},
    "mamba-kws/converted_step.onnx": {},
}
PAGE = 1024


@pytest.mark.parametrize("file", MODELS, ids=lambda f: Path(f).stem)
def test_real_models(file: str, models_dir: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    options = CompileOptions(tmp_path / "dist", TARGETS, cache=False, **MODELS[file])
    artifact = api.compile_model(models_dir / file, options)
    failed = []
    for target in TARGETS:
        for engine in (None, "node", "chromium") if target == "wasm" else (None,):
            try:
                with engines.opened(artifact.folder, target, engine) as model:
                    verdict = validate.check(artifact.folder, target, model)
            except EdgeseqError as error:
                if error.exit_code != 6:
                    raise
                continue  # not installed
            if not verdict.ok:
                failed.append(f"{engine}\n{validate.to_text(verdict)}")
    assert failed == [], "\n".join(failed)


def test_sizes(models_dir: Path, tmp_path: Path) -> None:
    """What a page and an app grow by, beyond the weights."""
    torch.set_num_threads(1)
    options = CompileOptions(tmp_path / "dist", ("wasm", "arm64-android"), name="gtcrn")
    artifact = api.compile_model(models_dir / "gtcrn/gtcrn_simple.onnx", options)
    code = (artifact.folder / "wasm" / "gtcrn.wasm").read_bytes()
    assert len(gzip.compress(code, 9)) <= 30 * PAGE
    library = (artifact.folder / "arm64-android" / "libgtcrn.so").stat().st_size
    weights = artifact.manifest["targets"]["arm64-android"]["weight_bytes"]
    assert library - weights <= 150 * PAGE


def test_the_int8_denoiser_is_little_more_than_its_weights(tmp_path: Path) -> None:
    """All that a page with the worklet loads: either module, the weights, the scripts."""
    torch.set_num_threads(1)
    root = Path(__file__).resolve().parents[2]
    options = CompileOptions(
        tmp_path / "dist", ("wasm",), name="denoise", quantize=QuantizeOptions("int8")
    )
    spec = f"{root / 'examples/denoise/model.py'}:streaming"
    artifact = api.compile_model(spec, options)
    sizes = {f.name: f.stat().st_size for f in (artifact.folder / "wasm").iterdir()}
    loaded = ("index.mjs", "core.mjs", "worklet.mjs", "processor.mjs", "denoise.weights.bin")
    modules = [size for name, size in sizes.items() if name.endswith(".wasm")]
    weights = artifact.manifest["targets"]["wasm"]["weight_bytes"]
    assert weights < 300_000
    assert sum(sizes[name] for name in loaded) + max(modules) <= 1.25 * weights + 60 * PAGE
    assert artifact.manifest["targets"]["wasm"]["isa"] == ["simd128", "relaxed-simd"]


def test_the_denoiser(tmp_path: Path) -> None:
    """Audio in, audio out: the package has a worklet."""
    root = Path(__file__).resolve().parents[2]
    targets = (*TARGETS, "arm64-android")
    options = CompileOptions(tmp_path / "dist", targets, name="denoise")
    dist = api.compile_model(f"{root / 'examples/denoise/model.py'}:streaming", options).folder
    assert (dist / "wasm" / "worklet.mjs").is_file()
    for target in targets:
        if target != "wasm" and shutil.which("qemu-aarch64-static") is None:
            continue
        with engines.opened(dist, target) as model:
            verdict = validate.check(dist, target, model)
        assert verdict.ok, validate.to_text(verdict)
