"""What only looks at numbers in another shape costs nothing, whatever the length."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import edgeseq
from edgeseq import api
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target

TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
turned (float[1, T, 8] x) => (float[1, T, 6] y, float[1, T, 64] h)
<float[8, 64] a, float[64, 6] b, int64[3] flat = {1, -1, 64}> {
    steps = Transpose <perm = [1, 0, 2]> (x)
    wide = MatMul (steps, a)
    up = Sigmoid (wide)
    h = Reshape (up, flat)
    y = MatMul (h, b)
}
"""


@pytest.mark.slow
def test_a_sequence_is_not_copied_to_be_seen_in_another_shape(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(TEXT)
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(s).astype(np.float32) for s in ((8, 64), (64, 6)))
    for name, array in (("a", a), ("b", b)):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "turned.onnx")
    options = CompileOptions(tmp_path / "dist", (host_target(), "c"), dims={"T": (1, 100)})
    dist = api.compile_model(str(tmp_path / "turned.onnx"), options).folder
    text = (dist / "c/turned.c").read_text()
    body = text[text.index("void turned_compute_run") :].partition("\n}\n")[0]
    called = re.findall(r"^    turned_(\w+)\(", body, re.MULTILINE)
    assert not [name for name in called if "copy" in name or "reshape" in name], body
    assert "(uint8_t *)h_)" in body  # computed where it is wanted
    for steps in (1, 7, 100):
        x = random.standard_normal((1, steps, 8)).astype(np.float32)
        h = 1 / (1 + np.exp(-(x @ a)))
        with edgeseq.load(dist).stream() as stream:
            got = stream.run(x)
        np.testing.assert_allclose(got["h"], h, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got["y"], h @ b, rtol=1e-4, atol=1e-4)
