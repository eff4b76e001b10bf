"""ARM64 Linux, glibc or musl: NEON, which every such processor has. No library is linked.

`-mcpu=generic` is ARMv8.0 with NEON. Models with int8 kernels get a level with dot products,
chosen at init.
"""

from edgeseq.targets._target import ARMV8, Target

TARGET = Target(
    name="arm64-linux",
    summary="Linux on ARM64 (Raspberry Pi, servers): shared and static library, NEON",
    triple="aarch64-linux-gnu",
    tvm={"kind": "llvm", "mtriple": "aarch64-unknown-linux-gnu"},
    isas=ARMV8,
    generated="neon",
    machines=("aarch64",),
    engines=("qemu",),
)
