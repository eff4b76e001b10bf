"""What gemm_i8 and spmv_i8 share: sizes, packing, the exact reference, test cases.

The numbers are those of the function QuantizedMatMul; docs/kernels-int8.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels import _sharing, gemm
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._recurrent import round_up
from edgeseq.kernels._recurrent_i8 import NUMBERS, Numbers, draw_weights

ROWS = 64  # ES_LINEAR_ROWS in c/linear_i8.h


def pack(
    w: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    x_scale: float,
    wide: bool = False,
    layout: str = "",
) -> q.Packed:
    """Pack the CONST arguments.

    Args:
        w: int8 [K, N], as MatMul takes it.
        scale: float32 [N].
        bias: float32 [N], or None.
        x_scale: 0: each row of x has its own.
        wide: x has levels up to 255, not 254.
        layout: "", "b16x4" or "b8x4".
    """
    part = np.ascontiguousarray(w.T)[None]
    if wide and not q.wide_fits(part):
        raise ValueError("two neighbouring weights of -128 and 256 levels: no kernel adds them")
    width = q.WIDTHS[layout]
    bias = np.zeros(w.shape[1], np.float32) if bias is None else bias
    header = np.zeros(q.HEADER, np.float32)
    header[0] = x_scale
    panels = q.pack_head([(part, scale[None])], bias[None], width or q.PANEL)
    head = np.concatenate([header, panels, np.zeros(q.PANEL, np.float32)])
    sizes = {"pairs": int(q.pairs_fit(part, wide=wide)), "wide": int(wide)}
    end = np.zeros(q.OVERREAD, np.int8)
    if not width:
        return q.Packed({"w": np.concatenate([q.pack_dense([part]), end]), "head": head}, sizes)
    values, counts, index = q.pack_sparse([part], width)
    arrays = {"w": np.concatenate([values, end]), "head": head}
    arrays |= {"counts": counts.reshape(-1), "index": index}
    return q.Packed(arrays, sizes | {"blocks": len(index)})


def unpack(packed: q.Packed, inputs: int, outputs: int, layout: str = "") -> Array:
    """Return the int8 weights [K, N]."""
    width, arrays = q.WIDTHS[layout], packed.arrays
    if width:
        counts = arrays["counts"].reshape(-1, 1, 1)
        parts = q.unpack_sparse(arrays["w"], counts, arrays["index"], width, outputs, [inputs])
    else:
        parts = q.unpack_dense(arrays["w"], 1, outputs, [inputs])
    return np.ascontiguousarray(parts[0][0].T)


def scratch(sizes: Sizes) -> int:
    """Bytes: the scales of some rows and the rows, quantized."""
    return min(sizes["M"], ROWS) * (4 + round_up(sizes["K"], 16)) + 64


def activate(v: Array, act: int) -> Array:
    """The activation of `gemm.ACTIVATIONS` with exact arithmetic."""
    name = {code: name for name, code in gemm.ACTIVATIONS.items()}[act]
    match name:
        case "Relu":
            return np.where(v < 0, np.float32(0), v)
        case "Sigmoid":
            return exact.sigmoid(v)
        case "Tanh":
            return exact.tanh(v)
        case "Silu":
            return np.asarray(v * exact.sigmoid(v))
        case _:
            return v


def reference(case: Case) -> dict[str, Array]:
    """The product, in exact integers and single roundings, laid out by ldy."""
    s, raw = case.sizes, case.raw
    x = raw["x"].astype(np.float32)
    fixed = np.float32(raw["x_scale"])
    by = np.full((len(x), 1), fixed) if fixed else exact.dynamic_scale(x)
    u = exact.quantize(x, by, s["x_zero"], exact.LEVELS + s["wide"])
    sums = exact.product(u, s["x_zero"], raw["w"].T)
    dense = activate(sums * (by * raw["scale"]) + raw["bias"], s["act"])
    y = np.full(s["M"] * s["ldy"], UNTOUCHED, np.float32)
    y.reshape(s["M"], s["ldy"])[:, : s["N"]] = dense
    return {"y": y[: gemm.out_shapes(s)["y"][0]]}


def cases(rng: np.random.Generator, layout: str) -> Iterator[Case]:
    """Rows, outputs and inputs around every tile; all ways to quantize."""
    shapes = [(m, n, int(rng.integers(1, 20))) for m in (1, 3, 4, 5) for n in (1, 7, 8, 16, 33)]
    shapes += [(1, 40, k) for k in (0, 1, 3, 4, 5, 15, 16, 17, 64, 257)]
    shapes += [(70, 20, 33), (130, 5, 9), (0, 8, 8), (64, 12, 8), (2, 100, 100)]
    for i, (rows, outputs, inputs) in enumerate(shapes):
        yield _case(rng, layout, (rows, outputs, inputs), NUMBERS[i % len(NUMBERS)])
    for act in gemm.ACTIVATIONS.values():
        yield _case(rng, layout, (3, 37, 10), NUMBERS[act % 2], act=act, gap=3)
    for zero, pairs in ((0, True), (128, False), (255, True)):
        wide = Numbers(x_scale=0.009, x_zero=zero, pairs=pairs, density=0.7)
        yield _case(rng, layout, (5, 21, 70), wide, wide=True)
    for zero, inputs in ((exact.MIDDLE, 512), (exact.MIDDLE, 516), (0, 256), (254, 260)):
        large = Numbers(x_scale=0.009, x_zero=zero)
        yield _case(rng, layout, (2, 20, inputs), large, largest=True)


def _case(
    rng: np.random.Generator,
    layout: str,
    shape: tuple[int, int, int],
    numbers: Numbers,
    *,
    act: int = 0,
    gap: int = 0,
    wide: bool = False,
    largest: bool = False,
) -> Case:
    rows, outputs, inputs = shape
    x = rng.standard_normal((rows, inputs)).astype(np.float32)
    w = np.ascontiguousarray(draw_weights(rng, numbers, 1, outputs, inputs)[0].T)
    if wide and not numbers.pairs:
        w[1::2] = np.maximum(w[1::2], -127)  # two neighbours of -128 are refused
        w[:2], x[:, :2] = [[-128], [-127]], -9.0  # the largest sum there is, at level 0
    if largest:  # sums that just fit 24 bits, where a kernel counts on it
        w[:, ::2], w[:, 1::2] = -128, 127
        x[::2], x[1::2] = 9.0, -9.0
    scale = (rng.uniform(0.5, 1.5, outputs) / (127 * np.sqrt(inputs + 1))).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    memory = np.full((rows, inputs + gap), np.nan, np.float32)
    memory[:, :inputs] = x
    flat = memory.reshape(-1)
    packed = pack(w, scale, bias, x_scale=numbers.x_scale, wide=wide, layout=layout)
    sizes = {"M": rows, "N": outputs, "K": inputs, "ldx": inputs + gap, "ldy": outputs + gap}
    sizes |= {"act": act, "x_zero": numbers.x_zero if numbers.x_scale else exact.MIDDLE}
    return Case(
        sizes | packed.sizes,
        {"x": flat[: max(len(flat) - gap, 0)], **packed.arrays},
        {"x": x, "w": w, "scale": scale, "bias": bias, "x_scale": np.asarray(numbers.x_scale)},
    )


def kernel(name: str, source: str, layout: str) -> Kernel:
    """The declaration of `gemm_i8` or of a layout of `spmv_i8`."""
    stream = ("counts", "index") if layout else ()
    blocks = ("blocks",) if layout else ()
    return Kernel(
        name=name,
        source=source,
        sizes=("M", "N", "K", *blocks, "ldx", "ldy", "act", "x_zero", "wide", "pairs"),
        args=(
            Arg("x", Role.IN),
            Arg("w", Role.CONST, "int8"),
            Arg("head", Role.CONST),
            *(Arg(n, Role.CONST, "uint16") for n in stream),
            Arg("y", Role.OUT),
            Arg("scratch", Role.SCRATCH),
        ),
        scratch=scratch,
        out_shapes=gemm.out_shapes,
        reference=reference,
        cases=lambda rng: cases(rng, layout),
        tolerance=0.0,  # the same bits
        sharing=_sharing.linear(
            lists=bool(layout), width=q.WIDTHS[layout] or q.PANEL, scratch=True
        ),
    )
