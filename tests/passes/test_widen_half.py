"""Half-precision products and recurrences are computed in float32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from edgeseq.passes.widen_half import PASS

from edgeseq import pipeline

GEMM = """
<ir_version: 10, opset_import: ["" : 26]>
g (float16[2, 3] x) => (float16[2, 2] y)
<float16[3, 2] w = {1, 2, 3, 4, 5, 6}>
{
    y = MatMul(x, w)
}
"""


def ops(model: ir.Model) -> list[str]:
    return [n.op_type for n in model.graph]


def test_operands_go_up_and_results_come_down() -> None:
    model = ir.from_onnx_text(GEMM)
    assert PASS()(model).modified
    # the matrix stays a half: its kernel widens it as it reads
    assert ops(model) == ["Cast", "Cast", "MatMul", "Cast"]
    assert [v.name for v in model.graph.outputs] == ["y"]
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT16
    assert [v.dtype for v in model.graph.initializers.values()] == [ir.DataType.FLOAT16]


def test_the_result_is_the_rounded_float32_product() -> None:
    import onnxruntime

    model = ir.from_onnx_text(GEMM)
    stored = model.graph.initializers["w"].const_value
    assert stored is not None
    w = stored.numpy().astype(np.float32)
    PASS()(model)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    x = np.array([[0.1, 0.2, 0.3], [1, -1, 0.5]], np.float16)
    (y,) = session.run(None, {"x": x})
    assert (y == (x.astype(np.float32) @ w).astype(np.float16)).all()


@pytest.mark.parametrize("kind", ["float", "double"])
def test_other_types_are_left_alone(kind: str) -> None:
    model = ir.from_onnx_text(GEMM.replace("float16", kind))
    assert not PASS()(model).modified


def test_it_is_in_the_pipeline() -> None:
    assert "widen-half" in pipeline.PASSES
