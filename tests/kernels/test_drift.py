"""A million steps: states stay finite, and as near to float64 as the errors of single steps allow.

A step is wrong by at most `e` per state. Where the exact cell brings two states closer, at least by
the matrix `m` of `rates`, those errors add up to (1 - m)^-1 e and no further, however long it runs.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels._build import ISAS
from edgeseq.kernels._family import Array

from tests.kernels import cells
from tests.kernels.cells import INPUTS, UNITS, Cell, Compiled, Exact
from tests.kernels.libraries import Libraries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc"),
]

BLOCKS, STEPS = 100, 10_000
SAMPLED = 2_000  # of which the largest error of a step is taken, twice
DTYPES = ("f32", "bf16", "int8")


def group(family: str, dtype: str = "") -> str:
    """The source of the kernel, in the process that compiles it anyway."""
    return f"{family}_i8.c" if dtype == "int8" else f"{family}.c"


def sigmoid(v: float) -> float:
    return float(1 / (1 + np.exp(-v)))


def rates(cell: Cell) -> Array:
    """Bounds of how much a difference of each state moves each of the next, for |x| <= 1.

    From the derivatives of the cell in the largest norm, with |h| <= 1, |tanh'| <= 1 and
    |sigmoid'| <= 1/4; of z(1 - z), which the derivative of a z gate is, 1 - z is taken out.
    """
    gates = cells.GATES[cell.family]
    r = np.abs(cell.r).reshape(gates, UNITS, UNITS).sum(2).max(1)
    w = np.abs(cell.w).reshape(gates, UNITS, INPUTS).sum(2).max(1)
    b = cell.b.reshape(2, gates, UNITS)
    top = w + r + b.sum(0).max(1)  # of what enters the activations
    if cell.family == "gru":
        z, inner = sigmoid(top[0]), r[2] + np.abs(b[1, 2]).max()
        return np.array([[z + (1 - z) * (r[2] + inner * r[1] / 4 + 2 * r[0])]])
    o, f = sigmoid(top[1]), sigmoid(top[2])
    by_h = r[2] / 4 / (1 - f) + r[0] / 4 + r[3]  # of c, which is at most 1 / (1 - f)
    return np.array([[o * by_h + r[1] / 4, o * f], [by_h, f]])


def step_error(cell: Cell, compiled: Compiled, exact: Exact, rng: np.random.Generator) -> Array:
    """The largest error of one step from an exact state, per state."""
    x = inputs(rng, SAMPLED)
    states = exact.run(x, np.zeros((len(cell.states), UNITS)))
    found = np.zeros(len(cell.states))
    for t in range(1, SAMPLED):
        before = states[t - 1].astype(np.float32)
        after = compiled.run(x[t : t + 1], dict(zip(cell.states, before, strict=True)))[1]
        off = np.abs(np.stack([after[name] for name in cell.states]) - states[t]).max(1)
        found = np.maximum(found, off)
    return found


def inputs(rng: np.random.Generator, steps: int) -> Array:
    drawn: Array = rng.uniform(-1, 1, (steps, INPUTS))
    return drawn.astype(np.float32)


def drift(
    cell: Cell, compiled: Compiled, exact: Exact, blocks: int, rng: np.random.Generator
) -> Array:
    """The largest error of every state in every block of steps; of c only after its last."""
    wide = np.zeros((len(cell.states), UNITS))
    states = {name: np.zeros(UNITS, np.float32) for name in cell.states}
    found = np.zeros((blocks, len(cell.states)))
    for block in range(blocks):
        x = inputs(rng, STEPS)
        y, states = compiled.run(x, states)
        want = exact.run(x, wide)
        assert all(np.isfinite(s).all() for s in (y, *states.values()))
        assert np.abs(y).max() <= 1
        np.testing.assert_array_equal(y[-1], states["h"])
        found[block] = [np.abs(s - e).max() for s, e in zip(states.values(), wide, strict=True)]
        found[block, 0] = np.abs(y - want[:, 0]).max()
    return found


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        pytest.param(family, dtype, marks=pytest.mark.xdist_group(group(family, dtype)))
        for family in ("gru", "lstm")
        for dtype in DTYPES
    ],
)
def test_a_million_steps(family: str, dtype: str, tmp_path: Path, libraries: Libraries) -> None:
    rng = np.random.default_rng(7)
    cell = cells.draw(family, dtype, rng)
    compiled, exact = compile_both(cell, libraries, tmp_path)
    m = rates(cell)
    assert np.abs(np.linalg.eigvals(m)).max() < 0.95
    gain = np.linalg.inv(np.eye(len(m)) - m)
    allowed = gain @ (2 * step_error(cell, compiled, exact, rng))
    assert allowed.max() < (2e-2 if dtype == "int8" else 1e-5)  # it says something
    found = drift(cell, compiled, exact, BLOCKS, rng)
    assert (found.max(0) <= allowed).all(), (found.max(0), allowed)
    tenth = BLOCKS // 10
    assert (found[-tenth:].max(0) <= 2 * found[:tenth].max(0)).all(), found


def compile_both(cell: Cell, libraries: Libraries, folder: Path) -> tuple[Compiled, Exact]:
    """The kernel for the widest instruction set of this machine, and the float64 cell."""
    isa = next(isa for isa in ISAS if not isa.missing() and not isa.only)
    return Compiled(cell, libraries.get(isa, cell.kernel.source)), Exact(cell, folder)


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.xdist_group(group(f))) for f in ("gru", "lstm")]
)
def test_another_cell_is_seen(family: str, tmp_path: Path, libraries: Libraries) -> None:
    """A weight that is off by a thousandth of its row leads out of the bound within one block."""
    rng = np.random.default_rng(7)
    cell = cells.draw(family, "f32", rng)
    compiled, exact = compile_both(cell, libraries, tmp_path)
    m = rates(cell)
    gain = np.linalg.inv(np.eye(len(m)) - m)
    allowed = gain @ (2 * step_error(cell, compiled, exact, rng))
    w = cell.w.copy()
    w[0, 0] += 1e-3 * np.abs(w[0]).sum()
    other = Exact(dataclasses.replace(cell, w=w), tmp_path)
    assert (drift(cell, compiled, other, 1, rng)[0] > allowed).any()


@pytest.mark.parametrize("family", ["gru", "lstm"])
def test_the_float64_cell_is_that_of_the_kernels(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cell = cells.draw(family, "f32", rng)
    x = inputs(rng, 50)
    got = Exact(cell, tmp_path).run(x, np.zeros((len(cell.states), UNITS)))[:, 0]
    np.testing.assert_allclose(got, cells.reference(cell, x), rtol=0, atol=1e-14)
