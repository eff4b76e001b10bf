"""int8 kernels: packing is lossless, bits do not depend on the machine, seeded bugs are caught."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build, _quantized, gemm_i8, gemv_i4, gru_i8, lstm_i8, rnn_i8, spmv_i8
from edgeseq.kernels import _recurrent_i8 as rec
from edgeseq.kernels._family import Array, Case, Kernel
from edgeseq.kernels._recurrent import Shape

from tests.kernels.libraries import Libraries
from tests.kernels.runner import Runner

CELLS = {"gru": (gru_i8, 3), "lstm": (lstm_i8, 4), "rnn": (rnn_i8, 1)}


def weights(gates: int, inputs: int, hidden: int, density: float = 0.3) -> _quantized.Weights:
    rng = np.random.default_rng(gates * 1000 + inputs * 100 + hidden)
    numbers, rows = rec.Numbers(density=density), (2, gates * hidden)
    ones = np.ones(rows, np.float32)
    w = rec.draw_weights(rng, numbers, *rows, inputs)
    r = rec.draw_weights(rng, numbers, *rows, hidden)
    scales = np.zeros(2, np.float32)
    return _quantized.Weights(w, r, ones, ones, scales, scales)


@pytest.mark.parametrize("layout", _quantized.WIDTHS)
@pytest.mark.parametrize("family", CELLS)
@pytest.mark.parametrize("hidden", [1, 4, 7, 8, 15, 16, 17, 33])
def test_cells_unpack(family: str, hidden: int, layout: str) -> None:
    module, gates = CELLS[family]
    q = weights(gates, 5, hidden)
    flags = {"reset_first": False} if family == "gru" else {}
    packed = module.pack(q, None, layout=layout, **flags)
    w, r = module.unpack(packed, 2, 5, hidden, layout)
    np.testing.assert_array_equal(w, q.w)
    np.testing.assert_array_equal(r, q.r)


@pytest.mark.parametrize("layout", ["b16x4", "b8x4"])
def test_only_blocks_that_are_not_zero_are_stored(layout: str) -> None:
    width = _quantized.WIDTHS[layout]
    w = np.zeros((8, 4 * width), np.int8)
    w[4, 0] = w[5, width - 1] = 1  # one block
    w[0, 3 * width] = -1
    packed = spmv_i8.pack(w, np.ones(4 * width, np.float32), x_scale=0.1, layout=layout)
    assert packed.sizes["blocks"] == 2
    assert packed.arrays["index"].tolist() == [1, 0]
    assert packed.arrays["counts"].tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(spmv_i8.unpack(packed, 8, 4 * width, layout), w)


@pytest.mark.parametrize("inputs", [0, 1, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("outputs", [1, 15, 16, 17])
def test_gemv_unpack(inputs: int, outputs: int) -> None:
    rng = np.random.default_rng(inputs + outputs)
    levels = rng.integers(-8, 8, (inputs, outputs)).astype(np.int8)
    scale = np.ones((-(-inputs // 32), outputs), np.float32)
    packed = gemv_i4.pack(levels, scale, group=32)
    np.testing.assert_array_equal(gemv_i4.unpack(packed, inputs, outputs), levels)
    wide = rng.integers(-128, 128, (inputs, outputs)).astype(np.int8)
    packed = gemv_i4.pack_i8(wide, np.ones(outputs, np.float32))
    np.testing.assert_array_equal(gemv_i4.unpack_i8(packed, outputs), wide)


def test_pairs_fit_is_exactly_the_bound_of_sixteen_bits() -> None:
    def fits(*row: int) -> bool:
        return _quantized.pairs_fit(np.array([row], np.int8))

    assert fits(127, 2, -127, -2)
    assert not fits(127, 3)
    assert not fits(-128, -2)
    assert fits(127, -127, 127)
    assert fits(0, 127, 127, 0)  # neighbours of different pairs
    assert 254 * 129 <= 32767 < 254 * 130
    assert _quantized.pairs_fit(np.array([[127, 1]], np.int8), wide=True)
    assert not _quantized.pairs_fit(np.array([[127, 2]], np.int8), wide=True)
    assert 255 * 128 <= 32767 < 255 * 129


def test_256_levels_take_all_weights_but_two_neighbours_of_the_least() -> None:
    def fits(*column: int) -> bool:
        return _quantized.wide_fits(np.array([column], np.int8))

    assert fits(-128, -127)
    assert fits(0, -128, -128, 0)  # neighbours of different pairs
    assert not fits(0, 0, -128, -128)
    with pytest.raises(ValueError, match="-128"):
        gemm_i8.pack(np.full((4, 2), -128, np.int8), np.ones(2, np.float32), x_scale=1.0, wide=True)


def test_too_many_inputs_are_refused() -> None:
    w = np.zeros((1, 16, _quantized.MOST_INPUTS + 1), np.int8)
    with pytest.raises(ValueError, match="32767"):
        _quantized.blocks(w, 16)


# The file, what stands there, and a mistake of one; each must make the cases of a kernel fail.
BUGS = {
    "255 levels": ("exact.h", "(float)(254 + wide - zero)", "(float)(255 + wide - zero)"),
    "a zero point too high": ("exact.h", "es_iset(zero - es_dot_zero(wide))", "es_iset(zero)"),
    "one block too few": ("quantized.h", "k < p->quads; k++", "k < p->quads - 1; k++"),
    "the next block's input": ("quantized.h", "es_alone(index[k + f])", "es_alone(index[k])"),
    "one unit too many": ("recurrent_i8.h", "a->H - at[i].unit)", "a->H - at[i].unit + 1)"),
    "a coefficient's last bits": ("exact.h", "0.133777543f", "0.133777662f"),
}


USUAL = {"255 levels", "the next block's input"}


@pytest.mark.parametrize(
    "bug", [pytest.param(b, marks=() if b in USUAL else pytest.mark.slow) for b in BUGS]
)
def test_a_seeded_bug_is_caught(bug: str, tmp_path: Path, runner: Runner) -> None:
    file, right, wrong = BUGS[bug]
    copy = tmp_path / "c"
    shutil.copytree(_build.C_FOLDER, copy)
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, wrong))
    isa = next(i for i in _build.ISAS if i.name == "c")
    layout = "b8x4" if "block's" in bug else ""
    kernel = next(k for k in rnn_i8.KERNELS if k.name.removeprefix("rnn_i8").strip("_") == layout)
    library = build(isa, kernel, tmp_path, includes=[copy])
    ended = runner.run(library, "rnn-i8", kernel, isa.name)
    assert ended.code != 0
    assert ended.said.startswith("case "), ended.said


def build(isa: _build.Isa, kernel: Kernel, folder: Path, includes: list[Path]) -> Path:
    text = f"#define ES_ANY_SIZE\n{_build.source([kernel])}"
    made = _build.compile_object(isa, text, folder / f"k-{isa.name}.o", includes=includes)
    return _build.link(isa, [made], folder / f"k-{isa.name}.so")


def sizes_of(kernel: Kernel, case: Case) -> list[int]:
    return [case.sizes[name] for name in kernel.sizes]


def steps(family: str, count: int) -> tuple[Kernel, Case]:
    """Many steps of a small cell with static input scale and dynamic state scale."""
    module, gates = CELLS[family]
    states = ["h0", "c0"] if family == "lstm" else ["h0"]
    flags = (("reset_first", 0),) if family == "gru" else ()
    shape = Shape(T=count, B=1, I=7, H=20, flags=flags)
    numbers = rec.Numbers(density=0.5, h_scale=0.0)
    case, q, b = rec.draw(shape, numbers, np.random.default_rng(5), gates, states)
    packed = module.pack(q, b, **({"reset_first": False} if family == "gru" else {}))
    return module.KERNELS[0], rec.finish(case, packed)


def digest(y: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(y, np.float32).tobytes()).hexdigest()


def outputs(library: Path, kernel: Kernel, case: Case) -> Array:
    """y of one call."""
    y = np.zeros(kernel.out_shapes(case.sizes)["y"], np.float32)
    memory = np.zeros(kernel.scratch(case.sizes) // 4 + 32, np.float32)
    scratch = memory[-(memory.ctypes.data // 4) % 16 :]
    arrays = case.arrays | {"y": y, "scratch": scratch}
    pointers = [
        ctypes.c_void_p(arrays[a.name].ctypes.data if a.name in arrays else None)
        for a in kernel.args
    ]
    getattr(ctypes.CDLL(str(library)), kernel.name)(
        *map(ctypes.c_int, sizes_of(kernel, case)), *pointers
    )
    return y


COMPARED = 3_000  # steps that numpy takes, too
SHIPPED = {"avx512-vnni", "avx512", "avx2", "sse2", "c-one-lane-gcc", "c-gcc"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=pytest.mark.xdist_group(f"{f}_i8.c")) for f in ("gru", "lstm")],
)
def test_many_steps_have_one_hash(family: str, libraries: Libraries) -> None:
    """The state feeds back, so that one differing bit would change all that follows."""
    kernel, case = steps(family, 100_000)
    shorter = {"x": case.arrays["x"][: COMPARED * case.sizes["x_t"]]}
    sizes = {**case.sizes, "T": COMPARED}
    first = dataclasses.replace(case, sizes=sizes, arrays={**case.arrays, **shorter})
    want = digest(kernel.reference(first)["y"])
    found = {}
    for isa in _build.ISAS:
        if isa.name in SHIPPED and not isa.missing():
            y = outputs(libraries.get(isa, kernel.source), kernel, case)
            assert digest(y[: COMPARED * case.sizes["y_t"]]) == want, isa.name
            found[isa.name] = digest(y)
    assert "c-gcc" in found
    assert len(set(found.values())) == 1, found
