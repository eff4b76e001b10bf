"""Convolutions and products with windowed waves -> fast Fourier transforms."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseq.ir import fourier
from edgeseq.ir.fourier import Transform
from edgeseq.kernels import fourier as kernels
from edgeseq.kernels._conv import Activation
from edgeseq.lower.select import Array, Choice, Shapes, constant, product, size
from edgeseq.lower.select_convolution import known_sizes, sizes_of
from edgeseq.lower.size import Size

OPS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_NONE = "no Fourier transform"


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A transform for the node, or why there is none."""
    weight = constant(node.inputs[1])
    if weight is None or weight.dtype != np.float32 or not all(map(_adds_nothing, node.inputs[2:])):
        return _NONE
    if node.op_type in ("MatMul", "Gemm"):
        return _of_product(node, weight, shapes)
    return _of_convolution(node, weight, shapes)


def _adds_nothing(bias: ir.Value | None) -> bool:
    added = constant(bias)
    return bias is None or (added is not None and not added.any())


def _of_product(node: ir.Node, weight: Array, shapes: Shapes) -> Choice | str:
    get = node.attributes
    if weight.ndim != 2 or get.get_int("transA", 0) or get.get_float("alpha", 1.0) != 1.0:
        return _NONE
    matrix = weight.T if get.get_int("transB", 0) else weight
    rows, (inputs, outputs) = product(shapes.of(node.inputs[0])[:-1]), matrix.shape
    frames = {"B": Size.of(1), "M": rows, "pad": Size.of(0)}
    if (forth := fourier.forth(matrix.T)) is not None:
        signal = {"L": rows * inputs, "x_bs": Size.of(0), "x_ms": Size.of(inputs)}
        parts = _parts(forth, "y", Size.of(0), Size.of(outputs), Size.of(1))
        return _choice(node, forth, {**frames, **signal, **parts})
    if (back := fourier.back(matrix)) is not None:
        signal = {"L": rows * outputs, "y_bs": Size.of(0), "y_ms": Size.of(outputs)}
        parts = _parts(back, "x", Size.of(0), Size.of(inputs), Size.of(1))
        return _choice(node, back, {**frames, **signal, **parts, "add": Size.of(0)})
    return _NONE


def _of_convolution(node: ir.Node, weight: Array, shapes: Shapes) -> Choice | str:
    x, y = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    if weight.ndim not in (3, 4) or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return _NONE
    known = known_sizes(node, x, weight.shape, Activation.NONE)
    line = ("H", "KH", "G", "DW")  # one line, one channel of a signal
    inverse = node.op_type == "ConvTranspose"
    if any(known[n] != 1 for n in (*line, "O" if inverse else "C")) or known["PT"] or known["PB"]:
        return _NONE
    bank = weight.reshape(len(weight), -1)
    found = fourier.back(bank) if inverse else fourier.forth(bank)
    if found is None:
        return _NONE
    sizes = sizes_of(known, x, y)
    hop, signal, spectrum = Size.of(known["SW"]), "xy"[inverse], "yx"[inverse]
    own = {
        "B": sizes["N"],
        "M": size((x if inverse else y)[-1]),
        "pad": Size.of(known["PL"]),
        "L": size((y if inverse else x)[-1]),
        f"{signal}_bs": sizes[f"{signal}_ns"],
        f"{signal}_ms": hop,
        "add": Size.of(1),
    }
    places = sizes[f"{spectrum}_ns"], Size.of(1), sizes[f"{spectrum}_cs"]
    return _choice(node, found, own | _parts(found, spectrum, *places))


def _parts(found: Transform, name: str, batch: Size, frame: Size, row: Size) -> dict[str, Size]:
    """Where the parts of the bins lie, by the strides of batches, frames and matrix rows."""
    at = found.layout
    return {
        f"{name}_bs": batch,
        f"{name}_ms": frame,
        f"{name}_ks": row * at.step,
        "re_at": row * at.re_at if at.re_at >= 0 else Size.of(-1),
        "im_at": row * at.im_at if at.im_at >= 0 else Size.of(-1),
    }


def _choice(node: ir.Node, found: Transform, sizes: dict[str, Size]) -> Choice:
    points, bins = found.points, found.layout.bins
    inverse = "add" in sizes and "x_ks" in sizes
    kernel = kernels.KERNELS[inverse]
    sizes = {
        **sizes,
        "N": Size.of(points),
        "R": Size.of(kernels.split(points) or 0),
        "K": Size.of(len(found.window)),
        "bins": Size.of(bins),
        "sign": Size.of(found.sign),
    }
    scale = np.where(np.arange(bins) * 2 % points == 0, 2.0, 1.0) * found.scale
    consts = (found.window.astype(np.float32), kernels.table(points))
    return Choice(
        node=node,
        kernel=kernel,
        sizes={n: sizes[n] for n in kernel.sizes},
        inputs=(node.inputs[0],),
        consts=(scale.astype(np.float32), *consts) if inverse else consts,
        outputs=(node.outputs[0],),
        why=f"{'an inverse' if inverse else 'a'} Fourier transform of {points} points",
    )
