"""Elements of a split tensor are slices, whichever exporter wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgeseq.frontends.onnx import import_onnx
from edgeseq.frontends.torch import import_torch

HEADER = '<ir_version: 8, opset_import: ["" : 13]>\n'
X = np.arange(14, dtype=np.float32).reshape(2, 7)


def imported(
    body: str, tmp_path: Path, shape: str = "2, 7", element: str = "float[a, b]"
) -> ir.Model:
    text = f"{HEADER}g (float[{shape}] x) => ({element} y) {body}"
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    return import_onnx(tmp_path / "m.onnx")


def operators(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph} - {"Constant"}


def run(model: ir.Model) -> np.ndarray:
    (y,) = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})
    return y


@pytest.mark.parametrize(
    ("sizes", "index", "want"),
    [
        ("int64[3] s = {2, 4, 1}", 1, X[:, 2:6]),
        ("int64[3] s = {2, 4, 1}", -1, X[:, 6:]),
        ("int64 s = {3}", 0, X[:, :3]),
        ("int64 s = {3}", 2, X[:, 6:]),  # the last part is shorter
        ("int64 s = {1}", -1, X[:, 6:]),
        ("int64 s = {1}", -2, X[:, 5:6]),
    ],
)
@pytest.mark.parametrize("shape", ["2, 7", "2, T"])
def test_sizes(sizes: str, index: int, want: np.ndarray, shape: str, tmp_path: Path) -> None:
    body = f"<{sizes}, int64 i = {{{index}}}> {{ p = SplitToSequence <axis = 1> (x, s)\n"
    model = imported(body + "y = SequenceAt(p, i) }", tmp_path, shape)
    assert operators(model) == {"Slice"}
    np.testing.assert_array_equal(run(model), want)


@pytest.mark.parametrize(("keep", "want"), [(0, X[1]), (1, X[1:2])])
def test_without_sizes(keep: int, want: np.ndarray, tmp_path: Path) -> None:
    body = f"<int64 i = {{1}}> {{ p = SplitToSequence <keepdims = {keep}> (x)\n"
    model = imported(
        body + "y = SequenceAt(p, i) }", tmp_path, element=f"float{[[7], [1, 7]][keep]}"
    )
    assert operators(model) == ({"Slice"} if keep else {"Slice", "Squeeze"})
    np.testing.assert_array_equal(run(model), want)


@pytest.mark.parametrize(
    "index",
    [
        "n = Size(x)",  # computed
        "n = Constant <value_int = -1> ()",  # from the end of nobody knows how many parts
    ],
)
def test_what_stays(index: str, tmp_path: Path) -> None:
    body = f"<int64 s = {{3}}> {{ p = SplitToSequence <axis = 1> (x, s)\n{index}\n"
    model = imported(body + "y = SequenceAt(p, n) }", tmp_path, "2, T")
    assert operators(model) >= {"SplitToSequence", "SequenceAt"}


class Parts(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a, b = x.chunk(2, -1)
        c, d, e = x.split([2, 3, 3], -1)
        f, g = x.unbind(0)
        h, i, j = x.split(3, -1)
        return a, b, c, d, e, f, g, h, i, j, *x.tensor_split(3, -1)


def test_every_way_that_torch_has() -> None:
    x = torch.randn(2, 8)
    model = import_torch(Parts(), (x,))
    assert not operators(model) & {"SplitToSequence", "SequenceAt"}
    got = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x.numpy()})
    for one, want in zip(got, Parts()(x), strict=True):
        np.testing.assert_array_equal(one, want.numpy())
