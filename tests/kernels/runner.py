"""Asks `serve_cases.py` to run a kernel's cases."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from edgeseq.kernels._family import Kernel


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (negative: a signal) and the lines that say why."""

    code: int
    said: str


class Runner:
    """One server, started when it is first needed; it outlives the crashes of what it runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, library: Path, family: str, kernel: Kernel, isa: str, seed: int = 1) -> Ended:
        """Run all cases against a library; `isa` names what it was compiled for."""
        if self._process is None:
            self._process = _start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = (str(library), family, kernel.name, seed, isa)
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the server ended with {self._process.wait()}"
        return Ended(**json.loads(answer))

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.communicate()


def _start() -> subprocess.Popen[str]:
    script = Path(__file__).with_name("serve_cases.py")
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # it forks
    )
