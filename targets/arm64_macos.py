"""Macs with Apple's processors: a static library, its module map, and a Swift package."""

from edgeseq.targets._target import Form, Isa, Target

TARGET = Target(
    name="arm64-macos",
    summary="macOS on ARM64: static library, module map, Swift package",
    triple="aarch64-macos",
    tvm={"kind": "llvm", "mtriple": "arm64-apple-macosx12.0"},
    isas=(Isa("neon", "neon", "apple_m1", {"mcpu": "apple-m1"}, ("-mcpu=apple-m1",)),),
    generated="neon",
    machines=(),
    form=Form.STATIC,
    package="apple",
)
