"""Run a kernel's cases in guarded memory: `run_cases.py LIBRARY FAMILY KERNEL SEED [ISA]`.

A process of its own, because reading or writing past an array is a segmentation fault here: every
array lies at the end of a page followed by one without access, or at the start of a page behind
one, with guard words up to the page's end. The last line printed names the case that was running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from edgeseq.kernels._family import UNTOUCHED, Array, Case, Kernel, Role
from machines import GUARD, Machine, Pointer, start

from edgeseq import registry


class Memory:
    """Whole pages with an array at their end (or start), and guard bytes in what is left."""

    def __init__(self, content: Array, page: int, *, at_end: bool) -> None:
        content = np.ascontiguousarray(content)
        self.block = np.full(-(-max(content.nbytes, 1) // page) * page, GUARD, np.uint8)
        self.offset = len(self.block) - content.nbytes if at_end else 0
        self.guard = self.block[: self.offset] if at_end else self.block[content.nbytes :]
        self.bytes = self.block[self.offset : self.offset + content.nbytes]
        self.array = self.bytes.view(content.dtype).reshape(content.shape)
        self.array[...] = content
        self.before = self.bytes.copy()

    def intact(self) -> bool:
        return bool((self.guard == GUARD).all())

    def unchanged(self) -> bool:
        return bool((self.bytes == self.before).all())


def check(
    kernel: Kernel,
    machine: Machine,
    case: Case,
    expected: dict[str, Array],
    *,
    at_end: bool,
    in_place: bool,
) -> str | None:
    """Run one case; what is wrong, or None."""
    memory: dict[str, Memory] = {}
    shapes = kernel.out_shapes(case.sizes)
    shared: set[str] = set()
    for arg in kernel.args:
        if arg.role is Role.SCRATCH:
            content = np.full(kernel.scratch(case.sizes), 0xFF, np.uint8)  # not-a-numbers
            # scratch is aligned to 64 bytes, so it may end a little before the page does
            content = np.pad(content, (0, -len(content) % 64), constant_values=GUARD)
        elif arg.role is Role.OUT:
            if arg.name in case.absent:
                continue
            if in_place and arg.may_be in memory:
                memory[arg.name] = memory[arg.may_be]
                shared.add(arg.may_be)
                continue
            content = np.full(shapes[arg.name], UNTOUCHED, arg.dtype)
        elif arg.name in case.arrays:
            content = case.arrays[arg.name].astype(arg.dtype)
        else:
            continue
        memory[arg.name] = Memory(content, machine.page, at_end=at_end)
    blocks = list({id(m): m for m in memory.values()}.values())
    pointers: list[Pointer] = [
        (blocks.index(memory[a.name]), memory[a.name].offset) if a.name in memory else None
        for a in kernel.args
    ]
    sizes = [case.sizes[name] for name in kernel.sizes]
    machine.call(kernel.name, sizes, [m.block for m in blocks], pointers)
    return compare(kernel, memory, shared, expected)


def compare(
    kernel: Kernel, memory: dict[str, Memory], shared: set[str], expected: dict[str, Array]
) -> str | None:
    for arg in kernel.args:
        if arg.name not in memory:
            continue
        if arg.role is not Role.SCRATCH and not memory[arg.name].intact():
            return f"wrote outside {arg.name}"
        is_input = arg.role in (Role.IN, Role.CONST) and arg.name not in shared
        if is_input and not memory[arg.name].unchanged():
            return f"wrote to its input {arg.name}"
        if arg.role is Role.OUT:
            wrong = differs(memory[arg.name].array, expected[arg.name], kernel.tolerance)
            if wrong:
                return f"{arg.name}: {wrong}"
    return None


def differs(got: Array, want: Array, tolerance: float) -> str | None:
    """How two arrays differ, or None."""
    want = want.reshape(got.shape)
    gaps = want == UNTOUCHED
    if (got[gaps] != UNTOUCHED).any():
        return "wrote between rows"
    if (np.isnan(got) != np.isnan(want)).any():
        return f"{np.isnan(got).sum()} not-a-numbers instead of {np.isnan(want).sum()}"
    finite = ~gaps & np.isfinite(want)
    if (got[~finite & ~np.isnan(want)] != want[~finite & ~np.isnan(want)]).any():
        return "infinities differ"
    if not finite.any():
        return None
    error = np.abs(got[finite].astype(np.float64) - want[finite])
    allowed = tolerance * max(1.0, np.abs(want[finite]).max())
    return f"error {error.max():.3g} > {allowed:.3g}" if error.max() > allowed else None


def variants(kernel: Kernel, seed: int) -> Iterator[tuple[str, Case]]:
    """The kernel's cases, and some of them with a NaN and with denormal inputs."""
    for i, case in enumerate(kernel.cases(np.random.default_rng(seed))):
        yield f"{i}", case
        if i % 5 == 0 and case.raw["x"].size:
            yield f"{i} with a NaN", changed(case, first_is_nan)
            yield f"{i} with denormals", changed(case, lambda x: x * np.float32(1e-40))


def first_is_nan(x: Array) -> Array:
    return np.where(np.arange(x.size) == 0, np.float32("nan"), x)


def changed(case: Case, f: Callable[[Array], Array]) -> Case:
    """The case with f applied to its input x, flattened."""
    x, raw = case.arrays["x"], case.raw["x"]
    new_x = f(x.reshape(-1)).reshape(x.shape).astype(x.dtype)
    new_raw = f(raw.reshape(-1)).reshape(raw.shape).astype(raw.dtype)
    return replace(case, arrays=case.arrays | {"x": new_x}, raw=case.raw | {"x": new_raw})


def all_kernels() -> list[Kernel]:
    """Those of every family, in the order in which the tests compile them."""
    families = registry.names("kernels")
    return [k for family in families for k in registry.find("kernels", family).KERNELS]


Prepared = tuple[str, Case, dict[str, Array]]  # a label, and the references by output


def kernel_of(family: str, name: str) -> Kernel:
    kernels: dict[str, Kernel] = {k.name: k for k in registry.find("kernels", family).KERNELS}
    return kernels[name]


def prepare(kernel: Kernel, seed: int) -> list[Prepared]:
    """The cases, and what is expected of each."""
    with np.errstate(all="ignore"):
        return [(label, case, kernel.reference(case)) for label, case in variants(kernel, seed)]


def run(library: Path, kernel: Kernel, isa: str, cases: Sequence[Prepared]) -> int:
    """Run cases on the machine of an instruction set; 1 after the first that is wrong."""
    same_file = [k.name for k in all_kernels() if k.source == kernel.source]
    machine = start(isa, library, same_file)
    can_share = {a.may_be for a in kernel.args if a.may_be}
    count = 0
    for label, case, expected in cases:
        for at_end in machine.ends:
            for in_place in (False, True):
                if in_place and not can_share & set(case.arrays):
                    continue
                place = f"{'end' if at_end else 'start'}{', in place' if in_place else ''}"
                print(f"case {label} ({place}) {case.sizes}", flush=True)
                wrong = check(kernel, machine, case, expected, at_end=at_end, in_place=in_place)
                if wrong:
                    print(f"WRONG {wrong}")
                    return 1
                count += 1
    print(f"passed {count}")
    return 0


def main(library: str, family: str, name: str, seed: int, isa: str = "c") -> int:
    kernel = kernel_of(family, name)
    return run(Path(library), kernel, isa, prepare(kernel, seed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:]))
