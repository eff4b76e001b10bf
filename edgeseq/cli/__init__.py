"""The command line: one file per command; the file's name is the command's name."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edgeseq ARGV` and return the exit code; the entry point of the script."""
    try:
        from edgeseq.cli import _app
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "edgeseq":
            raise
        sys.stderr.write(
            f"edgeseq: error: the package '{e.name}' is not installed\n"
            "  why: a bare `edgeseq` only loads and runs what was compiled\n"
            "  fix: pip install 'edgeseq[compile]'\n"
        )
        return 6
    return _app.run(sys.argv[1:] if argv is None else list(argv))
