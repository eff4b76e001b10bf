"""Products and convolutions with windowed waves become fast transforms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from edgeseq import api, validate
from edgeseq.options import CompileOptions, QuantizeOptions
from tests.ir.test_fourier import LAYOUTS, waves

Array = np.ndarray


def compiled(
    nodes: list[onnx.NodeProto],
    x: list[int | str],
    y: list[int | str | None],
    weights: dict[str, Array],
    folder: Path,
) -> list[dict[str, object]]:
    """Compile, hold against the interpreter in float64, and return the kernels."""
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()]
    given, made = (oh.make_tensor_value_info(n, 1, s) for n, s in (("x", x), ("y", y)))
    graph = oh.make_graph(nodes, "g", [given], [made], constants)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    api.compile_model(model, CompileOptions(folder / "dist", ("c",), name="m"))
    verdict = validate.check(folder / "dist", "c")
    assert verdict.ok, validate.to_text(verdict)
    kernels: list[dict[str, object]] = json.loads((folder / "dist/manifest.json").read_text())[
        "kernels"
    ]
    return kernels


def names(kernels: list[dict[str, object]]) -> list[object]:
    return [kernel["name"] for kernel in kernels]


def bank(points: int = 256, window: int = 0, way: str = "parts one behind the other") -> Array:
    shape = np.hanning(window or points) + 0.1
    return np.asarray(LAYOUTS[way](waves(points, points // 2 + 1, shape)), np.float32)


def inverse(points: int) -> Array:
    own = waves(points, points // 2 + 1, np.hanning(points) + 0.1) * 2 / points
    own[[0, -1]] /= 2
    return np.concatenate([own.real, own.imag]).astype(np.float32)


@pytest.mark.parametrize("way", list(LAYOUTS))
def test_products(way: str, tmp_path: Path) -> None:
    matrix = bank(way=way)
    node = oh.make_node("MatMul", ["x", "w"], ["y"])
    found = compiled([node], [3, 256], [3, len(matrix)], {"w": matrix.T.copy()}, tmp_path)
    assert names(found) == ["rfft_f32"]
    assert found[0]["why"] == "a Fourier transform of 256 points"


@pytest.mark.parametrize(("points", "window"), [(200, 0), (256, 160), (320, 0), (128, 100)])
def test_convolutions_with_any_stride_and_padding(points: int, window: int, tmp_path: Path) -> None:
    matrix = bank(points, window)[:, None]
    conv = oh.make_node("Conv", ["x", "w"], ["y"], strides=[48], pads=[30, 45])
    found = compiled([conv], [2, 1, 700], [2, len(matrix), None], {"w": matrix}, tmp_path)
    assert names(found) == ["rfft_f32"]


def test_as_many_frames_as_there_are(tmp_path: Path) -> None:
    node = oh.make_node("MatMul", ["x", "w"], ["y"])
    found = compiled([node], [1, "T", 256], [1, "T", 258], {"w": bank().T.copy()}, tmp_path)
    assert set(names(found)) == {"rfft_f32"}


@pytest.mark.parametrize("hop", [64, 100, 256, 300])
def test_transposed_convolutions_add_frames(hop: int, tmp_path: Path) -> None:
    node = oh.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[hop], pads=[17, 30])
    found = compiled([node], [2, 258, 5], [2, 1, None], {"w": inverse(256)[:, None]}, tmp_path)
    assert names(found) == ["irfft_f32"]


def test_the_way_there_and_back(tmp_path: Path) -> None:
    nodes = [
        oh.make_node("MatMul", ["x", "w"], ["s"]),
        oh.make_node("Relu", ["s"], ["r"]),
        oh.make_node("Gemm", ["r", "v"], ["y"]),
    ]
    weights = {"w": bank(160).T.copy(), "v": inverse(160)}
    found = compiled(nodes, [1, 160], [1, 160], weights, tmp_path)
    assert names(found) == ["rfft_f32", "irfft_f32"]


def test_what_adds_a_bias_or_sees_channels_is_none(tmp_path: Path) -> None:
    bias = {"w": bank()[:, None], "b": np.ones(258, np.float32)}
    conv = oh.make_node("Conv", ["x", "w", "b"], ["y"], strides=[256])
    assert "rfft_f32" not in names(compiled([conv], [1, 1, 512], [1, 258, 2], bias, tmp_path))
    zero = {**bias, "b": np.zeros(258, np.float32)}
    found = compiled([conv], [1, 1, 512], [1, 258, 2], zero, tmp_path / "zero")
    assert names(found) == ["rfft_f32"]
    both = {"w": np.stack([bank(), bank()], axis=1)}
    conv = oh.make_node("Conv", ["x", "w"], ["y"], strides=[256])
    found = compiled([conv], [1, 2, 512], [1, 258, 2], both, tmp_path / "two")
    assert "rfft_f32" not in names(found)


@pytest.mark.parametrize("scheme", ["int8", "w8", "bf16"])
def test_they_are_not_quantized(scheme: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((258, 64)).astype(np.float32)
    nodes = [
        oh.make_node("MatMul", ["x", "w"], ["s"]),
        oh.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    weights = {"w": bank().T.copy(), "v": noise}
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()]
    given = oh.make_tensor_value_info("x", 1, [1, 256])
    made = oh.make_tensor_value_info("y", 1, [1, 64])
    graph = oh.make_graph(nodes, "g", [given], [made], constants)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    quantize = QuantizeOptions(scheme)
    api.compile_model(model, CompileOptions(tmp_path / "dist", ("c",), name="m", quantize=quantize))
    manifest = json.loads((tmp_path / "dist/manifest.json").read_text())
    first, second = names(manifest["kernels"])
    assert first == "rfft_f32"
    assert str(second) not in ("gemm_f32", "rfft_f32")
    assert validate.check(tmp_path / "dist", "c").ok
