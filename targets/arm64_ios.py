"""iPhone and iPad: a static library, its module map, and a Swift package around both."""

from edgeseq.targets._target import Form, Isa, Target

TARGET = Target(
    name="arm64-ios",
    summary="iOS on ARM64: static library, module map, Swift package",
    triple="aarch64-ios",
    tvm={"kind": "llvm", "mtriple": "arm64-apple-ios15.0"},
    isas=(Isa("neon", "neon", "apple_a10", {"mcpu": "apple-a10"}, ("-mcpu=apple-a10",)),),
    generated="neon",
    machines=(),
    form=Form.STATIC,
    package="apple",
)
