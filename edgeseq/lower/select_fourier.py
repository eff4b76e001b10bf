"""Convolutions and products with windowed waves -> fast Fourier transforms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgeseq.ir import fourier
from edgeseq.ir.fourier import Layer, Transform
from edgeseq.kernels import fourier as kernels
from edgeseq.kernels._conv import Activation
from edgeseq.lower.select import Choice, Shapes, constant, product, size
from edgeseq.lower.select_convolution import known_sizes, sizes_of
from edgeseq.lower.size import Size

OPS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_NONE = "no Fourier transform"


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A transform for the node, or why there is none."""
    found = fourier.of_node(node)
    if found is None:
        return _NONE
    if node.op_type in ("MatMul", "Gemm"):
        return _of_product(node, found, product(shapes.of(node.inputs[0])[:-1]))
    return _of_convolution(node, found, shapes)


def _of_product(node: ir.Node, found: Layer, rows: Size) -> Choice:
    layout, samples = found.transform.layout, len(found.transform.window)
    parts = layout.bins * ((layout.re_at >= 0) + (layout.im_at >= 0))
    signal, spectrum = ("y", "x") if found.inverse else ("x", "y")
    own = {
        "B": Size.of(1),
        "M": rows,
        "pad": Size.of(0),
        "L": rows * samples,
        f"{signal}_bs": Size.of(0),
        f"{signal}_ms": Size.of(samples),
        "add": Size.of(0),
    }
    places = Size.of(0), Size.of(parts), Size.of(1)
    return _choice(node, found, own | _parts(found.transform, spectrum, *places))


def _of_convolution(node: ir.Node, found: Layer, shapes: Shapes) -> Choice | str:
    x, y = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    weight = constant(node.inputs[1])
    assert weight is not None
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return _NONE
    known = known_sizes(node, x, weight.shape, Activation.NONE)
    if known["H"] != 1 or known["PT"] or known["PB"]:
        return _NONE
    sizes = sizes_of(known, x, y)
    signal, spectrum = ("y", "x") if found.inverse else ("x", "y")
    own = {
        "B": sizes["N"],
        "M": size((x if found.inverse else y)[-1]),
        "pad": Size.of(known["PL"]),
        "L": size((y if found.inverse else x)[-1]),
        f"{signal}_bs": sizes[f"{signal}_ns"],
        f"{signal}_ms": Size.of(known["SW"]),
        "add": Size.of(1),
    }
    places = sizes[f"{spectrum}_ns"], Size.of(1), sizes[f"{spectrum}_cs"]
    return _choice(node, found, own | _parts(found.transform, spectrum, *places))


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


def _choice(node: ir.Node, layer: Layer, sizes: Mapping[str, Size]) -> Choice:
    found, inverse = layer.transform, layer.inverse
    points, bins = found.points, found.layout.bins
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
