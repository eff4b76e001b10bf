"""MatMul and Gemm with a constant matrix, and the bias and activation behind it -> gemm, spmv."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeseq.kernels import gemm, gemv_i4, spmv
from edgeseq.kernels._blocks import Blocks
from edgeseq.kernels._family import Role
from edgeseq.kernels._formats import DENSE, SPARSE, Format
from edgeseq.lower import formats, stored
from edgeseq.lower.formats import Weight
from edgeseq.lower.select import Array, Choice, Shapes, constant, only_user, size
from edgeseq.lower.size import Size

OPS = ("MatMul", "Gemm")
_KERNELS = dict(zip((*DENSE, *SPARSE), (*gemm.KERNELS, *spmv.KERNELS), strict=True))
ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A product kernel for the node, or why there is none."""
    found = _operands(node, shapes)
    if isinstance(found, str):
        return found
    x, kept, bias = found
    weight = kept.array
    if weight.dtype != np.float32:
        return f"the matrix is {weight.dtype}, the kernels are float32"
    covers: list[ir.Node] = []
    last = node
    if bias is None and (added := _bias_behind(last, weight.shape[1])) is not None:
        user, bias = added
        covers.append(user)
        last = user
    activation = ""
    user = only_user(last.outputs[0])
    if user is not None and user.op_type in ACTIVATIONS:
        activation = user.op_type
        covers.append(user)
        last = user
    rows = _rows(x, weight, shapes)
    inputs, outputs = weight.shape
    sizes = {
        "M": rows,
        "N": Size.of(outputs),
        "K": Size.of(inputs),
        "ldx": Size.of(inputs),
        "ldy": Size.of(outputs),
        "act": Size.of(gemm.ACTIVATIONS[activation]),
    }
    base = Choice(
        node=node,
        kernel=gemm.KERNELS[0],
        sizes=sizes,
        inputs=(x,),
        consts=(),
        outputs=(last.outputs[0],),
        covers=tuple(covers),
        why=f"constant matrix {inputs} x {outputs}",
        read_rows=read_rows,
        write_rows=write_rows,
    )

    found_levels = _levels(node)
    if found_levels is not None:
        return _by_levels(base, found_levels, bias)

    def pack(form: Format) -> Array | Blocks:
        return spmv.pack(weight, bias, form) if form.width else gemm.pack(weight, bias, form)

    forms = formats.options(kept.element, [weight.T])
    return formats.choose(base, _KERNELS, forms, pack, shapes)


def _levels(node: ir.Node) -> stored.Levels | None:
    """The int8 or int4 levels of a node's matrix, if they are what it multiplies by."""
    if node.attributes.get_float("alpha", 1.0) != 1.0:
        return None
    turned = bool(node.attributes.get_int("transB", 0))
    found = stored.levels(node.inputs[1], outputs_first=turned)
    return found if found is None or found.group in (0, *gemv_i4.GROUPS) else None


def _by_levels(base: Choice, levels: stored.Levels, bias: Array | None) -> Choice:
    """The choice with a kernel that scales as it multiplies."""
    with np.errstate(over="ignore"):
        halves = levels.scales.astype(np.float16)
    exact = bool((halves == levels.scales).all())
    name = ("gemv_i4_f16" if exact else "gemv_i4") if levels.group else "gemv_i8w"
    kernel = next(k for k in gemv_i4.KERNELS if k.name == name)
    if levels.group:
        scales = halves if exact else levels.scales
        packed = gemv_i4.pack(levels.values, scales, bias, group=levels.group)
    else:
        packed = gemv_i4.pack_i8(levels.values, levels.scales[0], bias)
    sizes = {**base.sizes, "group": Size.of(levels.group)}
    return dataclasses.replace(
        base,
        kernel=kernel,
        sizes={name: sizes[name] for name in kernel.sizes},
        consts=tuple(packed[a.name] for a in kernel.args if a.role is Role.CONST),
        why=f"{base.why}, {'int4' if levels.group else 'int8'} weights",
    )


def read_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """The rows of x, apart."""
    same = index == 0 and count == sizes["M"] and row == 4 * sizes["K"] and stride % 4 == 0
    return {"ldx": stride // 4} if same else None


def write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """The rows of y, apart."""
    same = index == 0 and count == sizes["M"] and row == 4 * sizes["N"] and stride % 4 == 0
    return {"ldy": stride // 4} if same else None


def _operands(node: ir.Node, shapes: Shapes) -> tuple[ir.Value, Weight, Array | None] | str:
    left, right = node.inputs[0], node.inputs[1]
    assert left is not None
    assert right is not None
    if node.op_type == "Gemm":
        return _gemm_operands(node, left)
    found = formats.weight(right)
    if found is not None:
        if found.array.ndim != 2:
            return f"the constant matrix has rank {found.array.ndim}"
        return left, found, None
    found = formats.weight(left)
    if found is None:
        return "neither operand is constant"
    weight = found.array
    if weight.ndim != 2 or math.prod(d for d in shapes.known(right) or (0,)) != weight.shape[1]:
        return "a constant matrix on the left of more than one column"
    # W x = (x^T W^T)^T, the same memory
    return right, Weight(np.ascontiguousarray(weight.T), found.element), None


def _gemm_operands(node: ir.Node, x: ir.Value) -> tuple[ir.Value, Weight, Array | None] | str:
    get = node.attributes
    found = formats.weight(node.inputs[1])
    if found is None:
        return "the matrix is not constant"
    if get.get_int("transA", 0):
        return "transA = 1"
    array = found.array.T if get.get_int("transB", 0) else found.array
    alpha = get.get_float("alpha", 1.0)
    element = found.element if alpha == 1.0 else "f32"
    scaled = array if alpha == 1.0 else array * array.dtype.type(alpha)
    weight = Weight(np.ascontiguousarray(scaled), element)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return x, weight, None
    bias = constant(node.inputs[2])
    if bias is None or bias.size not in (1, weight.array.shape[1]):
        return "the added matrix is not one constant row"
    if bias.ndim == 2 and bias.shape[0] != 1:
        return "the added matrix is not one constant row"
    row = np.broadcast_to(bias.reshape(-1), (weight.array.shape[1],))
    return x, weight, row * row.dtype.type(get.get_float("beta", 1.0))


def _bias_behind(node: ir.Node, outputs: int) -> tuple[ir.Node, Array] | None:
    """The only user, if it adds one constant row."""
    out = node.outputs[0]
    user = only_user(out)
    if user is None or user.op_type != "Add":
        return None
    other = user.inputs[1] if user.inputs[0] is out else user.inputs[0]
    bias = constant(other)
    rank = len(out.shape or ())
    if bias is None or bias.size not in (1, outputs) or bias.ndim > rank:
        return None
    if bias.size > 1 and (bias.shape[-1] != outputs):
        return None
    if out.shape is not None and out.shape[-1] != outputs:
        return None  # the product with the constant on the left: its rows are the outputs
    return user, np.broadcast_to(bias.reshape(-1), (outputs,))


def _rows(x: ir.Value, weight: Array, shapes: Shapes) -> Size:
    dims = shapes.of(x)
    if dims[-1] != weight.shape[0]:
        return Size.of(1)  # the constant was on the left
    rows = Size.of(1)
    for dim in dims[:-1]:
        rows = rows * size(dim)
    return rows
