"""x86-64 Linux: generated code at x86-64-v3, hand-written kernels up to AVX-512.

v3 for generated code was measured as fast as v4 and is smaller. The VNNI levels are built for
models with int8 kernels.
"""

from edgeseq.targets._target import Isa, Target

TARGET = Target(
    name="x86-64",
    summary="Linux on x86-64: shared and static library, AVX2 or AVX-512 chosen at init",
    triple="x86_64-linux-gnu",
    tvm={"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu"},
    isas=(
        Isa("x86-64-v2", "sse2", "x86_64_v2", {"mcpu": "x86-64-v2"}),
        Isa("x86-64-v3", "avx2", "x86_64_v3", {"mcpu": "x86-64-v3"}),
        Isa(
            "x86-64-v3-vnni",
            "avx2vnni",
            "x86_64_v3+avxvnni",
            {"mcpu": "x86-64-v3"},
            ("-march=x86-64-v3", "-mavxvnni"),
            int8=True,
        ),
        Isa("x86-64-v4", "avx512", "x86_64_v4", {"mcpu": "x86-64-v4"}),
        Isa(
            "x86-64-v4-vnni",
            "avx512vnni",
            "x86_64_v4+avx512vnni",
            {"mcpu": "x86-64-v4"},
            ("-march=x86-64-v4", "-mavx512vnni"),
            int8=True,
        ),
    ),
    generated="x86-64-v3",
    machines=("x86_64", "AMD64"),
)
