"""Kernels with sizes that are literals, as lowering calls them, so that all of it folds."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build, gemm, gru, lstm, rnn, spmv
from edgeseq.kernels._family import UNTOUCHED, Array, Case, Kernel, Role

from edgeseq.lower import uses
from edgeseq.lower.calls import Wrapper
from edgeseq.lower.size import Size

FAMILIES = (gemm, gru, lstm, rnn, spmv)
USUAL = {"gru_f32", "gru_bf16", "gru_bf16_b16x1", "gru_f32_nm8", "lstm_f32_b8x1"}
USUAL |= {"spmv_f32_b16x1"}
KERNELS = [
    pytest.param(kernel, id=kernel.name, marks=() if kernel.name in USUAL else pytest.mark.slow)
    for family in FAMILIES
    for kernel in family.KERNELS
]


def some(kernel: Kernel) -> list[Case]:
    """One step and several, rows that do not fill a tile, panels that are not full."""
    found: dict[tuple[int, ...], Case] = {}
    for case in kernel.cases(np.random.default_rng(3)):
        s = case.sizes
        if "T" in s:
            key = (min(s["T"], 2), min(s["B"], 2), s["H"] % 16 > 0)
            wanted = s["H"] > 8 and s["T"] > 0 and s["groups"] == 1
        else:
            key = (min(s["M"], 2), s["N"] % 32 > 0)
            wanted = s["N"] > 30 and s["K"] > 4
        if wanted and key not in found:
            found[key] = case
    return list(found.values())


def wrapper(kernel: Kernel, case: Case) -> Wrapper:
    """The kernel at the sizes of the case, NULL for what is absent."""
    sizes = tuple(Size.of(case.sizes[name]) for name in kernel.sizes)
    return Wrapper(kernel, sizes, tuple(not present(kernel, case, a.name) for a in kernel.args))


def present(kernel: Kernel, case: Case, name: str) -> bool:
    arg = next(a for a in kernel.args if a.name == name)
    if arg.role in (Role.IN, Role.CONST):
        return name in case.arrays
    return name not in case.absent


@pytest.mark.parametrize("kernel", KERNELS)
def test_folded(kernel: Kernel, tmp_path: Path) -> None:
    isa = next(i for i in _build.ISAS if i.name == "avx2")
    if why := isa.missing():
        pytest.skip(why)
    cases = some(kernel)
    assert len(cases) >= 3
    wrappers = [wrapper(kernel, case) for case in cases]
    functions = [w.text(f"f{i}", "extern") for i, w in enumerate(wrappers)]
    top = [*uses.defines(wrappers), f'#include "{kernel.source}"']
    text = "\n".join([*top, '#pragma GCC diagnostic ignored "-Wmissing-prototypes"', *functions])
    made = _build.compile_object(isa, text, tmp_path / "k.o")
    library = ctypes.CDLL(str(_build.link(isa, [made], tmp_path / "k.so")))
    for i, case in enumerate(cases):
        memory: dict[str, Array] = {n: a.copy() for n, a in case.arrays.items()}
        for name, shape in kernel.out_shapes(case.sizes).items():
            memory[name] = np.full(shape, UNTOUCHED, np.float32)
        memory["scratch"] = np.full(kernel.scratch(case.sizes) // 4, np.nan, np.float32)
        pointers = [
            ctypes.c_void_p(memory[a.name].ctypes.data if a.name in memory else None)
            for a in wrappers[i].pointers()
        ]
        getattr(library, f"f{i}")(*pointers)
        for name, want in kernel.reference(case).items():
            if name not in case.absent:
                allowed = kernel.tolerance * max(1.0, np.abs(want[want != UNTOUCHED]).max())
                got = memory[name].reshape(want.shape)
                np.testing.assert_allclose(got, want, rtol=0, atol=allowed, err_msg=f"{case.sizes}")
