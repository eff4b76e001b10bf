"""`assert (window > 0).all()`: what a module asserts of its tensors is taken to hold.

While a module is traced its tensors have no values, so Python cannot decide on one. An assertion
only stops what is wrong; a compiled program has no exceptions to raise.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType
from typing import Any

from torch import Tensor

_SKIPPED = frozenset({"TO_BOOL", "CACHE", "COPY", "NOP", "EXTENDED_ARG", "NOT_TAKEN"})
_INSIDE = ("torch._", "torch.export", "torch.fx", "torch.overrides", "torch.utils", "edgeseq.")


def truth(value: Tensor) -> Any:
    """`bool(value)`; of a condition of an assertion, the truth with which it holds."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_INSIDE):
        frame = frame.f_back
    wanted = None if frame is None else asserted(frame)
    return value.__bool__() if wanted is None else wanted


def asserted(frame: FrameType) -> bool | None:
    """The truth with which an assertion goes on, if that is what a frame converts a value for."""
    code = [i for i in dis.get_instructions(frame.f_code) if i.opname not in _SKIPPED]
    here = next((n for n, i in enumerate(code) if i.offset >= frame.f_lasti), len(code))
    if here + 1 >= len(code) or "POP_JUMP" not in code[here].opname:
        return None
    jump, target = code[here], code[here].argval
    if_true = "IF_TRUE" in jump.opname
    if _fails(code[here + 1]):
        return if_true
    there = next((i for i in code if i.offset >= target), None)
    return not if_true if there is not None and _fails(there) else None


def _fails(instruction: dis.Instruction) -> bool:
    """Whether an assertion has failed when this is reached."""
    known = {"LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT"}  # the latter from Python 3.14 on
    return instruction.opname in known
