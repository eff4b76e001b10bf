"""Imported models against torch, run by ONNX Runtime at lengths they were not traced with."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgeseq.frontends.torch import import_torch
from edgeseq.ir import facts
from tests.zoo import models, recurrent
from tests.zoo.recurrent import Variant

# float32 through a different order of sums; the values are of order 1.
TOLERANCE = 1e-5

torch.set_num_threads(1)


def run(model: ir.Model, feeds: dict[str, Tensor]) -> list[np.ndarray]:
    """Check the model and run it in ONNX Runtime without optimisation."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {name: value.numpy() for name, value in feeds.items()}))


@torch.no_grad()
def expected(module: nn.Module, feeds: dict[str, Tensor]) -> list[np.ndarray]:
    """Run the module in eval mode, its outputs flattened."""
    result = copy.deepcopy(module).eval()(**feeds)
    if isinstance(result, dict):
        result = tuple(result.values())
    return [value.numpy() for value in (result if isinstance(result, tuple) else (result,))]


def assert_same(module: nn.Module, model: ir.Model, feeds: dict[str, Tensor]) -> None:
    got, want = run(model, feeds), expected(module, feeds)
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("variant", recurrent.sweep(), ids=str)
def test_layer_stays_whole_at_any_length(variant: Variant) -> None:
    module, inputs, dynamic = recurrent.layer(variant)
    model = import_torch(module, inputs, dynamic)
    ops = op_types(model)
    if variant.projection:
        directions = 2 if variant.bidirectional else 1
        assert ops.count("LSTMP") == variant.layers
        assert ops.count("ReverseLSTMP") == variant.layers * (directions - 1)
    else:
        assert ops.count(variant.kind.split("_")[0].upper()) == variant.layers
    names = ["x", "h", "c"][: len(inputs)]
    for steps in (1, 17):
        feeds = dict(zip(names, (variant.make_input(steps), *inputs[1:]), strict=True))
        assert_same(module, model, feeds)


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize(("bias", "batch"), [(True, 3), (False, 1), (True, None)])
def test_cell_is_one_step_of_a_layer(kind: str, bias: bool, batch: int | None) -> None:
    module, inputs, _ = recurrent.cell(kind, bias, batch)
    model = import_torch(module, inputs)
    assert op_types(model).count(kind.split("_")[0].upper()) == 1
    assert_same(module, model, dict(zip(["x", "h", "c"], inputs, strict=False)))


def _longer(value: Tensor, axis: int, size: int) -> Tensor:
    shape = list(value.shape)
    shape[axis] = size
    return torch.randn(shape)


@pytest.mark.parametrize("make", models.ALL, ids=lambda make: make.__name__)
def test_model_at_other_lengths(make: Callable[[], models.Made]) -> None:
    module, inputs, dynamic = make()
    model = import_torch(module, inputs, dynamic)
    names = [str(value.name) for value in model.graph.inputs]
    given = inputs.values() if isinstance(inputs, dict) else inputs
    for size in (7, 12):
        feeds = dict(zip(names, given, strict=True))
        for name, dims in (dynamic or {}).items():
            for axis in dims:
                feeds[name] = _longer(feeds[name], axis, size)
        assert_same(module, model, feeds)


def test_names_are_the_users() -> None:
    model = import_torch(*models.denoiser())
    assert [v.name for v in model.graph.inputs] == ["bands", "h"]
    assert [v.name for v in model.graph.outputs] == ["gains", "h_out"]
    weights = model.graph.initializers
    assert weights["core.weight_hh_l0"].shape == (1, 72, 24)
    fact = facts.get(weights["core.bias_ih_l1"], facts.SourceName)
    assert fact == facts.SourceName("core.bias_ih_l1, core.bias_hh_l1")
    layers = [node for node in model.graph if node.op_type == "GRU"]
    assert [node.name for node in layers] == ["core.l0", "core.l1"]
    assert facts.get(layers[1], facts.SourceName) == facts.SourceName("core")


def test_time_is_marked() -> None:
    model = import_torch(*models.denoiser())
    bands, h = model.graph.inputs
    assert facts.get(bands, facts.TimeAxis) == facts.TimeAxis(1, "T")
    assert facts.get(h, facts.TimeAxis) is None
    assert facts.get(model.graph.outputs[0], facts.TimeAxis) == facts.TimeAxis(1, "T")
    assert facts.get(model, facts.DimRange) == facts.DimRange("T", 1, 4096)


def test_time_is_told_from_batch_by_the_recurrent_layer() -> None:
    module, inputs, _ = models.keyword_spotter()
    model = import_torch(module, inputs, {"mfcc": {0: "many", 1: "long"}})
    assert facts.get(model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(1, "long")
    assert [str(dim) for dim in model.graph.inputs[0].shape or ()] == ["many", "long", "13"]
    assert facts.get(model.graph.outputs[0], facts.TimeAxis) is None


def test_range_of_time_is_what_the_module_allows() -> None:
    module, inputs, dynamic = models.causal_convolution()
    model = import_torch(module, inputs, dynamic)
    assert facts.get(model, facts.DimRange) == facts.DimRange("T", 5, 4096)
    bounded = {"x": {2: torch.export.Dim("frames", min=3, max=64)}}
    model = import_torch(module, inputs, bounded)
    assert facts.get(model, facts.DimRange) == facts.DimRange("frames", 5, 64)


def test_an_example_of_one_step_is_enough() -> None:
    module, inputs, dynamic = models.denoiser()
    model = import_torch(module, (inputs[0][:, :1], inputs[1]), dynamic)
    assert facts.get(model, facts.DimRange) == facts.DimRange("T", 1, 4096)
    assert_same(module, model, {"bands": torch.randn(1, 9, 22), "h": inputs[1]})


def test_the_module_stays_as_it_was() -> None:
    module, inputs, dynamic = models.keyword_spotter()
    module.train()
    module.front.eval()
    modes = [part.training for part in module.modules()]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    attributes = [sorted(vars(part)) for part in module.modules()]
    forward = nn.LSTM.forward
    import_torch(module, inputs, dynamic)
    assert [part.training for part in module.modules()] == modes
    assert [sorted(vars(part)) for part in module.modules()] == attributes
    assert nn.LSTM.forward is forward
    assert all(torch.equal(weights[name], value) for name, value in module.state_dict().items())
    assert all(isinstance(p, nn.Parameter) for p in module.core._flat_weights)


def test_the_example_stays_as_it_was() -> None:
    module, inputs, dynamic = models.causal_convolution()
    before = [vars(value).copy() for value in inputs]
    import_torch(module, inputs, dynamic)
    assert [vars(value) for value in inputs] == before
    model = import_torch(module, inputs)
    assert [str(dim) for dim in model.graph.inputs[0].shape or ()] == ["1", "4", "20"]


def test_the_model_does_not_change_with_the_module() -> None:
    module, inputs, _ = recurrent.cell("gru")
    model = import_torch(module, inputs)
    feeds = dict(zip(["x", "h"], inputs, strict=True))
    before = run(model, feeds)[0]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(run(model, feeds)[0], before)


def test_shared_weights_are_stored_once() -> None:
    model = import_torch(*models.shared_and_tied())
    grus = [node for node in model.graph if node.op_type == "GRU"]
    assert len(grus) == 2
    assert grus[0].inputs[1] is grus[1].inputs[1]
    assert [v.name for v in model.graph.outputs] == ["features", "scores"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    module, inputs, dynamic = models.denoiser()
    model = import_torch(module.to(dtype), tuple(x.to(dtype) for x in inputs), dynamic)
    kinds = {torch.float64: ir.DataType.DOUBLE, torch.float16: ir.DataType.FLOAT16}
    assert {v.dtype for v in model.graph.outputs} == {kinds[dtype]}
    assert all(
        v.dtype in (kinds[dtype], ir.DataType.INT64) for v in model.graph.initializers.values()
    )
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_opset_is_the_internal_one() -> None:
    model = import_torch(*models.conv_recurrent())
    assert model.opset_imports == {"": 26}


def test_nothing_of_the_machine_is_in_the_model() -> None:
    model = import_torch(*models.conv_recurrent())
    data = ir.to_proto(model).SerializeToString()
    assert __file__.encode() not in data
    assert b"models.py" not in data
    assert b"pkg.torch" not in data


class WithNothing(nn.Module):
    """torch.cat skips tensors of shape (0,), whatever the others are."""

    def forward(self, x: Tensor) -> Tensor:
        nothing = torch.empty(0).to(x.dtype)
        return torch.cat([torch.cat([x, nothing, -x]), nothing], dim=-1)


def test_nothing_is_joined_to_something() -> None:
    feeds = {"x": torch.randn(2, 3)}
    model = import_torch(WithNothing(), (feeds["x"],))
    assert_same(WithNothing(), model, feeds)


class Passthrough(nn.Module):
    def forward(self, x: Tensor, h: Tensor) -> Any:
        y = x * 2
        return y, h, y


def test_outputs_that_are_inputs_or_twice_the_same() -> None:
    inputs = (torch.randn(2, 3), torch.randn(4))
    model = import_torch(Passthrough(), inputs)
    assert [v.name for v in model.graph.outputs] == ["y", "h_out", "y_2"]
    assert_same(Passthrough(), model, {"x": inputs[0], "h": inputs[1]})


def test_overwritten_buffers_are_states() -> None:
    module, (frame,), _ = models.stateful_step()
    model = import_torch(module, (frame,))
    inputs = {str(value.name): value for value in model.graph.inputs}
    assert list(inputs) == ["frame", "h", "level"]
    assert [v.name for v in model.graph.outputs] == ["output", "h_out", "level_out"]
    assert facts.get(inputs["h"], facts.State) == facts.State("h_out")
    assert facts.get(inputs["h"], facts.InitialState) is None
    start = facts.get(inputs["level"], facts.InitialState)
    assert start is not None
    assert np.frombuffer(base64.b64decode(start.data), np.float32).tolist() == [1, 1, 1, 1]
    states = {"h": torch.zeros(1, 6), "level": torch.ones(1, 4)}
    for _ in range(5):
        frame = torch.randn(1, 4)
        want = module.eval()(frame).detach().numpy()
        got, *new = run(model, {"frame": frame, **states})
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)
        states = {name: torch.from_numpy(x) for name, x in zip(states, new, strict=True)}


class Nested(nn.Module):
    """States come and go as a tuple, inputs as a dict; one result is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(4, 6, batch_first=True)

    def forward(self, batch: dict[str, Tensor], state: tuple[Tensor, Tensor]) -> Any:
        y, state = self.core(batch["audio"] * batch["gain"], state)
        return y.sum(-1), None, state


def test_nested_inputs_and_outputs() -> None:
    state = (torch.randn(1, 1, 6), torch.randn(1, 1, 6))
    batch = {"audio": torch.randn(1, 5, 4), "gain": torch.ones(1)}
    module = Nested()
    model = import_torch(module, (batch, state), {"batch": {"audio": {1: "T"}}})
    names = [str(v.name) for v in model.graph.inputs]
    assert names == ["batch_audio", "batch_gain", "state_0", "state_1"]
    assert [v.name for v in model.graph.outputs] == ["output_0", "state_0_out", "state_1_out"]
    audio = torch.randn(1, 8, 4)
    with torch.no_grad():
        want, _, last = module.eval()({"audio": audio, "gain": batch["gain"]}, state)
    feeds = dict(zip(names, (audio, batch["gain"], *state), strict=True))
    for got, expect in zip(run(model, feeds), (want, *last), strict=True):
        np.testing.assert_allclose(got, expect.numpy(), rtol=0, atol=TOLERANCE)


class Options(nn.Module):
    """Arguments that are not tensors are settled when the model is imported."""

    def forward(self, x: Tensor, gain: float = 2.0, *, negate: bool = False) -> Tensor:
        y = x * gain
        return -y if negate else y


def test_arguments_that_are_no_tensors_are_fixed() -> None:
    x = torch.randn(3)
    model = import_torch(Options(), {"x": x, "gain": 3.0, "negate": True})
    assert [v.name for v in model.graph.inputs] == ["x"]
    np.testing.assert_array_equal(run(model, {"x": x})[0], (-3 * x).numpy())
