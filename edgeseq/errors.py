"""The two kinds of failure: the user's (a message, no traceback) and ours (a traceback).

Every message has four parts: what happened, where, why, how to fix it.
"""

from __future__ import annotations

from collections.abc import Sequence


class EdgeseqError(Exception):
    """Something the user can mend. Printed without a traceback.

    Args:
        what: What happened, with the values involved.
        at: Where: the node, tensor, file or weight, in the user's own names.
        why: The rule that was broken and what was available.
        fix: A command, flag or edit that mends it.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, at: str | Sequence[str] = (), why: str = "", fix: str = ""
    ) -> None:
        self.what = what
        self.at = (at,) if isinstance(at, str) else tuple(at)
        self.why = why
        self.fix = fix
        super().__init__(self.render())

    def render(self) -> str:
        """Return the message, one part a line."""
        lines = [self.what]
        lines += [f"  at:  {line}" for line in self.at]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class UsageError(EdgeseqError):
    """A bad flag, or an input file that is missing or unreadable (exit 2)."""


class UnsupportedModelError(EdgeseqError):
    """The model uses what edgeseq cannot compile; lists all of it at once (exit 3)."""

    exit_code = 3


class NumericsError(EdgeseqError):
    """The compiled numbers are outside the tolerance (exit 4)."""

    exit_code = 4


class BudgetError(EdgeseqError):
    """A budget or an accuracy floor was missed (exit 5)."""

    exit_code = 5


class ToolchainError(EdgeseqError):
    """A compiler, driver or optional package is missing (exit 6)."""

    exit_code = 6


class InternalError(Exception):
    """A defect in edgeseq itself (exit 1, with a traceback and a request to report it)."""

    exit_code = 1
