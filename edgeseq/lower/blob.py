"""The weights of a model as an object file, or as memory that is filled when a module is loaded."""

from __future__ import annotations

import numpy as np

_ELF = """__asm__(".section .rodata\\n.balign 64\\n.globl {s}\\n.hidden {s}\\n"
        "{s}:\\n.incbin \\"weights.bin\\"\\n.previous\\n");
"""
_MACH_O = """__asm__(".section __TEXT,__const\\n.balign 64\\n.globl _{s}\\n.private_extern _{s}\\n"
        "_{s}:\\n.incbin \\"weights.bin\\"\\n.text\\n");
"""
_RESERVED = """#include <stdint.h>
uint64_t {s}[{words}] __attribute__((aligned(64)));

/* Whether something else than this model's weights lies there. */
uint32_t {s}_differ(void);
uint32_t {s}_differ(void) {{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < {words}; i++) sum += ({s}[i] + 1) * (2 * i + 1);
    return sum != {sum}ull;
}}
"""


def included(symbol: str, triple: str) -> str:
    """C whose object holds the bytes of `weights.bin`, 64-byte aligned, hidden outside."""
    mach_o = triple.endswith(("-ios", "-macos"))
    return (_MACH_O if mach_o else _ELF).format(s=symbol)


def reserved(symbol: str, content: bytes) -> str:
    """C with memory for the weights, and `<symbol>_differ()` that checks them there."""
    words = np.frombuffer(content + bytes(-len(content) % 8), "<u8")
    return _RESERVED.format(s=symbol, words=len(words), sum=checksum(words))


def checksum(words: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> int:
    """Sum of the words, each times an odd number of its own, modulo 2^64."""
    odd = 2 * np.arange(len(words), dtype=np.uint64) + np.uint64(1)
    return int(((words + np.uint64(1)) * odd).sum(dtype=np.uint64))
