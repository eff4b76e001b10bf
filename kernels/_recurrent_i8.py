"""What the recurrent int8 families share: sizes, pointers, scratch, test cases, exact numpy cells.

The layout of a packed chain stands in c/recurrent_i8.h, the numbers in docs/kernels-int8.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels import _sharing
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._recurrent import round_up

STEPS = 64  # ES_I8_STEPS in c/recurrent_i8.h


def scratch(sizes: Sizes, gates: int, states: int, width: int) -> int:
    """Bytes: states, z and r h, projected inputs, scales, quantized inputs and states."""
    chains, hidden = sizes["groups"] * sizes["directions"], sizes["H"]
    state = sizes["B"] * round_up(hidden, q.PANEL)
    rows = min(sizes["T"], STEPS) * sizes["B"]
    projected = rows * -(-hidden // width) * gates * q.PANEL if sizes["T"] > 1 else 0
    floats = chains * states * state + 2 * state * sizes.get("reset_first", 0)
    floats += chains * projected + rows + sizes["B"]
    quantized = rows * round_up(sizes["I"], 16) + sizes["B"] * round_up(hidden, 16)
    return 4 * floats + quantized + 64


def args(layout: str, *, cell: bool) -> tuple[Arg, ...]:
    """The pointers of a recurrent int8 kernel; `cell`: it has a second state c."""
    stream = ("counts", "index") if layout else ()
    cells = ("h", "c") if cell else ("h",)
    return (
        Arg("x", Role.IN),
        Arg("w", Role.CONST, "int8"),
        Arg("head", Role.CONST),
        *(Arg(name, Role.CONST, "uint16") for name in stream),
        *(Arg(f"{s}0", Role.IN, optional=True) for s in cells),
        Arg("lens", Role.IN, "int32", optional=True),
        Arg("y", Role.OUT, optional=True),
        *(Arg(f"{s}_n", Role.OUT, optional=True, may_be=f"{s}0") for s in cells),
        Arg("scratch", Role.SCRATCH),
    )


def size_names(flags: Sequence[str], layout: str) -> tuple[str, ...]:
    """The int parameters; `flags` are the family's own."""
    stream = ("blocks",) if layout else ()
    common = ("T", "B", "I", "H", "groups", "directions", "reverse")
    return (*common, *flags, *stream, "x_zero", "pairs", *rec.STRIDES)


@dataclasses.dataclass(frozen=True)
class Products:
    """The scaled products of one chain's weights: `input(x)` and `state(h)`, [B, gates * H]."""

    case: Case
    chain: int

    def input(self, x: Array) -> Array:
        """W x."""
        return self._times("w", x, "x_scale", self.case.sizes["x_zero"])

    def state(self, h: Array, rows: slice = slice(None)) -> Array:
        """R h, or some rows of it."""
        return self._times("r", h, "h_scale", exact.MIDDLE, rows)

    def _times(self, name: str, v: Array, by: str, zero: int, rows: slice = slice(None)) -> Array:
        w, scale = (self.case.raw[n][self.chain][rows] for n in (name, f"{name}_scale"))
        fixed = np.float32(self.case.raw[by][self.chain])
        s = np.full((len(v), 1), fixed) if fixed else exact.dynamic_scale(v)
        sums = exact.product(exact.quantize(v, s, zero), zero, w)
        return np.asarray(sums * (s * scale))


Cell = Callable[[Products, Array, tuple[Array, ...]], tuple[Array, ...]]


def reference(case: Case, states: Sequence[str], cell: Cell) -> dict[str, Array]:
    """Run a cell over all chains; its states, all float32, survive the trip through float64."""

    def step(chain: int, x: Array, now: tuple[Array, ...]) -> tuple[Array, ...]:
        narrow = tuple(s.astype(np.float32) for s in now)
        return cell(Products(case, chain), x.astype(np.float32), narrow)

    return rec.run(case, states, step)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How a test case is quantized. 0 as a scale: each step and row has its own."""

    density: float = 1.0
    x_scale: float = 0.03
    x_zero: int = exact.MIDDLE
    h_scale: float = 1 / 127
    pairs: bool = False  # no pair of weights exceeds the limit


NUMBERS = (
    Numbers(),
    Numbers(density=0.3, x_scale=0.0, h_scale=0.0),
    Numbers(density=0.1, x_zero=0, pairs=True),
    Numbers(density=0.6, x_scale=0.017, x_zero=254, h_scale=0.0, pairs=True),
    Numbers(density=0.0, x_scale=0.0),
)


def shapes() -> Iterator[tuple[rec.Shape, Numbers]]:
    """The shapes of the float kernels, each with one of the ways to quantize."""
    plain = [s for s in rec.shapes() if not (s.clip or s.activations)]
    plain += [rec.Shape(T=3, B=2, I=70, H=40), rec.Shape(T=1, B=1, I=33, H=100)]
    for i, shape in enumerate(plain):
        yield shape, NUMBERS[i % len(NUMBERS)]


def draw_weights(rng: np.random.Generator, numbers: Numbers, *shape: int) -> Array:
    """int8 weights [chains, rows, inputs], many of them extreme, zero in whole 16x4 blocks."""
    w = rng.choice(np.array([-127, 127, -1, 0, 1, 90], np.int8), shape)
    w = np.where(rng.random(shape) < 0.7, rng.integers(-128, 128, shape), w).astype(np.int8)
    if numbers.pairs:
        w = np.clip(w, -64, 64).astype(np.int8)
    keep = rng.random((shape[0], -(-shape[1] // 8), -(-shape[2] // q.QUAD))) < numbers.density
    spread = keep.repeat(8, axis=1).repeat(q.QUAD, axis=2)[:, : shape[1], : shape[2]]
    return np.asarray(np.where(spread, w, 0), np.int8)


def draw(
    shape: rec.Shape, numbers: Numbers, rng: np.random.Generator, gates: int, states: Sequence[str]
) -> tuple[Case, q.Weights, Array]:
    """A case without its packed weights, the weights, and ONNX's biases [chains, 2 * gates * H]."""
    case = rec.fill(shape, rng, states)
    chains, hidden = shape.groups * shape.directions, shape.H
    row = (chains, gates * hidden)

    def scale(inputs: int) -> Array:
        drawn: Array = rng.uniform(0.5, 1.5, row) / (127 * np.sqrt(inputs))
        return drawn.astype(np.float32)

    weights = q.Weights(
        w=draw_weights(rng, numbers, *row, shape.I),
        r=draw_weights(rng, numbers, *row, hidden),
        w_scale=scale(shape.I),
        r_scale=scale(hidden),
        x_scale=np.full(chains, numbers.x_scale, np.float32),
        h_scale=np.full(chains, numbers.h_scale, np.float32),
    )
    biases = rng.uniform(-0.5, 0.5, (chains, 2 * gates * hidden)).astype(np.float32)
    raw = {f.name: getattr(weights, f.name) for f in dataclasses.fields(weights)} | {"b": biases}
    sizes = {n: v for n, v in case.sizes.items() if n not in ("acts", "clip")}
    sizes["x_zero"] = numbers.x_zero if numbers.x_scale else exact.MIDDLE
    return dataclasses.replace(case, sizes=sizes, raw=case.raw | raw), weights, biases


def finish(case: Case, packed: q.Packed) -> Case:
    """The case with its packed weights."""
    return dataclasses.replace(
        case, arrays=case.arrays | packed.arrays, sizes=case.sizes | packed.sizes
    )


def kernels(
    family: str,
    *,
    gates: int,
    flags: Sequence[str],
    states: Sequence[str],
    cell: Cell,
    cases: Callable[[np.random.Generator, str], Iterator[Case]],
) -> tuple[Kernel, ...]:
    """A family's kernels: dense, and in blocks of 16 and 8 units."""
    return tuple(_kernel(family, layout, gates, flags, states, cell, cases) for layout in q.WIDTHS)


def _kernel(
    family: str,
    layout: str,
    gates: int,
    flags: Sequence[str],
    states: Sequence[str],
    cell: Cell,
    cases: Callable[[np.random.Generator, str], Iterator[Case]],
) -> Kernel:
    width = q.WIDTHS[layout] or q.PANEL
    finals = [f"{name[0]}_n" for name in states]
    return Kernel(
        name=f"{family}_i8" + (f"_{layout}" if layout else ""),
        source=f"{family}_i8.c",
        sizes=size_names(flags, layout),
        args=args(layout, cell=len(states) > 1),
        scratch=lambda sizes: scratch(sizes, gates, 1 + len(states), width),
        out_shapes=lambda sizes: rec.out_shapes(sizes, finals),
        reference=lambda case: reference(case, states, cell),
        cases=lambda rng: cases(rng, layout),
        tolerance=0.0,  # the same bits
        sharing=_sharing.recurrent_i8(gates, STEPS, lists=bool(layout), width=width),
    )
