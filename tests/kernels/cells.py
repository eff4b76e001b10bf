"""Small cells that contract, as a kernel runs them and in float64 (`exact_cells.c`)."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
from edgeseq.kernels import _quantized, gru, gru_i8, lstm, lstm_i8
from edgeseq.kernels import _recurrent as rec
from edgeseq.kernels._exact import MIDDLE
from edgeseq.kernels._family import Arg, Array, Case, Kernel
from edgeseq.kernels._formats import Format, rounded

INPUTS, UNITS = 4, 8
GATES = {"gru": 3, "lstm": 4}
MODULES: dict[tuple[str, bool], ModuleType] = {
    ("gru", False): gru,
    ("lstm", False): lstm,
    ("gru", True): gru_i8,
    ("lstm", True): lstm_i8,
}
STATES = {"gru": ("h",), "lstm": ("h", "c")}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of one chain.

    Args:
        family: gru or lstm.
        kernel: What runs it.
        sizes: Its sizes but T.
        consts: Its packed weights.
        w, r, b: What is packed, in float64.
    """

    family: str
    kernel: Kernel
    sizes: dict[str, int]
    consts: dict[str, Array]
    w: Array
    r: Array
    b: Array

    @property
    def states(self) -> tuple[str, ...]:
        return STATES[self.family]


def draw(family: str, dtype: str, rng: np.random.Generator) -> Cell:
    """A random cell; the rows of a gate's r sum up to less than 0.2, so that it contracts."""
    gates, module = GATES[family], MODULES[family, dtype == "int8"]
    rows, flags = gates * UNITS, {"reset_first": False} if family == "gru" else {}
    b = rng.uniform(-0.1, 0.1, (1, 2 * rows)).astype(np.float32)
    b[0, 2 * UNITS : 3 * UNITS] -= 1  # of the LSTM's forget gate: 0.3 of c is kept, not half
    shape = rec.Shape(T=1, B=1, I=INPUTS, H=UNITS, flags=tuple(flags.items()))
    sizes = rec.sizes_of(shape)
    if dtype == "int8":
        q = _weights(rows, rng)
        packed = module.pack(q, b, **flags)
        sizes |= {"x_zero": MIDDLE} | packed.sizes
        w, r = (m[0] * s[0][:, None] for m, s in ((q.w, q.w_scale), (q.r, q.r_scale)))
        consts, kernel = packed.arrays, module.KERNELS[0]
    else:
        w = rounded(rng.uniform(-0.8, 0.8, (rows, INPUTS)).astype(np.float32) / INPUTS, dtype)
        r = rounded(rng.uniform(-0.2, 0.2, (rows, UNITS)).astype(np.float32) / UNITS, dtype)
        consts = {"w": module.pack(w[None], r[None], b, **flags, form=Format(dtype))}
        kernel = next(k for k in module.KERNELS if k.name == f"{family}_{dtype}")
    exact = (np.ascontiguousarray(a, np.float64) for a in (w, r, b[0]))
    sizes = {name: int(sizes.get(name, 0)) for name in kernel.sizes if name != "T"}
    return Cell(family, kernel, sizes, consts, *exact)


def reference(cell: Cell, x: Array) -> Array:
    """Every h over x [T, I] by the kernel's own reference in numpy."""
    zeros = {f"{name}0": np.zeros((1, 1, 1, UNITS)) for name in cell.states}
    raw = {"x": x[None, :, None], "lens": np.full(1, len(x)), "w": cell.w[None], "r": cell.r[None]}
    raw |= {"b": cell.b[None], "p": np.zeros((1, 3 * UNITS)), **zeros}
    sizes = {"T": len(x), **cell.sizes}
    return cell.kernel.reference(Case(sizes, {}, raw))["y"].reshape(len(x), UNITS)


def _weights(rows: int, rng: np.random.Generator) -> _quantized.Weights:
    def scale(most: float, inputs: int) -> Array:
        drawn: Array = rng.uniform(0.5, 1, (1, rows)) * most / (127 * inputs)
        return drawn.astype(np.float32)

    one = np.full(1, 1 / 127, np.float32)  # x and h lie within [-1, 1]
    return _quantized.Weights(
        w=rng.integers(-127, 128, (1, rows, INPUTS)).astype(np.int8),
        r=rng.integers(-127, 128, (1, rows, UNITS)).astype(np.int8),
        w_scale=scale(0.8, INPUTS),
        r_scale=scale(0.2, UNITS),
        x_scale=one,
        h_scale=one,
    )


class Compiled:
    """The kernel of a cell in a compiled library."""

    def __init__(self, cell: Cell, library: Path) -> None:
        self._cell = cell
        self._function = getattr(ctypes.CDLL(str(library)), cell.kernel.name)

    def run(self, x: Array, states: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Every h over x [T, I], and the states after it."""
        kernel, sizes = self._cell.kernel, {"T": len(x), **self._cell.sizes}
        y = np.empty((len(x), UNITS), np.float32)
        after = {name: np.empty(UNITS, np.float32) for name in states}
        memory = np.zeros(kernel.scratch(sizes) + 64, np.uint8)
        arrays = {"x": x, "y": y, "scratch": memory[-memory.ctypes.data % 64 :]}
        arrays |= self._cell.consts
        arrays |= {f"{n}0": s for n, s in states.items()} | {f"{n}_n": s for n, s in after.items()}
        self._function(
            *(sizes[n] for n in kernel.sizes), *(_address(arrays, a) for a in kernel.args)
        )
        return y, after


def _address(arrays: dict[str, Array], arg: Arg) -> ctypes.c_void_p:
    return ctypes.c_void_p(arrays[arg.name].ctypes.data if arg.name in arrays else None)


class Exact:
    """The same cell in float64."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self._cell = cell
        library, source = folder / "exact.so", Path(__file__).with_name("exact_cells.c")
        flags = ["-O2", "-shared", "-fPIC", "-ffp-contract=off"]
        subprocess.run(["cc", *flags, str(source), "-lm", "-o", str(library)], check=True)
        self._function = getattr(ctypes.CDLL(str(library)), cell.family)

    def run(self, x: Array, state: Array) -> Array:
        """The states [T, states, H] over x [T, I]; `state` [states, H] becomes the last."""
        wide, cell = np.ascontiguousarray(x, np.float64), self._cell
        y = np.empty((len(x), len(cell.states), UNITS))
        arrays = (cell.w, cell.r, cell.b, wide, state, y)
        pointers = (ctypes.c_void_p(a.ctypes.data) for a in arrays)
        self._function(len(x), INPUTS, UNITS, *pointers)
        return y
