"""RNN, GRU and LSTM against ONNX Runtime, over everything the standard lets a node say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from edgeseq.interp import Interpreter

T, BATCH, INPUT, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclasses.dataclass(frozen=True)
class Case:
    op: str
    direction: str = "forward"
    inputs: frozenset[str] = frozenset()  # of b, lengths, h0, c0, p
    attributes: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [self.op, self.direction, *sorted(self.inputs), *(n for n, _ in self.attributes)]
        return "-".join(words)


def _cases() -> list[Case]:
    cases = []
    for op in GATES:
        some = frozenset({"b", "h0"})
        full = frozenset({"b", "h0", "lengths"}) | ({"c0", "p"} if op == "LSTM" else frozenset())
        for direction in ("forward", "reverse", "bidirectional"):
            cases += [Case(op, direction), Case(op, direction, some), Case(op, direction, full)]
        cases += [
            Case(op, "bidirectional", some, (("clip", 0.3),)),
            Case(op, "forward", full, (("clip", 0.3),)),
            Case(op, "forward", some, (("activations", _custom(op)),)),
            Case(op, "forward", some, (("activation_alpha", [0.3, 0.7, 0.6]), *_parameters(op))),
        ]
    for direction in ("forward", "bidirectional"):
        after = (("linear_before_reset", 1),)
        cases += [Case("GRU", direction, frozenset({"b", "h0", "lengths"}), after)]
        cases += [Case("GRU", direction, frozenset(), after)]
    return [*cases, Case("LSTM", "forward", frozenset({"b"}), (("input_forget", 1),))]


def _custom(op: str) -> list[str]:
    return {
        "RNN": ["Relu"],
        "GRU": ["Sigmoid", "Softsign"],
        "LSTM": ["Sigmoid", "Relu", "Softplus"],
    }[op]


def _parameters(op: str) -> list[tuple[str, Any]]:
    names = {
        "RNN": ["LeakyRelu"],
        "GRU": ["HardSigmoid", "ScaledTanh"],
        "LSTM": ["HardSigmoid", "ScaledTanh", "Affine"],
    }[op]
    return [("activations", names), ("activation_beta", [0.5, 0.4, 0.1])]


def _arrays(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    sides = 2 if case.direction == "bidirectional" else 1
    gates = GATES[case.op] * HIDDEN
    normal = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    arrays = {
        "x": normal(T, BATCH, INPUT),
        "w": normal(sides, gates, INPUT),
        "r": normal(sides, gates, HIDDEN),
        "b": normal(sides, 2 * gates),
        "lengths": np.array([T, 2, 4], np.int32),
        "h0": normal(sides, BATCH, HIDDEN),
        "c0": normal(sides, BATCH, HIDDEN),
        "p": normal(sides, 3 * HIDDEN),
    }
    return {n: a for n, a in arrays.items() if n in case.inputs | {"x", "w", "r"}}


def _model(case: Case, arrays: dict[str, np.ndarray[Any, Any]]) -> onnx.ModelProto:
    order = ["x", "w", "r", "b", "lengths", "h0", "c0", "p"]
    slots = [name if name in arrays else "" for name in order]
    while not slots[-1]:
        slots.pop()
    outputs = ["y", "y_h", "y_c"] if case.op == "LSTM" else ["y", "y_h"]
    node = helper.make_node(
        case.op,
        slots,
        outputs,
        hidden_size=HIDDEN,
        direction=case.direction,
        **dict(case.attributes),
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


@pytest.mark.parametrize("case", _cases(), ids=str)
def test_against_onnx_runtime(case: Case) -> None:
    torch.set_num_threads(1)
    arrays = _arrays(case)
    proto = _model(case, arrays)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    want = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, arrays), strict=True)
    )
    got = Interpreter(ir.from_proto(proto))(arrays)
    for name, expected in want.items():
        np.testing.assert_allclose(got[name].numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_batch_first_layout_is_the_same_numbers_transposed(op: str) -> None:
    # ONNX Runtime does not implement layout=1, so the time-first layout is the reference.
    extra = {"c0"} if op == "LSTM" else set()
    case = Case(op, "bidirectional", frozenset({"b", "h0", "lengths"} | extra))
    arrays = _arrays(case)
    first = Interpreter(ir.from_proto(_model(case, arrays)))(arrays)
    turned = {n: a.swapaxes(0, 1) if n in ("x", "h0", "c0") else a for n, a in arrays.items()}
    batch = dataclasses.replace(case, attributes=(("layout", 1),))
    second = Interpreter(ir.from_proto(_model(batch, turned)))(turned)
    assert torch.equal(second["y"], first["y"].permute(2, 0, 1, 3))
    assert torch.equal(second["y_h"], first["y_h"].transpose(0, 1))


@pytest.mark.parametrize("op", GATES)
def test_no_steps_give_the_initial_state(op: str) -> None:
    case = Case(op, "forward", frozenset({"h0"}))
    arrays = _arrays(case)
    arrays["x"] = arrays["x"][:0]
    got = Interpreter(ir.from_proto(_model(case, arrays)))(arrays)
    assert got["y"].shape == (0, 1, BATCH, HIDDEN)
    np.testing.assert_array_equal(got["y_h"].numpy(), arrays["h0"])
