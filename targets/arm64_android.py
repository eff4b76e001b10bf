"""Android on ARM64: a library without libc, aligned for pages of 16 kB, and what Gradle wants.

The NDK's compiler is used where ANDROID_NDK_HOME is set; without it zig's, to the same effect,
because the library calls nothing of Android.
"""

from edgeseq.targets._target import ARMV8, Target

TARGET = Target(
    name="arm64-android",
    summary="Android on ARM64: libraries, CMake package, Kotlin class over JNI, Gradle module",
    triple="aarch64-linux-android",
    tvm={"kind": "llvm", "mtriple": "aarch64-unknown-linux-android"},
    isas=ARMV8,
    generated="neon",
    machines=(),
    link=("-Wl,-z,max-page-size=16384",),
    package="android",
    engines=("qemu",),
)
