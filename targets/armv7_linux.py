"""32-bit ARM Linux with NEON and hard floats: Raspberry Pi 2, most boards since 2012.

Kernels are the plain C ones: the compiler maps their vectors of four floats to NEON, whose 32-bit
form treats denormals as zero.
"""

from edgeseq.targets._target import Isa, Target

TARGET = Target(
    name="armv7-linux",
    summary="Linux on 32-bit ARM with NEON: shared and static library",
    triple="arm-linux-gnueabihf",
    tvm={"kind": "llvm", "mtriple": "armv7a-unknown-linux-gnueabihf"},
    isas=(
        Isa(
            "neon-vfpv4",
            "scalar",
            "cortex_a7",
            {"mcpu": "cortex-a7", "mattr": ["+neon", "+vfp4"]},
            ("-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-mfloat-abi=hard"),
        ),
    ),
    generated="neon-vfpv4",
    machines=("armv7l",),
    engines=("qemu",),
)
