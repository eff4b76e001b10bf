"""Small twins of the real models, from PyTorch: compiled, validated, and held against torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import edgeseq
from edgeseq import validate
from edgeseq.frontends.torch import import_torch
from edgeseq.runtime import host_target
from tests.zoo import linear_steps, steps

STEPS = 40
TOLERANCE = 1e-5  # of the range; both sides are float32 and carry their own errors along

Made = tuple[torch.nn.Module, tuple[Tensor, ...], None]


@dataclasses.dataclass(frozen=True)
class Twin:
    """A model of the zoo, and the operators that make its kind hard."""

    make: Callable[[], Made]
    operators: frozenset[str]


def twin(make: Callable[[], Made], operators: str) -> Twin:
    return Twin(make, frozenset(operators.split()))


TWINS = {
    "conv-recurrent": twin(
        steps.conv_recurrent_step,
        "GRU Conv ConvTranspose BatchNormalization PRelu Pad Slice Concat ScatterElements",
    ),
    "dual-lstm": twin(steps.dual_lstm_step, "LSTM Conv Concat Gather Sigmoid LayerNormalization"),
    "voice-activity": twin(steps.voice_activity_step, "LSTM Conv Pad Pow Sqrt ReduceMean"),
    "linear-attention": twin(
        linear_steps.token_step, "Gather LayerNormalization MatMul InstanceNormalization Relu"
    ),
    "selective-state": twin(linear_steps.selective_step, "Softplus Exp Concat Slice ReduceSum Div"),
}


@pytest.mark.parametrize("name", TWINS)
def test_has_the_operators_it_is_there_for(name: str) -> None:
    module, inputs, _ = TWINS[name].make()
    model = import_torch(module, inputs)
    assert {node.op_type for node in model.graph} >= TWINS[name].operators


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_streams_as_torch_does(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    module, inputs, _ = TWINS[name].make()
    targets = (host_target(), "c")
    artifact = edgeseq.compile(
        module, inputs, targets=targets, output=tmp_path / "dist", cache=False, stream=True
    )
    for target in targets:
        model = artifact.load(target)  # once: target `c` is compiled here
        verdict = validate.check(artifact.folder, target, model)
        assert verdict.ok, validate.to_text(verdict)
        assert len(model.states) == len(inputs) - 1
        stream = model.stream()
        for frame, output, states in by_torch(module, inputs):
            close(stream.step(frame), output)
            for state, want in zip(model.states, states, strict=True):
                close(stream.state(state.input), want)


def by_torch(
    module: torch.nn.Module, inputs: tuple[Tensor, ...]
) -> Iterator[tuple[Tensor, Tensor, list[Tensor]]]:
    """Random frames, and what torch makes of them with its states fed back."""
    module.eval()
    torch.manual_seed(1)
    example, *states = inputs
    for _ in range(STEPS):
        frame = torch.randn_like(example) if example.is_floating_point() else example.random_(50)
        with torch.no_grad():
            output, *states = module(frame, *states).values()
        yield frame.clone(), output, states


def close(got: Any, want: Tensor) -> None:
    expected = want.numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * scale)
