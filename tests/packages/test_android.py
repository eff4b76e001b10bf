"""What Android asks of a library, and the JNI layer in the JVM of a desktop."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import edgeseq

pytestmark = pytest.mark.slow

PAGE = 16384
JAVA = """
package ai.edgeseq.step;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

class Step {
    native long nativeStateSize();
    native long nativeArenaSize(long steps);
    native int nativeAlign(ByteBuffer memory);
    native int nativeInit(ByteBuffer memory, long[] places);
    native int nativeStep(ByteBuffer memory, long[] places);
    native int nativeRun(ByteBuffer memory, long[] places, long steps);
    native int nativeReset(ByteBuffer memory, long[] places);
    native int nativeSave(ByteBuffer memory, long[] places, byte[] saved);
    native int nativeLoad(ByteBuffer memory, long[] places, byte[] saved);
    native String nativeError(int code);

    static void expect(boolean right, String what) {
        if (!right) throw new IllegalStateException(what);
    }

    public static void main(String[] args) {
        System.load(args[0]);
        Step it = new Step();
        long state = it.nativeStateSize(), arena = it.nativeArenaSize(1);
        long[] places = {0, 4096, 8192, 12288};
        expect(state <= 4096 && arena <= 4096, "sizes");
        ByteBuffer memory = ByteBuffer.allocateDirect(16384 + 64).order(ByteOrder.nativeOrder());
        expect(it.nativeInit(memory, places) == 0, "init");
        int start = it.nativeAlign(memory);
        for (int i = 0; i < 4; i++) memory.putFloat(start + 8192 + 4 * i, i - 1.5f);
        expect(it.nativeStep(memory, places) == 0, "step");
        float first = memory.getFloat(start + 12288);
        byte[] saved = new byte[(int) state];
        expect(it.nativeSave(memory, places, saved) == 0, "save");
        expect(it.nativeStep(memory, places) == 0, "second step");
        float second = memory.getFloat(start + 12288);
        expect(it.nativeLoad(memory, places, saved) == 0, "load");
        expect(it.nativeRun(memory, places, 1) == 0, "run");
        expect(memory.getFloat(start + 12288) == second, "continues where it was saved");
        expect(it.nativeReset(memory, places) == 0, "reset");
        expect(it.nativeStep(memory, places) == 0, "step after reset");
        expect(memory.getFloat(start + 12288) == first, "begins anew");
        saved[0] ^= 1;
        int code = it.nativeLoad(memory, places, saved);
        expect(code != 0 && it.nativeError(code).contains("state"), "damaged state");
        expect(it.nativeStep(ByteBuffer.allocate(1), places) != 0, "no direct buffer");
        System.out.println(first + " " + second);
    }
}
"""


def elf(file: Path, *flags: str) -> str:
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    command = ["readelf", "-W", *flags, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_library_needs_nothing_and_fits_large_pages(step: Path) -> None:
    library = step / "arm64-android" / "libstep.so"
    assert "NEEDED" not in elf(library, "-d")
    symbols = [line.split() for line in elf(library, "--dyn-syms").splitlines() if "UND" in line]
    assert all(len(words) == 7 for words in symbols), symbols  # the first, which has no name
    alignments = [line.split()[-1] for line in elf(library, "-l").splitlines() if " LOAD " in line]
    assert alignments
    assert all(int(a, 16) == PAGE for a in alignments)


def test_a_static_library_defines_nothing_of_libc(step: Path) -> None:
    for target in ("arm64-android", "arm64-linux", "x86-64"):
        symbols = elf(step / target / "libstep.a", "-s")
        names = {line.split()[-1] for line in symbols.splitlines() if len(line.split()) == 8}
        assert names & {"memcpy", "memset", "floor", "floorf", "rint"} == set(), target


def test_the_jni_layer_in_a_desktop_jvm(step: Path, tmp_path: Path) -> None:
    javac = shutil.which("javac")
    if javac is None or shutil.which("cc") is None:
        pytest.skip("needs javac and cc")
    home = Path(os.environ.get("JAVA_HOME") or Path(javac).resolve().parents[1])
    if not (home / "include" / "jni.h").is_file():
        pytest.skip("needs jni.h")
    library = tmp_path / "libstep_jni.so"
    includes = [home / "include", home / "include" / "linux", step / "x86-64"]
    subprocess.run(
        ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        + [f"-I{folder}" for folder in includes]
        + [str(step / "arm64-android/src/main/c/step_jni.c"), str(step / "x86-64/libstep.a")]
        + ["-o", str(library)],
        check=True,
    )
    folder = tmp_path / "ai" / "edgeseq" / "step"
    folder.mkdir(parents=True)
    (folder / "Step.java").write_text(JAVA)
    bin_ = Path(javac).parent
    subprocess.run([javac, "-d", str(tmp_path), str(folder / "Step.java")], check=True)
    java = [str(bin_ / "java"), "-cp", str(tmp_path), "ai.edgeseq.step.Step", str(library)]
    done = subprocess.run(java, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = [float(word) for word in done.stdout.split()]
    stream = edgeseq.load(step, "x86-64").stream()
    frame = [[-1.5, -0.5, 0.5, 1.5]]
    want = [float(stream.step(frame)[0, 0]) for _ in range(2)]
    assert got == pytest.approx(want, abs=0, rel=1e-7)


def test_kotlin_declares_what_jni_defines(step: Path, sequence: Path) -> None:
    for dist, m in ((step, "step"), (sequence, "sequence")):
        android = dist / "arm64-android"
        (kotlin,) = android.rglob("*.kt")
        declared = {
            line.split("fun native")[1].split("(")[0]
            for line in kotlin.read_text().splitlines()
            if "external fun native" in line
        }
        source = (android / f"src/main/c/{m}_jni.c").read_text()
        defined = {
            line.split(", ")[1].split(")")[0]
            for line in source.splitlines()
            if line.startswith("CALL(")
        }
        assert declared == defined
        assert ("Step" in declared) == (m == "step")
