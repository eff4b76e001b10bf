"""Every matrix is what its node multiplies by, and its rows are what it multiplies."""

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeseq.interp import Interpreter
from edgeseq.ir import facts
from edgeseq.ir.patterns import Pattern
from edgeseq.train import prunable, rows, statistics
from edgeseq.train.rollout import Rollout
from tests.train.conftest import model, tensor, value


def seen(one, inputs):
    """Run a model and return {matrix: (rows, the node's first output)}."""
    found, matrices = {}, prunable.find(one)

    def watch(step, given, outputs):
        y = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        for matrix in matrices:
            for use in matrix.uses:
                if step.outputs[0].producer() is use.node:
                    found[matrix] = rows.of(matrix, use, step, given, y).numpy(), y.numpy()

    Interpreter(one, watch=watch)(inputs)
    return found


def graph_of(op, inputs, **attributes):
    node = ir.node(op, inputs, attributes=attributes, num_outputs=1, name="node")
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    fed = [v for v in inputs if v is not None and v.const_value is None]
    return model(fed, [node], [node.outputs[0]])


def fed(*shape):
    return np.random.default_rng(7).normal(size=shape)


@pytest.mark.parametrize(
    ("op", "shapes", "constant", "attributes"),
    [
        ("MatMul", [(3, 2, 6), (6, 5)], 1, {}),
        ("MatMul", [(3, 2, 6), (1, 6, 5)], 1, {}),
        ("MatMul", [(5, 6), (2, 6, 3)], 0, {}),
        ("MatMul", [(5, 6), (6,)], 0, {}),
        ("Gemm", [(4, 6), (6, 5)], 1, {}),
        ("Gemm", [(4, 6), (5, 6)], 1, {"transB": 1}),
        ("Gemm", [(6, 4), (5, 6)], 1, {"transA": 1, "transB": 1}),
        ("Gemm", [(5, 6), (4, 6)], 0, {"transB": 1}),
        ("Gemm", [(6, 5), (6, 4)], 0, {"transA": 1}),
    ],
)
def test_linear(op, shapes, constant, attributes):
    names = [value("x", *s) for s in shapes]
    names[constant] = tensor("w", *shapes[constant])
    ((matrix, (inputs, y)),) = seen(
        graph_of(op, names, **attributes), {"x": fed(*shapes[1 - constant])}
    ).items()
    assert matrix.shape == (5, 6)
    product = inputs[0] @ matrix.get().T.astype(float)  # [rows, outputs]
    if constant == 0:
        product = product.reshape(*y.shape[:-2], -1, 5).swapaxes(-1, -2)
    np.testing.assert_allclose(product.reshape(y.shape), y, atol=1e-6)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize(
    ("groups", "kernel", "attributes"),
    [
        (1, (3,), {}),
        (2, (3,), {"strides": [2], "pads": [1, 2]}),
        (1, (3, 2), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 1]}),
        (4, (3,), {"auto_pad": "SAME_UPPER", "strides": [2]}),
    ],
)
def test_convolution(op, groups, kernel, attributes):
    outputs = 8
    shape = (outputs, 4 // groups) if op == "Conv" else (4, outputs // groups)
    x = value("x", 2, 4, 9, 7)
    x.shape = ir.Shape((2, 4, 9, 7)[: 2 + len(kernel)])
    one = graph_of(op, [x, tensor("w", *shape, *kernel)], group=groups, **attributes)
    ((matrix, (inputs, y)),) = seen(one, {"x": fed(*x.shape)}).items()
    assert matrix.shape == (outputs, np.prod(kernel) * 4 // groups)
    assert matrix.kind == ("depthwise" if groups == 4 else "convolution")
    weights = matrix.get().reshape(groups, outputs // groups, -1).astype(float)
    product = np.einsum("gni,goi->gon", inputs, weights)
    product = product.reshape(outputs, 2, -1).swapaxes(0, 1)
    np.testing.assert_allclose(product.reshape(y.shape), y, atol=1e-6)


def recurrent(op, hidden=4, directions=1, **attributes):
    count = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    shape = (3, 5, 6) if attributes.get("layout") else (5, 3, 6)
    weights = [
        tensor("w", directions, count * hidden, 6),
        tensor("r", directions, count * hidden, hidden, seed=1),
        tensor("b", directions, 2 * count * hidden, seed=2),
    ]
    first = tensor("h0", *((3, directions) if attributes.get("layout") else (directions, 3)), 4)
    names = [value("x", *shape), *weights, None, first]
    return graph_of(op, names, hidden_size=hidden, **attributes), shape


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    "attributes",
    [
        {"linear_before_reset": 1},
        {},
        {"layout": 1},
        {"direction": "reverse"},
        {"direction": "bidirectional", "linear_before_reset": 1},
    ],
    ids=str,
)
def test_gru_matrices_and_their_rows_give_its_output(attributes):
    both = attributes.get("direction") == "bidirectional"
    one, shape = recurrent("GRU", directions=1 + both, **attributes)
    found = seen(one, {"x": fed(*shape)})
    assert len(found) == 12 if both else 6
    bias = one.graph.initializers["b"].const_value.numpy().astype(float)
    for direction in range(1 + both):
        mark = "backward." * direction
        by_name = {m.name: (m, r[0], y) for m, (r, y) in found.items()}
        sums = {}
        for slot in "wr":
            for number, gate in enumerate("zrh"):
                matrix, given, y = by_name[f"{slot}[{mark}{gate}]"]
                start = (slot == "r") * 12 + number * 4
                sums[slot + gate] = (
                    given @ matrix.get().T.astype(float) + bias[direction, start : start + 4]
                )
        z, r = sigmoid(sums["wz"] + sums["rz"]), sigmoid(sums["wr"] + sums["rr"])
        after = attributes.get("linear_before_reset")
        n = np.tanh(sums["wh"] + (r * sums["rh"] if after else sums["rh"]))
        before = by_name[f"r[{mark}z]"][1]
        h = ((1 - z) * n + z * before).reshape(5, 3, 4)
        want = y.transpose(1, 2, 0, 3) if attributes.get("layout") else y
        np.testing.assert_allclose(h, want[:, direction], atol=1e-6)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", "iofc"), ("RNN", "")])
def test_gates_are_matrices(op, gates):
    one, shape = recurrent(op)
    names = [m.name for m in seen(one, {"x": fed(*shape)})]
    want = [f"{s}[{g}]" for s in "wr" for g in gates] or ["w", "r"]
    assert names == want


def test_setting_a_gate_changes_that_gate_alone():
    one, _ = recurrent("GRU")
    before = one.graph.initializers["r"].const_value.numpy().copy()
    (gate,) = [m for m in prunable.find(one) if m.name == "r[r]"]
    gate.set(np.zeros(gate.shape))
    after = one.graph.initializers["r"].const_value.numpy()
    assert (after[:, 4:8] == 0).all()
    assert (after[:, :4] == before[:, :4]).all()
    assert (after[:, 8:] == before[:, 8:]).all()


def test_a_transpose_is_followed():
    weight = tensor("w", 5, 6)
    turned = ir.node("Transpose", [weight], attributes={"perm": [1, 0]})
    product = ir.node("MatMul", [value("x", 2, 6), turned.outputs[0]])
    one = model(list(product.inputs[:1]), [turned, product], list(product.outputs))
    (matrix,) = prunable.find(one)
    assert (matrix.get() == weight.const_value.numpy()).all()


def test_shared_weights_are_one_matrix_or_none():
    weight, x = tensor("w", 6, 6), value("x", 2, 6)
    first = ir.node("MatMul", [x, weight])
    second = ir.node("MatMul", [first.outputs[0], weight])
    (matrix,) = prunable.find(model([x], [first, second], list(second.outputs)))
    assert len(matrix.uses) == 2

    weight, x = tensor("w", 6, 6), value("x", 2, 6)
    first = ir.node("MatMul", [x, weight])
    second = ir.node("Gemm", [first.outputs[0], weight], attributes={"transB": 1}, name="tied")
    found, skipped = prunable.survey(model([x], [first, second], list(second.outputs)))
    assert found == []
    assert "another way" in skipped[0].reason


def test_a_table_that_is_also_looked_up_is_left_alone():
    weight, x = tensor("w", 6, 6), value("x", 2, 6)
    product = ir.node("MatMul", [x, weight])
    looked_up = ir.node("Gather", [weight, ir.Value(name="i")], name="embedding")
    found, skipped = prunable.survey(model([x], [product, looked_up], list(product.outputs)))
    assert found == []
    assert skipped[0].reason == "node 'embedding' (Gather) uses the same weight, too"


def test_the_mark_and_the_zeros_survive_a_save(tmp_path):
    one, _ = recurrent("GRU")
    pattern = Pattern.parse("unstructured")
    for matrix in prunable.find(one):
        prunable.apply(matrix, pattern.mask(np.abs(matrix.get()), 0.25))
    prunable.mark(prunable.find(one), pattern)
    ir.save(one, tmp_path / "m.onnx")
    again = ir.load(tmp_path / "m.onnx")
    fact = facts.get(again.graph.initializers["r"], facts.Sparsity)
    assert fact == facts.Sparsity("unstructured", 0.25)
    assert all((m.get() != 0).mean() == 0.25 for m in prunable.find(again))


def test_half_precision_weights_keep_their_type():
    weight = tensor("w", 6, 5)
    weight.const_value = ir.tensor(weight.const_value.numpy().astype(np.float16), name="w")
    weight.type = ir.TensorType(ir.DataType.FLOAT16)
    product = ir.node("MatMul", [value("x", 2, 6), weight])
    (matrix,) = prunable.find(model(list(product.inputs[:1]), [product], list(product.outputs)))
    assert matrix.get().dtype == np.float32
    matrix.set(matrix.get() * 0)
    assert weight.const_value.dtype == ir.DataType.FLOAT16


def test_statistics_pool_all_steps_of_all_samples(step_model):
    samples = [{"x": fed(steps, 1, 6).astype(np.float32)} for steps in (7, 4)]
    matrices = prunable.find(step_model)
    found, outputs = statistics.gather(step_model, matrices, samples)
    assert [one["y"].shape for one in outputs] == [(7, 1, 5), (4, 1, 5)]
    by_name = {m.name: (m, s) for m, s in found.items()}
    _, inputs = by_name["gru.w[z]"]
    rows_ = np.concatenate([s["x"] for s in samples])[:, 0].astype(float)
    assert (inputs.count, inputs.samples) == (11, 2)
    np.testing.assert_allclose(inputs.gram[0], rows_.T @ rows_, rtol=1e-5)
    np.testing.assert_allclose(inputs.variance[0], rows_.var(0), rtol=1e-4)

    states, rollout = [], Rollout(step_model)
    run = Interpreter(step_model, torch.float32)
    for sample in samples:
        carried = None
        for x in sample["x"]:
            states.append(np.zeros(8) if carried is None else carried["h"].detach().numpy().ravel())
            _, carried = rollout(run, {"x": x[None]}, carried)
    h = np.array(states)
    matrix, hidden = by_name["gru.r[h]"]
    np.testing.assert_allclose(hidden.gram[0], h.T @ h, rtol=1e-4, atol=1e-6)
    change = np.ones(matrix.shape)
    assert hidden.error(change) == pytest.approx(((h @ change.T) ** 2).sum(), rel=1e-4)


def test_a_sequence_and_its_steps_have_the_same_statistics(step_model, sequence_model):
    x = fed(1, 40, 6).astype(np.float32)
    whole, _ = statistics.gather(sequence_model, prunable.find(sequence_model), [{"x": x}])
    steps, _ = statistics.gather(step_model, prunable.find(step_model), [{"x": x.swapaxes(0, 1)}])
    for one, other in zip(whole.values(), steps.values(), strict=True):
        np.testing.assert_allclose(one.gram, other.gram, rtol=1e-4, atol=1e-5)
