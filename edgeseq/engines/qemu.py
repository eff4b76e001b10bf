"""ARM Linux and Android libraries under QEMU's user emulation, which is a program per processor."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from edgeseq.engines._engine import Engine, Machine
from edgeseq.engines._raw import Raw
from edgeseq.errors import InternalError, ToolchainError, UsageError
from edgeseq.runtime import Manifest

# target -> emulator, triple of the program around the library, processor to compile it for
PROCESSORS = {
    "arm64-linux": ("aarch64", "aarch64-linux-gnu", "generic"),
    "arm64-android": ("aarch64", "aarch64-linux-android", "generic"),
    "armv7-linux": ("arm", "arm-linux-gnueabihf", "cortex_a7"),
}
FUNCTIONS = ("state_size", "arena_size", "init", "reset", "step", "run", "save", "load")
TEXTS = ("version", "strerror")


def _start(manifest: Manifest, target: str, steps: int) -> Machine:
    del steps
    return Raw(manifest, Program(manifest, target))


ENGINE = Engine("ARM code under qemu-user", tuple(PROCESSORS), _start)


class Program:
    """A process: the static library of a target with `driver.c` around it.

    The processor that QEMU shows is its default, with every extension; QEMU_CPU, which is QEMU's
    own variable, names another.
    """

    def __init__(self, manifest: Manifest, target: str) -> None:
        processor, triple, cpu = PROCESSORS[target]
        emulator = _emulator(processor)
        self._m = manifest.name
        self._folder = tempfile.TemporaryDirectory(prefix="edgeseq-qemu-")
        program = _build(manifest, target, triple, cpu, Path(self._folder.name))
        self._process = subprocess.Popen(
            [emulator, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def size(self, name: str, *numbers: int) -> int:
        """See `_raw.Calls`."""
        return self._send(name, [], numbers[0] if numbers else 0)

    def text(self, name: str, *numbers: int) -> str:
        """See `_raw.Calls`."""
        block = bytearray(256)
        self._send(name, [block], numbers[0] if numbers else 0)
        return bytes(block).partition(b"\0")[0].decode()

    def call(self, name: str, blocks: Sequence[bytearray], steps: int | None = None) -> int:
        """See `_raw.Calls`."""
        return self._send(name, blocks, steps or 0)

    def close(self) -> None:
        """See `_raw.Calls`."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]
        self._process.wait(10)
        self._folder.cleanup()

    def _send(self, name: str, blocks: Sequence[bytearray], number: int) -> int:
        which = (*FUNCTIONS, *TEXTS).index(name)
        head = struct.pack("<qii", number, which, len(blocks))
        sizes = struct.pack(f"<{len(blocks)}q", *map(len, blocks))
        try:
            self._process.stdin.write(b"".join([head, sizes, *blocks]))  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise self._ended(name) from None
        (result,) = struct.unpack("<q", self._read(8, name))
        for block in blocks:
            block[:] = self._read(len(block), name)
        return int(result)

    def _read(self, count: int, name: str) -> bytes:
        content: bytes = self._process.stdout.read(count)  # type: ignore[union-attr]
        if len(content) != count:
            raise self._ended(name)
        return content

    def _ended(self, name: str) -> UsageError:
        code = self._process.wait(10)
        return UsageError(
            f"'{self._m}' ended under QEMU in {name}",
            why=f"exit code {code}" if code >= 0 else f"signal {-code}",
            fix="QEMU_CPU names the processor that QEMU shows: the library may need a newer one",
        )


def _emulator(processor: str) -> str:
    for name in (f"qemu-{processor}-static", f"qemu-{processor}"):
        if found := shutil.which(name):
            return found
    raise ToolchainError(
        f"qemu-{processor} is not installed",
        why="it runs this target on another machine",
        fix="apt-get install qemu-user-static",
    )


def _build(manifest: Manifest, target: str, triple: str, cpu: str, folder: Path) -> Path:
    library = manifest.folder / target / f"lib{manifest.name}.a"
    if not library.is_file():
        raise UsageError(f"the library '{library}' is missing", fix="compile the model again")
    driver = Path(str(files("edgeseq.engines"))) / "driver.c"
    table = folder / "table.c"
    table.write_text(_table(manifest))
    program = folder / "program"
    # zig caches beside its source files otherwise
    environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, f"-mcpu={cpu}", "-O1"]
    command += [
        "-ffreestanding",
        "-nostdlib",
        "-static",
        "-fno-sanitize=all",
        "-fno-stack-protector",
    ]
    command += [str(driver), str(table), str(library.resolve()), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise InternalError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return program


def _table(manifest: Manifest) -> str:
    """C of `edgeseq_call`."""
    m = manifest.name
    count = len(manifest.inputs) + len(manifest.outputs) + 2
    pointers = [f"p[{i}]" for i in range(count)]
    step, run = ", ".join(pointers), ", ".join([*pointers[:2], "number", *pointers[2:]])
    void = ", ".join(["void *"] * count)
    with_t = ", ".join(["void *", "void *", "int64_t", *["void *"] * (count - 2)])
    lines = ["#include <stddef.h>", "#include <stdint.h>"]
    lines += [f"size_t {m}_state_size(void); size_t {m}_arena_size(int64_t);"]
    lines += [f"int {m}_init(void *); int {m}_reset(void *); int {m}_run({with_t});"]
    lines += [f"int {m}_save(void *, void *); int {m}_load(void *, void *);"]
    lines += [f"const char *{m}_version(void); const char *{m}_strerror(int);"]
    bodies = {
        "state_size": f"return (int64_t){m}_state_size();",
        "arena_size": f"return (int64_t){m}_arena_size(number);",
        "init": f"return {m}_init(p[0]);",
        "reset": f"return {m}_reset(p[0]);",
        "run": f"return {m}_run({run});",
        "save": f"return {m}_save(p[0], p[1]);",
        "load": f"return {m}_load(p[0], p[1]);",
        "version": f"return text(p[0], {m}_version());",
        "strerror": f"return text(p[0], {m}_strerror((int)number));",
    }
    if manifest.step:
        lines.append(f"int {m}_step({void});")
        bodies["step"] = f"return {m}_step({step});"
    cases = [f"case {(*FUNCTIONS, *TEXTS).index(n)}: {body}" for n, body in bodies.items()]
    return "\n".join(
        [
            *lines,
            "static int64_t text(char *to, const char *from) {",
            "  int i = 0;",
            "  for (; i < 255 && from[i]; i++) to[i] = from[i];",
            "  to[i] = 0;",
            "  return i;",
            "}",
            "int64_t edgeseq_call(int32_t which, int64_t number, void **p);",
            "int64_t edgeseq_call(int32_t which, int64_t number, void **p) {",
            "  switch (which) {",
            *(f"  {case}" for case in cases),
            "  default: return -1;",
            "  }",
            "}",
        ]
    )
