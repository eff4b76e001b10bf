"""What a program uses of the kernels, told to their C sources: see es.h.

Compilers spend most of their time on code that a wrapper's constants remove once it is inlined.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgeseq.kernels import _formats
from edgeseq.lower.calls import Wrapper
from edgeseq.lower.size import Size

_CELLS = ("rnn", "gru", "lstm")  # the bits of ES_CELLS


def defines(wrappers: Iterable[Wrapper]) -> list[str]:
    """Lines of C to stand before the first kernel, for programs that call no other wrappers."""
    known = {form.name: form for form in _formats.ALL}
    calls = [(*w.kernel.name.partition("_")[::2], w) for w in wrappers]
    cells = [(family, rest, w) for family, rest, w in calls if family in _CELLS]
    forms = [known[rest] for _, rest, _ in calls if rest in known]
    uses = {
        "CELLS": sum(1 << i for i, cell in enumerate(_CELLS) if cell in {c[0] for c in cells}),
        "RESETS": any(_is_set(w, "reset_first") for _, _, w in cells),
        "LENGTHS": any(_passes(w, "lens") for _, _, w in cells),
        "SHARES": any(w.cuts for _, _, w in cells),
        "BLOCKS": any(known[rest].width for _, rest, _ in cells if rest in known),
        "WINDOWS": any(form.window for form in forms),
        "HALVES": any(form.element != "f32" for form in forms),
    }
    return [f"#define ES_{name} {int(value)}" for name, value in uses.items()] if calls else []


def _is_set(wrapper: Wrapper, name: str) -> bool:
    """Whether a kernel has a size of that name that is, or may be, other than 0."""
    sizes = zip(wrapper.kernel.sizes, wrapper.sizes, strict=True)
    return any(size != Size.of(0) for own, size in sizes if own == name)


def _passes(wrapper: Wrapper, name: str) -> bool:
    return name in {arg.name for arg in wrapper.pointers()}
