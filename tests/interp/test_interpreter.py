from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeseq.errors import UnsupportedModelError, UsageError
from edgeseq.interp import Interpreter


def model(text: str, opset: int = 20) -> ir.Model:
    header = f'<ir_version: 10, opset_import: ["" : {opset}, "edgeseq" : 1]>\n'
    return ir.from_onnx_text(header + text)


LINEAR = """
g (float[2, 3] x) => (float[2, 2] y)
<float[3, 2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float[2] b = {0.5, -0.5}>
{
    t = MatMul(x, w)
    y = Add(t, b)
}
"""


def test_floats_are_computed_in_the_asked_type() -> None:
    x = np.ones((2, 3), np.float32) / 3
    for dtype in (torch.float64, torch.float32, torch.float16):
        assert Interpreter(model(LINEAR), dtype)({"x": x})["y"].dtype == dtype
    # The exact sum of three float32 thirds: float64 shows what float32 rounds away.
    exact = 9 * float(np.float32(1) / np.float32(3)) + 0.5
    assert float(Interpreter(model(LINEAR))({"x": x})["y"][0, 0].detach()) == exact


def test_weights_take_gradients_and_keep_their_names() -> None:
    source = model(LINEAR)
    source.graph.initializers["w"].name = "w.0"  # torch allows no dots in names of parameters
    interpreter = Interpreter(source, trainable=True)
    assert sorted(interpreter.weights) == ["b", "w.0"]
    x = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    interpreter({"x": x})["y"].sum().backward()
    gradient = interpreter.weights["w.0"].grad
    assert gradient is not None
    assert torch.equal(gradient, x.sum(0).reshape(3, 1).expand(3, 2))
    assert len(list(interpreter.parameters())) == 2


def test_weights_do_not_take_gradients_unless_asked() -> None:
    assert not any(p.requires_grad for p in Interpreter(model(LINEAR)).parameters())


def test_gradients_flow_through_a_recurrence() -> None:
    interpreter = Interpreter(
        model("""
        g (float[T, 1, 2] x, float[1, 9, 2] w, float[1, 9, 3] r) => (float[T, 1, 1, 3] y)
        { y = GRU <hidden_size = 3, linear_before_reset = 1> (x, w, r) }
        """)
    )
    generator = torch.Generator().manual_seed(0)
    x, w, r = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((4, 1, 2), (1, 9, 2), (1, 9, 3))
    )
    run = lambda *v: interpreter(dict(zip("xwr", v, strict=True)))["y"]  # noqa: E731
    assert torch.autograd.gradcheck(run, (x, w, r))


def test_every_unsupported_node_is_listed_at_once() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        Interpreter(
            model("""
            g (float[2] x, bool c) => (float[2] y)
            {
                a = Foo(x)
                [last] b = other.Bar(a)
                y = If (c) <
                    then_branch = p () => (float[2] u) { [inner] u = RandomNormalLike(b) },
                    else_branch = q () => (float[2] v) { v = Identity(b) }
                >
            }
            """)
        )
    text = str(caught.value)
    assert text.startswith("the interpreter has no operators for 3 nodes\n")
    assert "Foo" in text
    assert "other.Bar" in text
    assert "node 'inner': RandomNormalLike" in text


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        Interpreter(model(LINEAR))({"z": np.ones(3)})
    assert str(caught.value) == (
        "the inputs do not fit the model; missing: x; unknown: z\n  why: its inputs are x"
    )


def test_an_error_inside_says_at_which_node() -> None:
    with pytest.raises(RuntimeError) as caught:
        Interpreter(model(LINEAR))({"x": np.ones((2, 4))})
    assert any("(MatMul)" in note and "(2, 4)" in note for note in caught.value.__notes__)


def test_functions_are_run_by_their_body_with_their_attributes() -> None:
    interpreter = Interpreter(
        model("""
        g (float[2] x) => (float[2] y, float[2] z)
        {
            y = edgeseq.leaky <slope = 0.5> (x)
            z = edgeseq.leaky (x)
        }
        <domain: "edgeseq", opset_import: ["" : 20]>
        leaky <slope: float = 0.25> (x) => (y)
        { y = LeakyRelu <alpha: float = @slope> (x) }
        """)
    )
    got = interpreter({"x": np.array([-4.0, 4.0])})
    assert got["y"].tolist() == [-2.0, 4.0]
    assert got["z"].tolist() == [-1.0, 4.0]


def test_a_function_of_domain_edgeseq_hides_a_standard_name() -> None:
    interpreter = Interpreter(
        model("""
        g (float[2] x) => (float[2] y)
        { y = edgeseq.Relu(x) }
        <domain: "edgeseq", opset_import: ["" : 20]>
        Relu (x) => (y) { y = Neg(x) }
        """)
    )
    assert interpreter({"x": np.array([1.0, 2.0])})["y"].tolist() == [-1.0, -2.0]


def test_subgraphs_see_the_values_around_them() -> None:
    interpreter = Interpreter(
        model("""
        g (float[1] x, int64 n) => (float[1] y, float[n, 1] all)
        {
            go = Constant <value = bool {1}> ()
            y, all = Loop (n, go, x) <
                body = b (int64 i, bool c, float[1] s) => (bool c2, float[1] s2, float[1] row)
                {
                    c2 = Identity(c)
                    s2 = Add(s, x)
                    row = Mul(s2, x)
                }
            >
        }
        """)
    )
    got = interpreter({"x": np.array([2.0]), "n": np.array(3)})
    assert got["y"].tolist() == [8.0]
    assert got["all"].tolist() == [[8.0], [12.0], [16.0]]
    none = interpreter({"x": np.array([2.0]), "n": np.array(0)})
    assert none["y"].tolist() == [2.0]
    assert none["all"].shape == (0, 1)
    assert none["all"].dtype == torch.float64


def test_integers_stay_integers() -> None:
    interpreter = Interpreter(
        model("g (int64[2] x) => (int64[2] y) <int64[2] two = {2, 2}> { y = Div(x, two) }")
    )
    got = interpreter({"x": np.array([7, -7])})["y"]
    assert got.dtype == torch.int64
    assert got.tolist() == [3, -3]  # towards zero


def test_an_initializer_that_is_also_an_input_is_its_default() -> None:
    interpreter = Interpreter(
        model("g (float[1] x, float[1] k = {3.0}) => (float[1] y) { y = Mul(x, k) }")
    )
    x = np.array([2.0])
    assert interpreter({"x": x})["y"].tolist() == [6.0]
    assert interpreter({"x": x, "k": np.array([5.0])})["y"].tolist() == [10.0]
