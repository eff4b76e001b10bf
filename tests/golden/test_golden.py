"""The C that comes out, whole: `pytest tests/golden --update-golden` writes it anew.

A change in it is to be read in review. The model has states, kinds of values and an arena but no
hand-written kernel, whose source would fill the file.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeseq import api
from edgeseq.options import CompileOptions

FOLDER = Path(__file__).parent
MODEL = """<ir_version: 10, opset_import: ["" : 20]>
tiny (float[1, 3] x, float[1, 3] level, float[2, 3] past, int64[1] count)
    => (float[1, 6] y, int64[1] seen,
        float[1, 3] level_out, float[2, 3] past_out, int64[1] count_out)
<float[1] keep = {0.9}, int64[1] one = {1}, int64[1] from = {1}, int64[1] to = {3},
 int64[1] rows = {0}, float[1, 3] scale = {0.5, -1.25, 2.0}>
{
    kept = Mul(level, keep)
    level_out = Add(kept, x)
    frames = Concat <axis = 0> (past, x)
    past_out = Slice(frames, from, to, rows)
    sum = ReduceSum <keepdims = 1> (frames, rows)
    scaled = Mul(sum, scale)
    bounded = Tanh(level_out)
    y = Concat <axis = 1> (scaled, bounded)
    count_out = Add(count, one)
    seen = Identity(count_out)
}
"""


@pytest.mark.parametrize("name", ["tiny.h", "tiny.c"])
def test_emitted_c(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    options = CompileOptions(tmp_path / "dist", ("c",), name="tiny", cache=False, stream=True)
    built = api.compile_model(onnx.parser.parse_model(MODEL), options).folder / "c"
    text = (built / name).read_text(encoding="utf-8")
    golden = FOLDER / name
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if it should change: --update-golden"
