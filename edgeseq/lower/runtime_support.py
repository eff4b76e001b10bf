"""What generated code may call: `esm.h`, and what LLVM makes of loops and lacking instructions."""

from __future__ import annotations


def own(code: bytes) -> bytes:
    """Rename memcpy and memset in an object, in the names' own length.

    In a static library they would else become those of the whole program that it is linked into.
    """
    for theirs, ours in ((b"memcpy", b"es_cpy"), (b"memset", b"es_set")):
        for before in (b"\0", b"\0_"):  # ELF, Mach-O
            code = code.replace(before + theirs + b"\0", before + ours + b"\0")
    return code


def text(*, rounding: bool) -> str:
    """The C file; its functions are hidden in the library.

    Args:
        rounding: Also define those of libm that round: 32-bit ARM has no instructions for them.
    """
    hidden = '__attribute__((weak, visibility("hidden")))'
    return f"""#include <stddef.h>
#define ESM_FN {hidden}
#include "esm.h"
typedef uint64_t word __attribute__((aligned(1), may_alias));
{hidden} void *memset(void *to, int value, size_t bytes) {{
    unsigned char *p = to;
    const uint64_t all = 0x0101010101010101ULL * (unsigned char)value;
    for (; bytes >= 8; bytes -= 8, p += 8) *(word *)p = all;
    for (; bytes; bytes--) *p++ = (unsigned char)value;
    return to;
}}
{hidden} void *memcpy(void *to, const void *from, size_t bytes) {{
    unsigned char *p = to;
    const unsigned char *q = from;
    for (; bytes >= 8; bytes -= 8, p += 8, q += 8) *(word *)p = *(const word *)q;
    for (; bytes; bytes--) *p++ = *q++;
    return to;
}}
{"".join(_rounding(name, hidden) for name in ROUNDING) if rounding else ""}"""


ROUNDING = {
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "round": "round",
    "rint": "nearbyint",
    "nearbyint": "nearbyint",
}


def _rounding(name: str, hidden: str) -> str:
    ours = ROUNDING[name]
    return (
        f"{hidden} float {name}f(float x) {{ return esm_{ours}32(x); }}\n"
        f"{hidden} double {name}(double x) {{ return esm_{ours}64(x); }}\n"
    )
