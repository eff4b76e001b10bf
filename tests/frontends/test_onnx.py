"""Reading an ONNX file: what is checked, what is loaded, what is said when it cannot be used."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.external_data_helper
import onnx_ir as ir
import pytest

from edgeseq.errors import UnsupportedModelError, UsageError
from edgeseq.frontends.onnx import check_supported, import_onnx
from edgeseq.ir import facts

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x) => (float[1, 4] y) <float[4] bias = {1, 2, 3, 4}> {
    [layer] m = Add (x, bias)
    y = Relu (m)
}"""


@pytest.fixture
def write(tmp_path):
    def write(text=TEXT, name="m.onnx"):
        path = tmp_path / name
        path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
        return path

    return write


def test_brings_the_model_to_the_internal_opset_and_names_everything(write):
    model = import_onnx(write())
    assert model.opset_imports == {"": 26}
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [node.name for node in model.graph] == ["layer", "Relu.y"]
    first, second = model.graph
    assert facts.get(first, facts.SourceName) == facts.SourceName("layer")
    assert facts.get(second, facts.SourceName) is None
    bias = model.graph.initializers["bias"]
    assert facts.get(bias, facts.SourceName) == facts.SourceName("bias")


def test_inputs_with_a_default_are_weights(write):
    proto = onnx.load(write())
    proto.graph.input.append(onnx.helper.make_tensor_value_info("bias", 1, [4]))
    path = write()
    path.write_bytes(proto.SerializeToString())
    assert [value.name for value in import_onnx(path).graph.inputs] == ["x"]


def test_placeholders_are_not_sizes(write):
    """Paddle writes -1 for a batch and `?` for each other size that it does not know."""
    proto = onnx.load(write())
    for dim, name in zip(proto.graph.input[0].type.tensor_type.shape.dim, (None, "?"), strict=True):
        dim.Clear()
        if name is None:
            dim.dim_value = -1
        else:
            dim.dim_param = name
    path = write()
    path.write_bytes(proto.SerializeToString())
    (x,) = import_onnx(path).graph.inputs
    assert [dim.value for dim in x.shape] == [None, None]


FUNCTIONS = """<ir_version: 10, opset_import: ["" : 20, "{domain}" : 1]>
g (float[3] x) => (float[3] y) {{ [call] y = {domain}.twice (x) }}
<domain: "{domain}", opset_import: ["" : 20]> twice (a) => (b) {{ b = Add (a, a) }}"""


def test_functions_are_inlined(write):
    model = import_onnx(write(FUNCTIONS.format(domain="mine")))
    assert [node.op_type for node in model.graph] == ["Add"]


def test_functions_of_our_own_domain_stay(write):
    model = import_onnx(write(FUNCTIONS.format(domain="edgeseq")))
    assert [(node.domain, node.op_type) for node in model.graph] == [("edgeseq", "twice")]


def message(path):
    with pytest.raises(UsageError) as error:
        import_onnx(path)
    return error.value.render().replace(str(path), "FILE")


def test_a_missing_file(tmp_path):
    assert message(tmp_path / "no.onnx") == "FILE: no such file\n  fix: check the path"


def test_a_folder(tmp_path):
    assert message(tmp_path) == (
        "FILE is a folder, not an ONNX file\n  fix: name the .onnx file in it"
    )


NOT_A_MODEL = """FILE is not an ONNX model, or is cut short
  why: {}
  fix: copy or export it again; Git LFS pointers need `git lfs pull`"""


def test_a_text_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert message(path) == NOT_A_MODEL.format("43 bytes that do not parse as a model")


def test_an_empty_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    assert message(path) == NOT_A_MODEL.format("0 bytes without a graph and an opset")


def test_a_file_cut_short_at_any_byte_is_never_a_crash(write):
    path = write()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError):
            import_onnx(path)


def test_an_opset_too_old(write):
    text = TEXT.replace('"" : 17', '"" : 6').replace("ir_version: 8", "ir_version: 3")
    assert message(write(text)) == (
        "FILE uses ONNX opset 6\n"
        "  why: opsets 7 to 28 can be read\n"
        "  fix: export again with opset_version=26"
    )


def test_a_graph_that_is_not_valid(write):
    proto = onnx.load(write())
    proto.graph.node[0].input[0] = "nothing"
    path = write()
    path.write_bytes(proto.SerializeToString())
    text = message(path)
    assert text.startswith("FILE is not a valid ONNX model\n  at:  ")
    assert "nothing" in text


def external(write, tmp_path, **info):
    """Move the bias into `m.data` and describe it as `info` says."""
    proto = onnx.load(write())
    tensor = proto.graph.initializer[0]
    numbers = onnx.numpy_helper.to_array(tensor)
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "m.data", "offset": 4, "length": 16, **info}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    path = write()
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "m.data").write_bytes(b"\0" * 4 + numbers.astype("<f4").tobytes())
    return path


def test_external_data_is_loaded(write, tmp_path):
    model = import_onnx(external(write, tmp_path))
    (tmp_path / "m.data").unlink()
    assert model.graph.initializers["bias"].const_value.numpy().tolist() == [1, 2, 3, 4]


EXTERNAL = """FILE: external data cannot be loaded
  at:  {}
  why: data files must lie in the model's folder and hold the declared bytes
  fix: copy the data files next to the model, or save it with its data inside"""


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"location": "../m.data"}, "'bias' in '../m.data': outside the model's folder"),
        ({"location": "/etc/passwd"}, "'bias' in '/etc/passwd': outside the model's folder"),
        ({"location": "a/../../m.data"}, "'bias' in 'a/../../m.data': outside the model's folder"),
        ({"location": "other.data"}, "'bias' in 'other.data': no such file"),
        ({"offset": 8}, "'bias' in 'm.data': needs bytes 8 to 24, file has 20"),
        ({"offset": -4}, "'bias' in 'm.data': needs bytes -4 to 12, file has 20"),
        ({"length": 12}, "'bias' in 'm.data': 12 bytes for 16"),
        ({"length": "many"}, "'bias' in 'm.data': offset and length are not numbers"),
    ],
)
def test_external_data_that_cannot_be_loaded(write, tmp_path, info, problem):
    assert message(external(write, tmp_path, **info)) == EXTERNAL.format(problem)


def test_a_link_out_of_the_folder(write, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(write, tmp_path, location="link.data")
    inner = folder / "m.onnx"
    inner.write_bytes(path.read_bytes())
    (folder / "link.data").symlink_to(tmp_path / "m.data")
    assert "outside the model's folder" in message(inner)


def test_all_unsupported_nodes_are_listed_at_once(write):
    text = """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
    g (float[3] x) => (float[3] y) {
        [first] a = com.microsoft.Gelu (x)
        [second] b = Relu (a)
        [third] c = Det (b)
        [fourth] y = com.microsoft.Gelu (c)
    }"""
    proto = onnx.parser.parse_model(text)
    path = write()
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedModelError) as error:
        check_supported(import_onnx(path), {"Relu"})
    assert error.value.render() == (
        "3 nodes of 2 operators are not supported: Det, com.microsoft.Gelu\n"
        "  at:  node 'first' (com.microsoft.Gelu)\n"
        "  at:  node 'third' (Det)\n"
        "  at:  node 'fourth' (com.microsoft.Gelu)\n"
        "  why: edgeseq has no lowering for these operators\n"
        "  fix: rewrite the model with supported operators (docs/operators.md), or open an issue"
    )


def test_an_if_names_the_input_that_decides(write):
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[3] x, int64 rate) => (float[3] y) <int64 fast = {16000}> {
        [is] c = Equal (rate, fast)
        [if] y = If (c) <
            then_branch = a () => (float[3] p) { p = Neg (x) },
            else_branch = b () => (float[3] q) { q = Abs (x) }
        >
    }"""
    with pytest.raises(UnsupportedModelError) as error:
        check_supported(import_onnx(write(text)), {"Equal", "Neg", "Abs"})
    assert error.value.render() == (
        "1 node of 1 operator is not supported: If\n"
        "  at:  node 'if' (If) whose condition comes from input 'rate'\n"
        "  why: edgeseq has no lowering for these operators\n"
        "  fix: fix the condition with --const rate=VALUE; rewrite other operators or remove them"
    )


GRU = """<ir_version: 10, opset_import: ["" : 20]>
g (float[5, 1, 3] x) => (float[5, 1, 1, 4] y) <float[1, 12, 3] w, float[1, 12, 4] r> {{
    [cell] y = GRU <hidden_size = 4{attribute}> (x, w, r)
}}"""


def gru(write, attribute, mark):
    proto = onnx.parser.parse_model(GRU.format(attribute=attribute))
    for info in list(proto.graph.value_info):
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        zeros = np.zeros(shape, np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(zeros, info.name))
    if mark:
        entry = proto.graph.node[0].metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['gru']"
    path = write()
    path.write_bytes(proto.SerializeToString())
    return facts.get(import_onnx(path), facts.Warnings)


def test_a_gru_that_torch_never_computes_is_reported(write):
    warning = gru(write, "", mark=True)
    assert warning is not None
    assert warning.text.startswith(
        "node 'cell' (GRU) was exported from torch with linear_before_reset=0: torch computes 1, "
    )


@pytest.mark.parametrize(("attribute", "mark"), [(", linear_before_reset = 1", True), ("", False)])
def test_other_grus_are_not_reported(write, attribute, mark):
    assert gru(write, attribute, mark) is None
