"""Old opsets: each node means the same at the internal opset."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.onnx import import_onnx

# Name -> (opset, graph). Weights without values are random.
GRAPHS = {
    "squeeze 11": (11, "(float[2, 1, 3] x) => (float[2, 3] y) { y = Squeeze <axes = [1]> (x) }"),
    "squeeze all 11": (11, "(float[2, 1, 3] x) => (float[2, 3] y) { y = Squeeze (x) }"),
    "unsqueeze 7": (7, "(float[2, 3] x) => (float[2, 1, 3] y) { y = Unsqueeze <axes = [1]> (x) }"),
    "reduce sum 11": (
        11,
        "(float[2, 3] x) => (float[2] y) { y = ReduceSum <axes = [1], keepdims = 0> (x) }",
    ),
    "reduce mean 13": (
        13,
        "(float[2, 3] x) => (float[1, 3] y) { y = ReduceMean <axes = [-2]> (x) }",
    ),
    "reduce all 13": (13, "(float[2, 3] x) => (float[1, 1] y) { y = ReduceMax (x) }"),
    "split sizes 11": (
        11,
        "(float[5] x) => (float[2] y, float[3] z) { y, z = Split <split = [2, 3]> (x) }",
    ),
    "split evenly 13": (
        13,
        "(float[4, 6] x) => (float[4, 3] y, float[4, 3] z) { y, z = Split <axis = 1> (x) }",
    ),
    "softmax default 11": (11, "(float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax (x) }"),
    "softmax last 11": (
        11,
        "(float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Softmax <axis = 2> (x) }",
    ),
    "log softmax 9": (
        9,
        "(float[2, 3, 4] x) => (float[2, 3, 4] y) { y = LogSoftmax <axis = 0> (x) }",
    ),
    "pad 9": (
        9,
        "(float[2, 3] x) => (float[3, 5] y) { y = Pad <pads = [1, 0, 0, 2], value = 0.5> (x) }",
    ),
    "pad reflect 7": (
        7,
        "(float[1, 4] x) => (float[1, 6] y) "
        '{ y = Pad <mode = "reflect", pads = [0, 1, 0, 1]> (x) }',
    ),
    "slice 9": (
        9,
        "(float[5, 6] x) => (float[2, 6] y) { y = Slice <starts = [1], ends = [3]> (x) }",
    ),
    "slice axes 9": (
        9,
        "(float[5, 6] x) => (float[5, 2] y) "
        "{ y = Slice <axes = [1], starts = [-3], ends = [-1]> (x) }",
    ),
    "clip 7": (7, "(float[9] x) => (float[9] y) { y = Clip <min = -0.5, max = 0.5> (x) }"),
    "clip one side 9": (9, "(float[9] x) => (float[9] y) { y = Clip <max = 0.1> (x) }"),
    "dropout 7": (7, "(float[9] x) => (float[9] y) { y = Dropout <ratio = 0.3> (x) }"),
    "batch normalization 7": (
        7,
        "(float[2, 3, 4] x) => (float[2, 3, 4] y) "
        "<float[3] s, float[3] b, float[3] m, float[3] v> "
        "{ y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v) }",
    ),
    "top k 9": (
        9,
        "(float[2, 5] x) => (float[2, 3] y, int64[2, 3] i) { y, i = TopK <k = 3> (x) }",
    ),
    "upsample 7": (
        7,
        "(float[1, 1, 2, 3] x) => (float[1, 1, 4, 6] y) "
        "{ y = Upsample <scales = [1., 1., 2., 2.]> (x) }",
    ),
    "upsample 9": (
        9,
        "(float[1, 1, 2, 3] x) => (float[1, 1, 4, 6] y) <float[4] s = {1, 1, 2, 2}> "
        '{ y = Upsample <mode = "nearest"> (x, s) }',
    ),
    "resize 10": (
        10,
        "(float[1, 1, 2, 3] x) => (float[1, 1, 4, 6] y) <float[4] s = {1, 1, 2, 2}> "
        '{ y = Resize <mode = "linear"> (x, s) }',
    ),
    "scatter 9": (
        9,
        "(float[4] x, float[2] u) => (float[4] y) <int64[2] i = {2, 0}> { y = Scatter (x, i, u) }",
    ),
    "gru 7": (
        7,
        "(float[5, 1, 3] x) => (float[5, 1, 1, 4] y) <float[1, 12, 3] w, float[1, 12, 4] r> "
        "{ y = GRU <hidden_size = 4, linear_before_reset = 1> (x, w, r) }",
    ),
    "group normalization 18": (
        18,
        "(float[2, 4, 5] x) => (float[2, 4, 5] y) <float[2] s, float[2] b> "
        "{ y = GroupNormalization <num_groups = 2> (x, s, b) }",
    ),
    "if with an old branch 11": (
        11,
        "(bool c, float[2, 1] x) => (float[2] y) { y = If (c) <"
        "then_branch = a () => (float[2] p) { p = Squeeze <axes = [1]> (x) },"
        "else_branch = b () => (float[2] q) { n = Neg (x) q = Squeeze <axes = [1]> (n) }> }",
    ),
    "scan with an old body 11": (
        11,
        "(float[5, 2, 1] x) => (float[2, 1] f, float[5, 2] y) <float[2, 1] zero = {0, 0}> "
        "{ f, y = Scan <num_scan_inputs = 1, body = b (float[2, 1] s, float[2, 1] i) "
        "=> (float[2, 1] n, float[2] o) { n = Add (s, i) o = Squeeze <axes = [1]> (n) }> "
        "(zero, x) }",
    ),
}


def build(opset, text):
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\ng {text}')
    made = {name for node in proto.graph.node for name in node.output}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            numbers = np.random.default_rng(zlib.crc32(info.name.encode())).uniform(0.2, 1, shape)
            tensor = onnx.numpy_helper.from_array(numbers.astype(np.float32), info.name)
            proto.graph.initializer.append(tensor)
    del proto.graph.value_info[:]
    return proto


def run(model: bytes):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options)
    random = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        numbers = random.standard_normal(value.shape)
        feeds[value.name] = np.array(numbers > 0 if "bool" in value.type else np.float32(numbers))
    return session.run(None, feeds)


@pytest.mark.parametrize("name", GRAPHS)
def test_computes_the_same(tmp_path, name):
    proto = build(*GRAPHS[name])
    path = tmp_path / "old.onnx"
    path.write_bytes(proto.SerializeToString())
    model = import_onnx(path)
    new = ir.to_proto(model)
    onnx.checker.check_model(new, full_check=True)
    assert {entry.domain: entry.version for entry in new.opset_import} == {"": 26}
    for got, want in zip(run(new.SerializeToString()), run(proto.SerializeToString()), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


DFT = "(float[1, 8, 1] x) => (float[1, 8, 2] y) { y = DFT <axis = 1> (x) }"
GRID = (
    "(float[1, 1, 3, 3] x, float[1, 2, 2, 2] g) => (float[1, 1, 2, 2] y) "
    '{ y = GridSample <mode = "bilinear"> (x, g) }'
)
ROI = (
    "(float[1, 1, 4, 4] x, float[1, 4] r) => (float[1, 1, 1, 1] y) <int64[1] i = {0}> "
    "{ y = RoiAlign (x, r, i) }"
)


@pytest.mark.parametrize(
    ("opset", "text", "attribute", "value"),
    [
        (17, DFT, "axis", None),
        (16, GRID, "mode", "linear"),
        (10, ROI, "coordinate_transformation_mode", "output_half_pixel"),
    ],
)
def test_interfaces_that_changed(tmp_path, opset, text, attribute, value):
    path = tmp_path / "old.onnx"
    path.write_bytes(build(opset, text).SerializeToString())
    model = import_onnx(path)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = model.graph[0].attributes.get(attribute)
    assert (None if found is None else found.as_string()) == value


def test_what_cannot_be_brought_over_is_listed(tmp_path):
    text = (
        "(float[9] x) => (float[9] y, float[9] m, float[2, 3, 4] z) "
        "<float[2, 3, 4] d, float[12] s, float[12] b, float[12] n, float[12] v> "
        "{ [drop] y, m = Dropout (x) "
        "[norm] z = BatchNormalization <spatial = 0> (d, s, b, n, v) }"
    )
    path = tmp_path / "old.onnx"
    path.write_bytes(build(7, text).SerializeToString())
    with pytest.raises(UnsupportedModelError) as error:
        import_onnx(path)
    assert error.value.render() == (
        "opset 7 nodes that cannot be brought to opset 26\n"
        "  at:  node 'norm' (BatchNormalization): spatial=0 normalises each pixel apart\n"
        "  fix: export the model again with opset_version=26"
    )
