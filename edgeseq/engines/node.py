"""The npm package in Node: what validates is what a developer installs."""

from __future__ import annotations

import shutil
import struct
import subprocess
from importlib.resources import files
from pathlib import Path

from edgeseq.engines._engine import Engine, Machine
from edgeseq.engines._script import Script, checked, unpacked
from edgeseq.errors import ToolchainError, UsageError
from edgeseq.runtime import Manifest


def _start(manifest: Manifest, target: str, steps: int) -> Machine:
    return Script(manifest, Process(manifest.folder / target, steps))


ENGINE = Engine("the npm package in Node", ("wasm",), _start)


class Process:
    """`node node.mjs PACKAGE LONGEST`."""

    def __init__(self, package: Path, steps: int) -> None:
        program = shutil.which("node")
        if program is None:
            raise ToolchainError("node is not installed", fix="apt-get install nodejs")
        script = Path(str(files("edgeseq.engines"))) / "node.mjs"
        self._process = subprocess.Popen(
            [program, str(script), str(package.resolve()), str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            checked(*unpacked(self._receive()))
        except UsageError:
            self.close()
            raise

    def ask(self, message: bytes) -> bytes:
        """See `_script.Transport`."""
        assert self._process.stdin is not None
        self._process.stdin.write(struct.pack("<I", len(message)) + message)
        self._process.stdin.flush()
        return self._receive()

    def close(self) -> None:
        """See `_script.Transport`."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(10)

    def _receive(self) -> bytes:
        assert self._process.stdout is not None
        head = self._process.stdout.read(4)
        if len(head) != 4:
            raise UsageError("node ended", why=f"exit code {self._process.wait(10)}")
        return self._process.stdout.read(struct.unpack("<I", head)[0])
