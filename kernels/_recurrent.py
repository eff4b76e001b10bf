"""What RNN, GRU and LSTM share on the Python side: packing, layouts, references, test sizes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from edgeseq.kernels import _blocks
from edgeseq.kernels._blocks import OVERREAD, Blocks
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Role, Sizes
from edgeseq.kernels._formats import F32, Format, from_words, rounded, to_words, word_rows

UNITS = 16  # units in a panel: ES_UNITS in c/recurrent.h
STEPS = 64  # steps whose input projection is done at once: ES_STEPS in c/recurrent.h

ACTIVATIONS = {
    "Relu": 1,
    "Sigmoid": 2,
    "Tanh": 3,
    "Affine": 5,
    "LeakyRelu": 6,
    "ThresholdedRelu": 7,
    "ScaledTanh": 8,
    "HardSigmoid": 9,
    "Elu": 10,
    "Softsign": 11,
}

STRIDES = ("x_t", "x_b", "x_g", "y_t", "y_b", "y_g", "y_d")


def acts(names: Sequence[str]) -> int:
    """The `acts` size: one byte per activation of the cell, in ONNX's order."""
    return sum(ACTIVATIONS[name] << (8 * i) for i, name in enumerate(names))


def params(pairs: Sequence[tuple[float, float]], clip: float = 0.0) -> Array:
    """The `params` argument: alpha and beta of each activation, then the clip limit."""
    flat = [value for pair in pairs for value in pair]
    return np.array(flat + [0.0] * (6 - len(flat)) + [clip], np.float32)


def round_up(n: int, to: int) -> int:
    """Return the least multiple of `to` that is not below n."""
    return -(-n // to) * to


@dataclasses.dataclass(frozen=True)
class Chain:
    """The weights of one recurrence, gates in the order of the kernel.

    Args:
        head: Biases and peepholes [rows, H].
        w: Input weights [gates, H, I].
        r: Recurrent weights [gates, H, H].
    """

    head: Array
    w: Array
    r: Array


def pack(chains: Sequence[Chain], form: Format = F32) -> Array:
    """Dense weights: panels of up to 16 units, and the zeros that tiles may read."""
    return np.concatenate([*(_pack_one(c, form) for c in chains), np.zeros(OVERREAD, np.float32)])


def _pack_one(chain: Chain, form: Format) -> Array:
    hidden = chain.head.shape[1]
    pad = round_up(hidden, 4) - hidden
    head = np.pad(chain.head, ((0, 0), (0, pad))).astype(np.float32)
    w, r = (np.pad(m, ((0, 0), (0, pad), (0, 0))).transpose(2, 0, 1) for m in (chain.w, chain.r))
    parts = []
    for u in range(0, hidden + pad, UNITS):
        parts.append(head[:, u : u + UNITS].reshape(-1))
        parts += [to_words(m[..., u : u + UNITS], form.element).reshape(-1) for m in (w, r)]
    return np.concatenate(parts)


def pack_blocks(chains: Sequence[Chain], form: Format) -> Blocks:
    """Block-sparse weights: per panel the lists of w's gates, then those of r's."""
    return _blocks.join([_blocks.pack(c.head, [*c.w, *c.r], form) for c in chains], form)


def unpack(
    packed: Array | Blocks,
    index: int,
    rows: int,
    gates: int,
    inputs: int,
    hidden: int,
    form: Format,
) -> Chain:
    """Undo `pack` or `pack_blocks` for one chain."""
    if isinstance(packed, Blocks):
        widths = [inputs] * gates + [hidden] * gates
        head, lists = _blocks.unpack(packed, rows, hidden, widths, form, index)
        return Chain(head, np.stack(lists[:gates]), np.stack(lists[gates:]))
    padded = round_up(hidden, 4)
    counts = [(rows, 1), *((word_rows(n, form.element), gates) for n in (inputs, hidden))]
    per_unit = sum(a * b for a, b in counts)
    out: list[list[Array]] = [[], [], []]
    for u in range(0, padded, UNITS):
        width = min(UNITS, padded - u)
        at = index * per_unit * padded + u * per_unit
        for pieces, (a, b) in zip(out, counts, strict=True):
            pieces.append(packed[at : at + a * b * width].reshape(a, b, width))
            at += a * b * width
    head = np.concatenate(out[0], axis=2)[:, 0, :hidden]
    w, r = (
        np.concatenate([from_words(piece, n, form.element) for piece in pieces], axis=2)
        for pieces, n in zip(out[1:], (inputs, hidden), strict=True)
    )
    return Chain(head, w[..., :hidden].transpose(1, 2, 0), r[..., :hidden].transpose(1, 2, 0))


def scratch(sizes: Sizes, gates: int, states: int, form: Format) -> int:
    """Bytes: two copies of h (and c), z and r h of a two-pass GRU, the projected inputs."""
    chains, hidden = sizes["groups"] * sizes["directions"], sizes["H"]
    state = sizes["B"] * round_up(hidden, UNITS)
    shared = 2 * state if sizes.get("reset_first") else 0
    steps = min(sizes["T"], STEPS) if sizes["T"] != 1 else 0
    projected = chains * steps * sizes["B"] * gates * round_up(hidden, form.width or 4)
    return 4 * (chains * states * state + shared + projected + OVERREAD)


def out_shapes(sizes: Sizes, states: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of y (as flat memory) and of the final states."""
    chains = (sizes["groups"], sizes["directions"], sizes["B"], sizes["H"])
    return {"y": (extent(sizes),), **dict.fromkeys(states, chains)}


def extent(sizes: Sizes) -> int:
    """Floats from the first to the last element of y."""
    counts = {"t": "T", "b": "B", "g": "groups", "d": "directions"}
    if sizes["T"] == 0 or sizes["B"] == 0:
        return 0
    reach = sum((sizes[n] - 1) * sizes["y_" + axis] for axis, n in counts.items())
    return reach + sizes["H"]


def sizes(flags: Sequence[str], form: Format) -> tuple[str, ...]:
    """The int parameters of a recurrent kernel; `flags`: the family's own."""
    first = ("T", "B", "I", "H", "groups", "directions", "reverse")
    return (*first, *flags, "acts", "clip", *STRIDES, *(("blocks",) if form.width else ()))


def args(form: Format, *, cell: bool) -> tuple[Arg, ...]:
    """The pointers of a recurrent kernel; `cell`: it has a second state c."""
    lists = (Arg("counts", Role.CONST, "uint16"), Arg("index", Role.CONST, "uint16"))
    states_in = [Arg("h0", Role.IN, optional=True)]
    states_out = [Arg("h_n", Role.OUT, optional=True, may_be="h0")]
    if cell:
        states_in.append(Arg("c0", Role.IN, optional=True))
        states_out.append(Arg("c_n", Role.OUT, optional=True, may_be="c0"))
    return (
        Arg("x", Role.IN),
        *(lists if form.width else ()),
        Arg("w", Role.CONST),
        *states_in,
        Arg("lens", Role.IN, "int32", optional=True),
        Arg("params", Role.CONST, optional=True),
        Arg("y", Role.OUT, optional=True),
        *states_out,
        Arg("scratch", Role.SCRATCH),
    )


def apply(code: int, usual: int, v: Array, alpha: float, beta: float) -> Array:
    """The activation with this code (0: the usual one) in numpy."""
    table: dict[int, Callable[[], Array]] = {
        1: lambda: np.where(np.isnan(v), v, np.maximum(v, 0)),
        2: lambda: 1 / (1 + np.exp(-v)),
        3: lambda: np.tanh(v),
        5: lambda: alpha * v + beta,
        6: lambda: np.where(v < 0, alpha * v, v),
        7: lambda: np.where(v > alpha, v, 0.0 * v),
        8: lambda: alpha * np.tanh(beta * v),
        9: lambda: np.clip(alpha * v + beta, 0, 1),
        10: lambda: np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0))),
        11: lambda: v / (1 + np.abs(v)),
    }
    return table[code or usual]()


def gate(case: Case, index: int, usual: str, v: Array) -> Array:
    """The index-th activation of the cell on a clipped input, as the case asks."""
    table = case.arrays.get("params")
    values = np.zeros(7) if table is None else table.astype(np.float64)
    if case.sizes["clip"]:
        v = np.clip(v, -values[6], values[6])
    code = (case.sizes["acts"] >> (8 * index)) & 255
    return apply(code, ACTIVATIONS[usual], v, values[2 * index], values[2 * index + 1])


def linear(w: Array, form: Format) -> Callable[[Array], Array]:
    """The product with one gate in float64; a weight that is not stored meets no NaN."""
    matrix = w.astype(np.float64)
    if not form.width:
        return lambda v: v @ matrix.T
    kept = _blocks.stored(w, form)
    return lambda v: np.where(kept, v[:, None] * matrix, 0.0).sum(axis=2)


def gates_of(
    case: Case, name: str, count: int, form: Format
) -> list[list[Callable[[Array], Array]]]:
    """Per chain, the products with each gate of the weight `name`."""
    return [[linear(g, form) for g in np.split(chain, count)] for chain in case.raw[name]]


Step = Callable[[int, Array, tuple[Array, ...]], tuple[Array, ...]]


def run(case: Case, states: Sequence[str], step: Step) -> dict[str, Array]:
    """Run a reference cell over all chains: `step(chain, x[B, I], states) -> states`, h first."""
    s = case.sizes
    shape = (s["groups"], s["directions"], s["B"], s["H"])
    y = np.full(extent(s), UNTOUCHED)
    finals = [np.zeros(shape) for _ in states]
    for g, d in np.ndindex(*shape[:2]):
        now = tuple(case.raw[n][g, d].astype(np.float64) for n in states)
        back = bool((s["reverse"] >> d) & 1)
        for i in range(s["T"]):
            lens = case.raw["lens"]
            alive = i < lens
            t = np.where(alive & back, lens - 1 - i, i)
            x = case.raw["x"][g, t, np.arange(s["B"])].astype(np.float64)
            new = step(g * s["directions"] + d, x, now)
            now = tuple(np.where(alive[:, None], b, a) for a, b in zip(now, new, strict=True))
            for b in range(s["B"]):
                at = t[b] * s["y_t"] + b * s["y_b"] + g * s["y_g"] + d * s["y_d"]
                y[at : at + s["H"]] = now[0][b] if alive[b] else 0
        for final, value in zip(finals, now, strict=True):
            final[g, d] = value
    names = {"h0": "h_n", "c0": "c_n"}
    return {"y": y, **{names[n]: f for n, f in zip(states, finals, strict=True)}}


@dataclasses.dataclass(frozen=True)
class Shape:
    """One recurrent test case before its numbers are drawn."""

    T: int
    B: int
    I: int  # noqa: E741 (the name in the C signature)
    H: int
    groups: int = 1
    directions: int = 1
    reverse: int = 0
    batch_first: bool = False
    gap: int = 0  # unused floats between rows
    ragged: bool = False
    zero_states: bool = False
    only_state: bool = False  # y is not wanted
    no_state: bool = False  # the final states are not wanted
    flags: tuple[tuple[str, int], ...] = ()
    activations: tuple[str, ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    clip: float = 0.0


def shapes() -> Iterator[Shape]:
    """Sizes below, at and above every tile, and the shapes of real models."""
    for hidden in (1, 3, 4, 8, 12, 15, 16, 17, 28, 31, 33, 64):
        yield Shape(T=2, B=1, I=5, H=hidden)
    for batch in (1, 2, 3, 4, 5, 33):
        yield Shape(T=1, B=batch, I=8, H=8)
        yield Shape(T=3, B=batch, I=7, H=20, batch_first=batch == 3)
    for steps in (0, 1, 2, 7, 64, 65, 130):
        yield Shape(T=steps, B=2, I=3, H=6, directions=2, reverse=2)
    yield Shape(T=33, B=1, I=8, H=4, directions=2, reverse=2)
    yield Shape(T=5, B=1, I=8, H=4, groups=2, directions=2, reverse=2)
    yield Shape(T=5, B=3, I=1, H=9, groups=3, reverse=1, gap=3, batch_first=True)
    yield Shape(T=70, B=1, I=2, H=5, reverse=1, gap=2)
    yield Shape(T=6, B=5, I=4, H=18, directions=2, reverse=2, ragged=True)
    yield Shape(T=4, B=3, I=4, H=7, reverse=1, ragged=True, batch_first=True)
    yield Shape(T=1, B=1, I=64, H=128)
    yield Shape(T=3, B=1, I=6, H=10, zero_states=True)
    yield Shape(T=3, B=2, I=6, H=10, only_state=True)
    yield Shape(T=3, B=2, I=6, H=10, no_state=True)
    yield Shape(T=3, B=1, I=6, H=10, clip=0.3)


def few_shapes() -> Iterator[Shape]:
    """Some of `shapes`, for the formats: what packing, panels, rows and steps may get wrong."""
    for hidden in (1, 7, 8, 15, 16, 17, 24, 33):
        yield Shape(T=2, B=1, I=5, H=hidden)
    for batch in (1, 2, 3, 5):
        yield Shape(T=1, B=batch, I=8, H=9)
        yield Shape(T=3, B=batch, I=1, H=20, batch_first=batch == 3)
    yield Shape(T=0, B=2, I=3, H=6)
    yield Shape(T=66, B=1, I=3, H=6, directions=2, reverse=2)
    yield Shape(T=5, B=3, I=2, H=9, groups=3, reverse=1, gap=3, batch_first=True)
    yield Shape(T=6, B=5, I=4, H=18, directions=2, reverse=2, ragged=True)
    yield Shape(T=1, B=1, I=64, H=128)
    yield Shape(T=3, B=2, I=6, H=10, zero_states=True, no_state=True)
    yield Shape(T=3, B=2, I=6, H=10, only_state=True, clip=0.3)


def draw(
    rng: np.random.Generator, dims: dict[str, tuple[int, ...]], shape: Shape, form: Format
) -> dict[str, Array]:
    """Weights of every chain as the format can hold them: of blocks, a part is zero."""
    chains, scale = shape.groups * shape.directions, 1 / np.sqrt(shape.H)
    raw = {n: rng.uniform(-scale, scale, (chains, *d)).astype(np.float32) for n, d in dims.items()}
    density = rng.choice([0.0, 0.2, 0.5, 1.0], p=[0.1, 0.4, 0.4, 0.1])
    for name in ("w", "r"):
        if form.width:
            raw[name] = prune(raw[name], density, shape.H, form, rng)
        raw[name] = rounded(raw[name], form.element)
    return raw


def with_weights(case: Case, raw: dict[str, Array], chains: Sequence[Chain], form: Format) -> Case:
    """The case with packed weights."""
    sizes, packed = case.sizes, {"w": pack(chains, form)} if not form.width else {}
    if form.width:
        blocks = pack_blocks(chains, form)
        sizes, packed = sizes | {"blocks": blocks.blocks}, blocks.arrays()
    return dataclasses.replace(case, sizes=sizes, arrays=case.arrays | packed, raw=case.raw | raw)


def prune(w: Array, density: float, outputs: int, form: Format, rng: np.random.Generator) -> Array:
    """Keep a part of the blocks of w [..., gates * outputs, inputs], less some single weights.

    N:M weights: that part of the weights, of some outputs none.
    """
    if form.window:
        drawn = rng.random(w.shape) + (rng.random((*w.shape[:-1], 1)) < 0.1)
        return np.where(drawn < density, w, 0).astype(np.float32)
    width = form.width
    parts = w.reshape(math.prod(w.shape[:-1]) // outputs, outputs, w.shape[-1])
    panels = _blocks.padded(outputs, width) // width
    keep = rng.random((len(parts), panels, w.shape[-1])) < density
    mask = np.repeat(keep, width, axis=1)[:, :outputs] & (rng.random(parts.shape) < 0.9)
    return (parts * mask).astype(np.float32).reshape(w.shape)


def fill(shape: Shape, rng: np.random.Generator, states: Sequence[str]) -> Case:
    """Draw inputs and states for a shape; the family adds the weights."""
    s = sizes_of(shape)
    x = rng.standard_normal((shape.groups, shape.T, shape.B, shape.I)).astype(np.float32)
    lens = np.full(shape.B, shape.T, np.int32)
    if shape.ragged:
        lens = rng.integers(0, shape.T + 1, shape.B).astype(np.int32)
    dims = (shape.groups, shape.directions, shape.B, shape.H)
    given = {
        n: np.zeros(dims, np.float32)
        if shape.zero_states
        else rng.standard_normal(dims).astype(np.float32)
        for n in states
    }
    arrays: dict[str, Array] = {"x": scatter(s, x)}
    if not shape.zero_states:
        arrays |= given
    if shape.ragged:
        arrays["lens"] = lens
    if shape.activations or shape.clip:
        arrays["params"] = params(shape.pairs, shape.clip)
    absent = {"y"} if shape.only_state else set()
    if shape.no_state:
        absent |= {n[0] + "_n" for n in states}
    return Case(s, arrays, {"x": x, "lens": lens, **given}, frozenset(absent))


def sizes_of(shape: Shape) -> dict[str, int]:
    """The int parameters that all three kernels share, and the family's flags."""
    inner_x, inner_y = shape.I + shape.gap, shape.H + shape.gap
    chains = shape.groups * shape.directions
    if shape.batch_first:
        x_b, x_t = shape.T * shape.groups * inner_x, shape.groups * inner_x
        y_b, y_t = shape.T * chains * inner_y, chains * inner_y
        x_g, y_d, y_g = inner_x, inner_y, shape.directions * inner_y
    else:  # as ONNX: x [T, B, groups * I], y [T, D, B, H]
        x_b, x_t = shape.groups * inner_x, shape.B * shape.groups * inner_x
        y_b, y_d, y_g = inner_y, shape.B * inner_y, shape.directions * shape.B * inner_y
        x_g, y_t = inner_x, chains * shape.B * inner_y
    values = (x_t, x_b, x_g, y_t, y_b, y_g, y_d)
    return {
        **{n: getattr(shape, n) for n in ("T", "B", "I", "H", "groups", "directions", "reverse")},
        **dict(shape.flags),
        "acts": acts(shape.activations),
        "clip": int(shape.clip > 0),
        **dict(zip(STRIDES, values, strict=True)),
    }


def scatter(s: Sizes, x: Array) -> Array:
    """Lay x [groups, T, B, I] out in memory by the strides; the gaps hold NaN."""
    groups, steps, batch, inputs = x.shape
    if steps == 0:
        return np.zeros(0, np.float32)
    last = (groups - 1) * s["x_g"] + (steps - 1) * s["x_t"] + (batch - 1) * s["x_b"]
    memory = np.full(last + inputs, np.nan, np.float32)
    for g, t, b in np.ndindex(groups, steps, batch):
        at = g * s["x_g"] + t * s["x_t"] + b * s["x_b"]
        memory[at : at + inputs] = x[g, t, b]
    return memory
