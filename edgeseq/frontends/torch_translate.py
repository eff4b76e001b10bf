"""`ExportedProgram` -> `onnx_ir.Model` through torch's ONNX exporter.

Recurrent calls are translated to nodes of a private domain with the same arguments, because the
exporter shows no values of constants; `torch_recurrent` expands them when the whole model is there.
The operators of torch itself (programs made without edgeseq, bodies of scan) take the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common
import onnxscript
import torch
import torch.fx.experimental._config
from torch.export import ExportedProgram
from torch.onnx._internal.exporter import _core, _fx_passes, _registration

from edgeseq.frontends import torch_complex, torch_quantized
from edgeseq.frontends.torch_errors import explain_translation
from edgeseq.frontends.torch_ops import GATES, NAMESPACE, refuse_packed
from edgeseq.frontends.torch_quiet import quiet
from edgeseq.ir.infer import tensor_of

_exporter: Any = _core
_passes: Any = _fx_passes
_config: Any = torch.fx.experimental._config  # `patch` is added to it at run time
_aten: Any = torch.ops.aten
_ours: Any = getattr(torch.ops, NAMESPACE)


def translate(program: ExportedProgram) -> tuple[ir.Model, ExportedProgram]:
    """Translate a program, unoptimised; calls of functions are inlined.

    Returns:
        The model, and the functional form of the program that it was made of.

    Raises:
        UnsupportedModelError: operators without a translation, all of them listed.
    """
    # Not torch.onnx.export: that builds its registry anew in every call, two seconds long, and
    # keeps the functional program to itself, which alone tells which buffers are overwritten.
    with quiet():
        registry = _registry()
        try:
            program = _functional(torch_complex.decompose(program), registry)
            model = _exporter._exported_program_to_onnx_program(program, registry=registry).model
        except Exception as error:
            raise explain_translation(error, program, registry) from error
    ir.passes.common.InlinePass()(model)
    _widen_indices(model)
    _widen_ranges(model)
    _drop_nothing(model)
    _row_major(model)
    return model, program


def _functional(program: ExportedProgram, registry: Any) -> ExportedProgram:
    """The program in the exporter's operators, as the exporter itself prepares it.

    But decomposed attention may have other strides than torch's kernel, so that a view behind it is
    none any more when types are promoted; without side effects, a reshape is the same. And torch
    leaves an axis that it is asked to squeeze if it is longer than 1; Squeeze refuses.
    """
    with _config.patch(backed_size_oblivious=True):
        program = _passes.decompose_with_registry(program, registry)
        module = program.graph_module
        for part in module.modules():
            for node in list(part.graph.nodes):
                if node.target == _aten.view.default and not node.meta["val"].is_complex():
                    node.target = _aten.reshape.default
                elif node.target == _aten.squeeze.dim and _is_longer(*node.args):
                    node.replace_all_uses_with(node.args[0])
        _passes.insert_type_promotion_nodes(module)
        program._graph_module = _passes.remove_assertion_nodes(module)
    return program


def _is_longer(x: torch.fx.Node, axis: int) -> bool:
    shape = x.meta["val"].shape
    return len(shape) > 0 and isinstance(shape[axis], int) and shape[axis] != 1


def _row_major(model: ir.Model) -> None:
    """Weights that the module keeps transposed share its memory; who hashes them wants rows."""
    for value in model.graph.initializers.values():
        if value.const_value is not None and not value.const_value.numpy().flags.c_contiguous:
            value.const_value = tensor_of(value.const_value.numpy(), value.name)


def _drop_nothing(model: ir.Model) -> None:
    """torch.cat skips tensors of shape (0,) whatever the others are; Concat does not."""
    for node in list(model.graph.all_nodes()):
        if node.op_type != "Concat" or node.domain != "":
            continue
        kept = [v for v in node.inputs if v is not None and v.shape != (0,)]
        for place, value in enumerate(kept):
            node.replace_input_with(place, value)
        node.resize_inputs(max(1, len(kept)))


def _widen_indices(model: ir.Model) -> None:
    """The exporter hands int32 indices of torch on to operators that take int64 alone."""
    for node in list(model.graph.all_nodes()):
        if node.op_type in ("ScatterND", "GatherND") and node.domain == "":
            cast = ir.node("Cast", [node.inputs[1]], {"to": ir.DataType.INT64.value})
            node.graph.insert_before(node, cast)
            node.replace_input_with(1, cast.outputs[0])


def _widen_ranges(model: ir.Model) -> None:
    """`arange(0.5, n)`: the exporter hands numbers of different types on to Range."""
    for node in list(model.graph.all_nodes()):
        wide = node.outputs[0].dtype if node.op_type == "Range" and node.domain == "" else None
        if wide is None or not wide.is_floating_point():
            continue
        for place, value in enumerate(node.inputs):
            cast = ir.node("Cast", [value], {"to": wide.value})
            node.graph.insert_before(node, cast)
            node.replace_input_with(place, cast.outputs[0])


@functools.cache
def _registry() -> _registration.ONNXRegistry:
    registry = _registration.ONNXRegistry.from_torchlib()
    for operator, translation in _table().items():
        registry.register_op(operator, translation)
    return registry


def _table() -> dict[Callable[..., Any], Callable[..., Any]]:
    table: dict[Callable[..., Any], Callable[..., Any]] = {
        _ours.rnn.default: _rnn,
        _ours.lstm.default: _lstm,
        **torch_quantized.table(),
    }
    for kind in GATES:
        layers, cell = getattr(_aten, kind), getattr(_aten, f"{kind}_cell")
        table[layers.input] = _aten_lstm if kind == "lstm" else _aten_rnn(kind)
        table[layers.data] = refuse_packed
        table[cell.default] = _lstm_cell if kind == "lstm" else _cell(kind)
    return table


def _raw(op_type: str, outputs: int) -> Callable[..., Any]:
    """A node of the private domain; its schema only tells what it may have."""
    formal = onnx.defs.OpSchema.FormalParameter
    option = onnx.defs.OpSchema.FormalParameterOption
    schema = onnx.defs.OpSchema(
        op_type,
        NAMESPACE,
        1,
        inputs=[formal("inputs", "T", param_option=option.Variadic, is_homogeneous=False)],
        outputs=[formal(f"output_{i}", "T") for i in range(outputs)],
        type_constraints=[("T", [f"tensor({n})" for n in _FLOATS], "")],
        attributes=[
            onnx.defs.OpSchema.Attribute("kind", onnx.defs.OpSchema.AttrType.STRING),
            *(onnx.defs.OpSchema.Attribute(n, onnx.defs.OpSchema.AttrType.INT) for n in _FLAGS),
        ],
    )
    op: Callable[..., Any] = onnxscript.values.Op(
        onnxscript.values.Opset(NAMESPACE, 1), op_type, schema
    )
    return op


_FLAGS = ("has_biases", "num_layers", "bidirectional", "batch_first")
_FLOATS = ("float", "double", "float16", "bfloat16")


def _rnn(
    x: Any,
    h0: Any,
    params: Sequence[Any],
    kind: str,
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    return _raw("rnn", 2)(
        x,
        h0,
        *params,
        kind=kind,
        has_biases=int(has_biases),
        num_layers=num_layers,
        bidirectional=int(bidirectional),
        batch_first=int(batch_first),
    )


def _lstm(
    x: Any,
    h0: Any,
    c0: Any,
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    return _raw("lstm", 3)(
        x,
        h0,
        c0,
        *params,
        has_biases=int(has_biases),
        num_layers=num_layers,
        bidirectional=int(bidirectional),
        batch_first=int(batch_first),
    )


def _aten_rnn(kind: str) -> Callable[..., Any]:
    def translated(
        x: Any,
        h0: Any,
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        _dropout: float,
        _train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        return _rnn(x, h0, params, kind, has_biases, num_layers, bidirectional, batch_first)

    return translated


def _aten_lstm(
    x: Any,
    hx: Sequence[Any],
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    _dropout: float,
    _train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    return _lstm(x, hx[0], hx[1], params, has_biases, num_layers, bidirectional, batch_first)


def _cell(kind: str) -> Callable[..., Any]:
    def translated(
        x: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
    ) -> Any:
        params = [w for w in (w_ih, w_hh, b_ih, b_hh) if w is not None]
        _, h = _rnn(_step(x), _step(hx), params, kind, b_ih is not None, 1, False, False)
        return _unstep(h)

    return translated


def _lstm_cell(
    x: Any, hx: Sequence[Any], w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Any:
    params = [w for w in (w_ih, w_hh, b_ih, b_hh) if w is not None]
    h0, c0 = _step(hx[0]), _step(hx[1])
    _, h, c = _lstm(_step(x), h0, c0, params, b_ih is not None, 1, False, False)
    return _unstep(h), _unstep(c)


def _step(x: Any) -> Any:
    op = onnxscript.opset18
    return op.Unsqueeze(x, op.Constant(value_ints=[0]))


def _unstep(x: Any) -> Any:
    op = onnxscript.opset18
    return op.Squeeze(x, op.Constant(value_ints=[0]))
