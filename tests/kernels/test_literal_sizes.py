"""Kernels with sizes that are literals, as lowering calls them, so that all of it folds."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build, gemm, gru, lstm, rnn, spmv
from edgeseq.kernels._family import UNTOUCHED, Array, Case, Kernel, Role

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


def function(kernel: Kernel, case: Case, name: str) -> str:
    """C of the kernel at the sizes of the case, 0 for what is absent."""
    sizes = [str(case.sizes[n]) for n in kernel.sizes]
    types = {"uint16": "uint16_t", "int32": "int32_t", "float32": "float"}
    parameters = ", ".join(f"{types[a.dtype]} *{a.name}" for a in kernel.args)
    passed = [a.name if present(kernel, case, a.name) else "0" for a in kernel.args]
    unused = " ".join(f"(void){a.name};" for a in kernel.args)
    call = f"es_{kernel.name}({', '.join(sizes + passed)});"
    return f"void {name}({parameters});\nvoid {name}({parameters}) {{ {unused} {call} }}\n"


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
    functions = [function(kernel, case, f"f{i}") for i, case in enumerate(cases)]
    text = "\n".join([f'#include "{kernel.source}"', *functions])
    made = _build.compile_object(isa, text, tmp_path / "k.o")
    library = ctypes.CDLL(str(_build.link(isa, [made], tmp_path / "k.so")))
    for i, case in enumerate(cases):
        memory: dict[str, Array] = {n: a.copy() for n, a in case.arrays.items()}
        for name, shape in kernel.out_shapes(case.sizes).items():
            memory[name] = np.full(shape, UNTOUCHED, np.float32)
        memory["scratch"] = np.full(kernel.scratch(case.sizes) // 4, np.nan, np.float32)
        pointers = [
            ctypes.c_void_p(memory[a.name].ctypes.data if a.name in memory else None)
            for a in kernel.args
        ]
        getattr(library, f"f{i}")(*pointers)
        for name, want in kernel.reference(case).items():
            if name not in case.absent:
                allowed = kernel.tolerance * max(1.0, np.abs(want[want != UNTOUCHED]).max())
                got = memory[name].reshape(want.shape)
                np.testing.assert_allclose(got, want, rtol=0, atol=allowed, err_msg=f"{case.sizes}")
