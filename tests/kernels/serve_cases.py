"""Runs cases for many libraries: a line of JSON in, a line of JSON out, until the input ends.

To start Python and to compute the references takes longer than to run a kernel. This process does
both once a kernel, and forks for each library: what crashes or spoils its memory is the fork.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import IO

import run_cases

TELLING = ("ERROR: AddressSanitizer", "runtime error:", "SUMMARY:")


@functools.lru_cache(maxsize=1)
def prepared(family: str, name: str, seed: int) -> list[run_cases.Prepared]:
    return run_cases.prepare(run_cases.kernel_of(family, name), seed)


def answer(library: str, family: str, name: str, seed: int, isa: str) -> dict[str, int | str]:
    """Run the cases in a fork."""
    cases = prepared(family, name, seed)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(in_fork(library, family, name, isa, cases))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "said": said(lines(out), lines(err))}


def in_fork(library: str, family: str, name: str, isa: str, cases: list[run_cases.Prepared]) -> int:
    try:
        return run_cases.run(Path(library), run_cases.kernel_of(family, name), isa, cases)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()


def said(out: list[str], err: list[str]) -> str:
    """The last case, and what went wrong with it."""
    telling = [line for line in err if any(t in line for t in TELLING)]
    return "\n".join((out or ["no case"])[-2:] + (telling or err[-3:]))


if __name__ == "__main__":
    for request in sys.stdin:
        print(json.dumps(answer(*json.loads(request))), flush=True)
