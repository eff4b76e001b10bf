"""A pruned layer is never slower than its dense form: what the shipped table chooses is counted.

Instructions and cache misses are counted by callgrind, in the AVX2 code that artifacts hold: unlike
times they are the same on every machine, and on a busy one. Instructions alone would mislead: a
dense layer has fewer of them at half the density already, and waits for the memory it reads.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._family import Role

from edgeseq import registry
from edgeseq.bench.suite import native, product, recurrent
from edgeseq.bench.suite.native import Call
from edgeseq.lower import costs, formats, work
from edgeseq.lower.costs import Cost, CostTable
from edgeseq.lower.toolchain import Toolchain

LEVEL = "x86-64-v3"
# How a pruned weight is stored -> the densities that are tried: of blocks, or of N in 8.
DENSITIES = {
    "f32_b16x1": tuple(round(0.05 * i, 2) for i in range(1, 21)),
    "f32_nm8": tuple(i / 8 for i in range(1, 9)),
}
# family, inputs, units or outputs
SHAPES = (
    *(("gru", 32, 48), ("gru", 64, 128), ("lstm", 40, 64), ("rnn", 128, 128)),
    *(("linear", 256, 128), ("linear", 96, 200)),
)
CACHES = ("--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=8388608,16,64")
# The usual estimate of cycles: a miss of the first cache costs 10 instructions, of the last 100.
PRICES = {"Ir": 1, **dict.fromkeys(("I1mr", "D1mr", "D1mw"), 10)}
PRICES |= dict.fromkeys(("ILmr", "DLmr", "DLmw"), 100)
NEED = pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Both forms of one layer at one density."""

    shape: tuple[str, int, int]
    density: float
    dense: Call
    sparse: Call

    def chosen(self, table: CostTable) -> Call:
        options = [(c, c.kernel.name, c.sizes) for c in (self.dense, self.sparse)]
        return table.cheapest(options, [LEVEL])[0]


def plans(form: str) -> Iterator[Plan]:
    for shape in SHAPES:
        dense = call(shape, "f32", 1.0)
        for density in DENSITIES[form]:
            yield Plan(shape, density, dense, call(shape, form, density))


def call(shape: tuple[str, int, int], form: str, density: float) -> Call:
    kind, inputs, outputs = shape
    rng = np.random.default_rng(3)
    if kind == "linear":
        parsed = work.parse(("gemm_" if form == "f32" else "spmv_") + form)
        assert parsed is not None
        found = product.make(parsed, {"K": inputs, "N": outputs}, density, rng)
    else:
        parsed = work.parse(f"{kind}_{form}")
        assert parsed is not None
        sizes = {"I": inputs, "H": outputs, "T": 1}
        made = recurrent.make(parsed, sizes, density, rng)
        found = None if made is None else (made[0], made[1]["W"])
    assert found is not None
    return found[0]


def program(calls: list[Call], folder: Path) -> Path:
    """A program that makes every call once, each from a function of its own.

    The code is what artifacts hold: compiled for the sizes, but for the number of blocks.
    """
    target = registry.find("targets", "x86-64").TARGET
    isa = next(i for i in target.isas if i.level == LEVEL)
    tools = Toolchain(target, folder)
    texts = [native.source(c, isa, sorted({"blocks"} & c.sizes.keys()), "NAME") for c in calls]
    names = {text: f"kernel_{i}" for i, text in enumerate(dict.fromkeys(texts))}
    for text, name in names.items():
        (folder / f"{name}.c").write_text(text.replace("NAME", name))
        tools.compile(f"{name}.c", f"{name}.c.o", isa, [_build.C_FOLDER])
    (folder / "main.c").write_text(main(calls, [names[text] for text in texts], folder))
    objects = [f"{name}.c.o" for name in names.values()]
    done = subprocess.run(
        ["cc", "-O1", "-g0", "-w", "main.c", *objects, "-o", "program"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "program"


def main(calls: list[Call], names: list[str], folder: Path) -> str:
    """C that reads each call's arguments from a file, where they lie one after the other."""
    parts = ["#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\nstatic char *m;"]
    body = ['FILE *f = fopen("arguments", "rb");', f"m = aligned_alloc(64, {1 << 28});"]
    with (folder / "arguments").open("wb") as file:
        for i, (c, name) in enumerate(zip(calls, names, strict=True)):
            at = 0
            given = [f"(int64_t){c.sizes[n]}" for n in c.kernel.sizes if n == "blocks"]
            for pointer in c.passed:
                data = argument(c, pointer)
                given.append(f"(void *)(m + {at})")
                file.write(data)
                at += len(data)
            parts.append(f"int {name}();")
            made = f'{name}({", ".join(given)}); __asm__ volatile("# %0" ::"i"({i}));'
            for kind in ("warm", "case"):
                parts.append(f"__attribute__((noinline)) void {kind}_{i}(void) {{ {made} }}")
            body.append(f"if (fread(m, 1, {at}, f) != {at}) return 1; warm_{i}(); case_{i}();")
    return "\n".join([*parts, "int main(void) {", *body, "return 0; }"])


def argument(c: Call, name: str) -> bytes:
    """Bytes of an argument, whole lines of 64."""
    given = {**c.consts, **c.frames[0], **c.states}.get(name)
    arg = next(a for a in c.kernel.args if a.name == name)
    if given is None and arg.role is Role.SCRATCH:
        given = np.zeros(c.kernel.scratch(c.sizes), np.uint8)
    if given is None:
        given = np.zeros(c.kernel.out_shapes(c.sizes)[name], arg.dtype)
    data = np.ascontiguousarray(given).tobytes()
    return data + bytes(-len(data) % 64 + 64)


def count(calls: list[Call], folder: Path) -> list[int]:
    """Estimated cycles of every call, with caches that are warm."""
    binary = program(calls, folder)
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=out", *CACHES, str(binary)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = inclusive((folder / "out").read_text())
    return [found[f"case_{i}"] for i in range(len(calls))]


def inclusive(text: str) -> dict[str, int]:
    """Inclusive cost of each `case_` function that main calls, from callgrind's file."""
    names: dict[str, str] = {}
    costs_of: dict[str, int] = {}
    callee, expect, prices = "", False, [0]
    for line in text.splitlines():
        if line.startswith("events: "):
            prices = [PRICES.get(event, 0) for event in line.split()[1:]]
        named = re.fullmatch(r"c?fn=\((\d+)\)(?: (.*))?", line)
        if named:
            names[named[1]] = named[2] or names[named[1]]
            if line.startswith("cfn="):
                callee = names[named[1]]
        elif line.startswith("calls="):
            expect = True
        elif expect:
            if callee.startswith("case_"):
                counts = map(int, line.split()[1:])  # zeros at the end are left out
                costs_of[callee] = sum(n * price for n, price in zip(counts, prices, strict=False))
            expect = False
    return costs_of


def slower(table: CostTable, every: list[Plan], taken: dict[int, int]) -> list[str]:
    """The plans whose chosen form takes more cycles than the dense one."""
    found = []
    for plan in every:
        mine, dense = (taken[id(c)] for c in (plan.chosen(table), plan.dense))
        if mine > dense:
            found.append(f"{plan.shape} at {plan.density}: {mine} > {dense}")
    return found


@pytest.mark.slow
@NEED
@pytest.mark.parametrize("form", DENSITIES)
def test_what_is_chosen_is_never_slower(form: str, tmp_path: Path) -> None:
    table = costs.load()
    every = list(plans(form))
    calls = list({id(c): c for p in every for c in (p.dense, p.sparse)}.values())
    taken = dict(zip(map(id, calls), count(calls, tmp_path), strict=True))
    most = formats.WORTH_A_LOOK_N_OF_M if form == "f32_nm8" else 1
    asked = [p for p in every if p.density <= most]  # above, lowering takes dense weights
    assert slower(table, asked, taken) == []
    # It is a choice: pruned layers are sparse, and much faster, where that pays.
    chosen = {(p.shape, p.density): p.chosen(table) is p.sparse for p in every}
    assert all(chosen[shape, min(DENSITIES[form])] for shape in SHAPES)
    assert not any(chosen[shape, 1.0] for shape in SHAPES)
    # And the check can fail: a table that takes blocks for free chooses them everywhere.
    assert slower(flattering(table, form), every, taken) != []


def flattering(table: CostTable, form: str) -> CostTable:
    """The same table, wrong about a form by a factor of ten."""
    kernels = dict(table.levels[LEVEL])
    for name, cost in table.levels[LEVEL].items():
        if name.endswith(form):
            kernels[name] = Cost(*(price / 10 for price in dataclasses.astuple(cost)))
    return dataclasses.replace(table, levels={**table.levels, LEVEL: kernels})


def test_callgrind_is_read_as_it_writes() -> None:
    text = (
        "events: Ir Dr D1mr\nfn=(1) main\n5 100\ncfn=(2) case_0\ncalls=1 7\n6 4000 900 7\n"
        "cfn=(3) fread\ncalls=1 1\n6 9\ncfn=(4) case_1\ncalls=1 8\n7 50\nfn=(2)\n7 3\n"
    )
    assert inclusive(text) == {"case_0": 4070, "case_1": 50}
