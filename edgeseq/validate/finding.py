"""What a check found, and the verdict over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgeseq.errors import NumericsError

Number = float | int | bool


@dataclasses.dataclass(frozen=True)
class Finding:
    """One check of one output or state.

    Args:
        check: What was compared, e.g. `numbers` or `chunks of 2`.
        name: The output or state.
        ok: Whether it passed.
        error: Largest absolute difference; infinite where a value is missing or not a number.
        allowed: What it may be.
        index: Position of the largest difference, as the array lies in the vectors.
        want: The value there in the reference.
        got: The value there in the compiled code.
        step: First time step outside the tolerance.
        reason: Why it failed, where a number does not say it.
    """

    check: str
    name: str
    ok: bool
    error: float = 0.0
    allowed: float = 0.0
    index: tuple[int, ...] | None = None
    want: Number | None = None
    got: Number | None = None
    step: int | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All findings of one target.

    Args:
        model: The model's name.
        target: The target.
        oracle: What computed the reference, e.g. `pytorch float64`.
        findings: One per output and check.
        skipped: Checks that do not apply, with the reason.
    """

    model: str
    target: str
    oracle: str
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(finding.ok for finding in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that did not pass."""
        return tuple(finding for finding in self.findings if not finding.ok)


def require(verdicts: Sequence[Verdict]) -> None:
    """Raise unless all passed.

    Raises:
        NumericsError: names every output and check that failed.
    """
    failed = [(verdict, finding) for verdict in verdicts for finding in verdict.failed]
    if failed:
        total = sum(len(verdict.findings) for verdict in verdicts)
        raise NumericsError(
            f"{len(failed)} of {total} checks failed",
            at=[f"{v.target}: {f.name}: {f.check}" for v, f in failed],
            why="the compiled code does not compute what the model computes",
            fix="edgeseq validate shows the values; please report it, it is a bug in edgeseq",
        )
