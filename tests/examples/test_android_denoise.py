"""examples/android-denoise: its native part, under QEMU and in the JVM of a desktop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

from tests.examples import commands, sound

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("musl")]

APP = commands.ROOT / "examples/android-denoise"
KOTLIN = APP / "app/src/main/kotlin/ai/edgeseq/example"

# What Denoise.kt and Loop.kt do, in Java: frames in by a direct buffer, a step, frames out.
JAVA = """
package ai.edgeseq.denoise;

import java.io.DataOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

class Denoise {
    native long nativeStateSize();
    native long nativeArenaSize(long steps);
    native int nativeAlign(ByteBuffer memory);
    native int nativeInit(ByteBuffer memory, long[] places);
    native int nativeStep(ByteBuffer memory, long[] places);

    static FloatBuffer part(ByteBuffer memory, int start) {
        memory.position(start).limit(start + 1024);
        FloatBuffer part = memory.slice().order(ByteOrder.nativeOrder()).asFloatBuffer();
        memory.clear();
        return part;
    }

    public static void main(String[] args) throws Exception {
        System.load(args[0]);
        Denoise it = new Denoise();
        long[] places = new long[4];
        long[] sizes = {it.nativeStateSize(), it.nativeArenaSize(1), 1024, 1024};
        long end = 0;
        for (int i = 0; i < 4; i++) {
            places[i] = end;
            end += (sizes[i] + 63) / 64 * 64;
        }
        ByteBuffer memory = ByteBuffer.allocateDirect((int) end + 64);
        int start = it.nativeAlign(memory);
        FloatBuffer x = part(memory, start + (int) places[2]);
        FloatBuffer y = part(memory, start + (int) places[3]);
        if (it.nativeInit(memory, places) != 0) throw new IllegalStateException("init");
        ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(Path.of(args[1])));
        FloatBuffer samples = in.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        ByteBuffer out = ByteBuffer.allocate(in.capacity()).order(ByteOrder.LITTLE_ENDIAN);
        float[] frame = new float[256];
        while (samples.remaining() >= frame.length) {
            samples.get(frame);
            x.rewind();
            x.put(frame);
            if (it.nativeStep(memory, places) != 0) throw new IllegalStateException("step");
            y.rewind();
            y.get(frame);
            for (float value : frame) out.putFloat(value);
        }
        Files.write(Path.of(args[2]), out.array());
    }
}
"""

# Arms that run the same library without a phone: the C functions, over floats of a file.
DRIVER = """
#include <stdio.h>
#include "denoise.h"

static _Alignas(64) unsigned char state[DENOISE_STATE_SIZE], arena[DENOISE_STEP_ARENA_SIZE];

int main(void) {
    float x[256], y[256];
    if (denoise_init(state)) return 1;
    while (fread(x, sizeof x, 1, stdin) == 1) {
        if (denoise_step(state, arena, x, y)) return 2;
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = commands.checkout(tmp_path_factory.mktemp("android"), "android-denoise")
    for command in commands.starting("android-denoise", "edgeseq compile"):
        commands.run(command, folder)
    commands.reference(folder)
    return folder


@pytest.fixture(scope="module")
def frames() -> sound.Samples:
    noisy = sound.read(sound.NOISY) / 32768
    return noisy[: 40 * sound.FRAME]


@pytest.fixture(scope="module")
def want(repository: Path, frames: sound.Samples) -> sound.Samples:
    return sound.denoised(repository / "host", "x86-64", frames * 32768) / 32768


def test_readme(repository: Path) -> None:
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("needs qemu-aarch64-static")
    (command,) = commands.starting("android-denoise", "edgeseq validate")
    assert "all" in commands.run(command, repository)


def test_the_library_under_qemu(
    repository: Path, frames: sound.Samples, want: sound.Samples, tmp_path: Path
) -> None:
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("needs qemu-aarch64-static")
    (tmp_path / "driver.c").write_text(DRIVER)
    android = repository / "dist/arm64-android"
    commands.run(
        f"python -m ziglang cc -target aarch64-linux-musl -O2 -s -I{android} driver.c "
        f"{android}/libdenoise.a -o driver",
        tmp_path,
    )
    done = subprocess.run(
        ["qemu-aarch64-static", str(tmp_path / "driver")],
        input=frames.tobytes(),
        capture_output=True,
        check=True,
    )
    np.testing.assert_allclose(np.frombuffer(done.stdout, np.float32), want, rtol=0, atol=2e-6)


def test_the_jni_layer_runs_in_a_desktop_jvm(
    repository: Path, frames: sound.Samples, want: sound.Samples, tmp_path: Path
) -> None:
    home, bin_ = java()
    jni = repository / "dist/arm64-android/src/main/c/denoise_jni.c"
    native = repository / "host/x86-64"
    library = tmp_path / "libdenoise_jni.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    includes = [f"-I{d}" for d in (home / "include", home / "include/linux", native)]
    command = ["cc", *flags, *includes, str(jni), str(native / "libdenoise.a"), "-o", str(library)]
    subprocess.run(command, check=True)
    source = tmp_path / "ai/edgeseq/denoise/Denoise.java"
    source.parent.mkdir(parents=True)
    source.write_text(JAVA)
    subprocess.run([str(bin_ / "javac"), "-d", str(tmp_path), str(source)], check=True)
    (tmp_path / "in.f32").write_bytes(frames.tobytes())
    files = [str(tmp_path / "in.f32"), str(tmp_path / "out.f32")]
    done = subprocess.run(
        [
            str(bin_ / "java"),
            "-cp",
            str(tmp_path),
            "ai.edgeseq.denoise.Denoise",
            str(library),
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = np.fromfile(tmp_path / "out.f32", np.float32)
    np.testing.assert_array_equal(got, want)


def java() -> tuple[Path, Path]:
    """The JDK, and where its programs are."""
    javac = shutil.which("javac")
    if javac is None or shutil.which("cc") is None:
        pytest.skip("needs javac and cc")
    home = Path(os.environ.get("JAVA_HOME") or Path(javac).resolve().parents[1])
    if not (home / "include" / "jni.h").is_file():
        pytest.skip("needs jni.h")
    return home, Path(javac).parent


def test_the_jni_layer_for_arm64_exports_what_kotlin_calls(
    repository: Path, tmp_path: Path
) -> None:
    home, _ = java()
    android = repository / "dist/arm64-android"
    library = tmp_path / "libdenoise_jni.so"
    commands.run(
        "python -m ziglang cc -target aarch64-linux-musl -shared -fPIC -O2 -Wall -Wextra -Werror "
        f"-I{home}/include -I{home}/include/linux -I{android} -Wl,-z,max-page-size=16384 "
        f"{android}/src/main/c/denoise_jni.c {android}/libdenoise.a -o {library}",
        tmp_path,
    )
    (wrapper,) = (android / "src/main/kotlin").rglob("*.kt")
    text = wrapper.read_text(encoding="utf-8")
    called = {f"Java_ai_edgeseq_denoise_Denoise_{n}" for n in re.findall(r"fun (native\w+)", text)}
    symbols = commands.run(f"readelf -W --dyn-syms {library}", tmp_path)
    assert called
    assert called <= {line.split()[-1] for line in symbols.splitlines() if " FUNC " in line}


def test_the_app_uses_the_module_as_it_is_written(repository: Path) -> None:
    android = repository / "dist/arm64-android"
    settings = (APP / "settings.gradle.kts").read_text(encoding="utf-8")
    (place,) = re.findall(r'project\(":denoise"\).projectDir = file\("(.*)"\)', settings)
    example = repository / "examples/android-denoise"
    assert (example / place).resolve() == android.resolve()
    wrapper = (android / "src/main/kotlin/ai/edgeseq/denoise/Denoise.kt").read_text()
    loop = (KOTLIN / "Loop.kt").read_text(encoding="utf-8")
    assert "package ai.edgeseq.denoise" in wrapper
    assert "import ai.edgeseq.denoise.Denoise" in loop
    members = set(re.findall(r"(?:val|fun) (\w+)[(:]", wrapper))
    assert set(re.findall(r"model\.(\w+)", loop)) <= members
    assert "val x: FloatBuffer" in wrapper
    applied = re.findall(r'id\("([\w.]+)"\)', (android / "build.gradle.kts").read_text())
    known = re.findall(r'id\("([\w.]+)"\) version', (APP / "build.gradle.kts").read_text())
    assert applied
    assert set(applied) <= set(known)


def test_the_manifest_asks_for_the_microphone() -> None:
    tree = xml.etree.ElementTree.parse(APP / "app/src/main/AndroidManifest.xml")
    name = "{http://schemas.android.com/apk/res/android}name"
    asked = [e.attrib[name] for e in tree.iter("uses-permission")]
    assert asked == ["android.permission.RECORD_AUDIO"]
    (activity,) = (e.attrib[name] for e in tree.iter("activity"))
    assert (KOTLIN / f"{activity.removeprefix('.')}.kt").is_file()
