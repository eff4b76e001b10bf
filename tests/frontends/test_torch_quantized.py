"""Operators of `quantized_decomposed`, which programs of torchao's PT2E flow are made of."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch import import_torch
from edgeseq.frontends.torch_program import read_program
from edgeseq.pipeline import prepare

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    importlib.import_module("torch.ao.quantization.fx._decomposed")
QD: Any = torch.ops.quantized_decomposed


class Static(torch.nn.Module):
    """A linear layer as a quantizer writes it: x per tensor, weights per output."""

    def __init__(self, zero: int = 5, least: int = -128) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randint(-127, 128, (4, 6), dtype=torch.int8))
        self.register_buffer("scales", torch.linspace(0.01, 0.02, 4))
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))
        self.bias = torch.nn.Parameter(torch.linspace(-1, 1, 4))
        self.x = (0.02, zero, least, 127, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        levels = QD.quantize_per_tensor(x, *self.x)
        return self.linear(QD.dequantize_per_tensor(levels, *self.x))

    def linear(self, x: Tensor) -> Tensor:
        ends = (0, -127, 127, torch.int8)
        w = QD.dequantize_per_channel(self.weight, self.scales, self.zeros, *ends)
        return torch.nn.functional.linear(x, w, self.bias)


class Dynamic(Static):
    """The scale of x is chosen when it is there."""

    def forward(self, x: Tensor) -> Tensor:
        scale, zero = QD.choose_qparams.tensor(x, -128, 127, 2.0**-12, torch.int8)
        how = (scale, zero, -128, 127, torch.int8)
        return self.linear(
            QD.dequantize_per_tensor.tensor(QD.quantize_per_tensor.tensor(x, *how), *how)
        )


class Symmetric(Static):
    """The same with zero in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        scale, zero = QD.choose_qparams_symmetric.tensor(x, -127, 127, 2.0**-12, torch.int8)
        how = (scale, zero, -127, 127, torch.int8)
        return self.linear(
            QD.dequantize_per_tensor.tensor(QD.quantize_per_tensor.tensor(x, *how), *how)
        )


class Channels(torch.nn.Module):
    """Levels per channel, bounded more tightly than their type."""

    def forward(self, x: Tensor) -> Tensor:
        how = (torch.tensor([0.1, 0.02, 0.3]), torch.tensor([3, -4, 0]), 1, -100, 90, torch.int8)
        return QD.dequantize_per_channel(QD.quantize_per_channel(x, *how), *how)


def run(model: ir.Model, x: Tensor) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize(
    "module", [Static(), Static(-128), Static(0, -127), Dynamic(), Symmetric()]
)
def test_linear_layers_are_integer_products(module: torch.nn.Module) -> None:
    example = torch.randn(3, 6)
    model = import_torch(module, (example,))
    prepare(model, check=True)
    assert "QuantizedMatMul" in {node.op_type for node in model.graph}
    assert not {"Gemm", "MatMul"} & {node.op_type for node in model.graph}
    for x in (example, example * 3, example * 0):
        np.testing.assert_allclose(run(model, x), module(x).detach(), rtol=1e-5, atol=1e-5)


def test_levels_of_channels_are_bounded_as_torch_does() -> None:
    example = torch.randn(2, 3, 5) * 10
    model = import_torch(Channels(), (example,))
    prepare(model, check=True)
    np.testing.assert_allclose(run(model, example), Channels()(example), rtol=1e-6, atol=1e-6)


def test_a_saved_program_is_read_without_torchao(tmp_path: Path) -> None:
    module, x = Static(), torch.randn(3, 6)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "m.pt2")
    model = import_torch(read_program(str(tmp_path / "m.pt2")))
    prepare(model, check=True)
    np.testing.assert_allclose(run(model, x), module(x).detach(), rtol=1e-5, atol=1e-5)


def test_a_zero_point_outside_its_type() -> None:
    with pytest.raises(UnsupportedModelError, match="the zero point 300 is outside of int8"):
        import_torch(Static(300), (torch.randn(3, 6),))
