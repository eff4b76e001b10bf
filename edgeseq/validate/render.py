"""Verdicts as text for people, JSON for programs and JUnit XML for CI."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from edgeseq.validate.finding import Finding, Verdict

_MAIN = ("numbers", "last state")  # one of them per output and state; the rest is said in a line


def to_text(verdict: Verdict) -> str:
    """Return a line per output and state, the other checks that failed, and those that passed."""
    main = [f for f in verdict.findings if f.check in _MAIN]
    failed = {f.name for f in verdict.failed}
    head = f"edgeseq: validate: {verdict.model} on {verdict.target}: "
    if failed:
        head += f"{len(failed)} of {len(main)} outputs outside tolerance"
    else:
        head += f"all {len(main)} outputs within tolerance"
    return "\n".join([head, *_lines(verdict, main), *_others(verdict)])


def summary(verdict: Verdict) -> str:
    """Return one line: `all 21 checks passed, errors up to 31 % of what is allowed`."""
    if verdict.failed:
        names = ", ".join(dict.fromkeys(f.name for f in verdict.failed))
        return f"{len(verdict.failed)} of {len(verdict.findings)} checks FAILED: {names}"
    used = max((f.error / f.allowed for f in verdict.findings if f.allowed), default=0.0)
    return f"all {len(verdict.findings)} checks passed, errors up to {used:.0%} of what is allowed"


def _lines(verdict: Verdict, main: Sequence[Finding]) -> list[str]:
    source = verdict.oracle.split()[0]
    width = max((len(f.name) for f in main), default=0)
    lines = []
    for finding in main:
        ok = "ok  " if finding.ok else "FAIL"
        lines.append(f"  {finding.name:<{width}}  {ok}  {describe(finding, source)}")
        lines += [
            f"  {other.name:<{width}}  FAIL  {other.check}: {describe(other, 'want')}"
            for other in verdict.failed
            if other.name == finding.name and other is not finding
        ]
    return lines


def _others(verdict: Verdict) -> list[str]:
    checks = dict.fromkeys(f.check for f in verdict.findings if f.check not in _MAIN)
    failed = {f.check for f in verdict.failed}
    passed = [check for check in checks if check not in failed]
    lines = [f"  also ok: {', '.join(passed)}"] if passed else []
    return lines + [f"  skipped: {name}: {reason}" for name, reason in verdict.skipped]


def describe(finding: Finding, source: str = "reference") -> str:
    """Return the numbers of one finding: `max |err| 3.4e-02 (allowed 1e-03) at [0,17,4]: ...`."""
    if finding.reason:
        return finding.reason
    if finding.ok and finding.index is None and not finding.allowed:
        return "equal"
    text = f"max |err| {finding.error:.1e} (allowed {finding.allowed:.1e})"
    if finding.ok:
        return text
    place = ",".join(map(str, finding.index or ()))
    text += f" at [{place}]: {source} {_number(finding.want)}, edgeseq {_number(finding.got)}"
    return text if finding.step is None else f"{text}; first diverges at step {finding.step}"


def _number(value: float | int | bool | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def to_json(verdicts: Sequence[Verdict]) -> str:
    """Return all findings; numbers that JSON cannot write are strings."""
    data = {
        "ok": all(v.ok for v in verdicts),
        "verdicts": [{"ok": v.ok, **dataclasses.asdict(v)} for v in verdicts],
    }
    return json.dumps(_plain(data), indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def to_junit(verdicts: Sequence[Verdict]) -> str:
    """Return a JUnit document: a suite per target, a case per output and check."""
    suites = ElementTree.Element("testsuites", name="edgeseq validate")
    for verdict in verdicts:
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=f"{verdict.model} on {verdict.target}",
            tests=str(len(verdict.findings) + len(verdict.skipped)),
            failures=str(len(verdict.failed)),
            errors="0",
            skipped=str(len(verdict.skipped)),
        )
        group = f"{verdict.model}.{verdict.target}"
        for finding in verdict.findings:
            case = _case(suite, group, f"{finding.name}: {finding.check}")
            if not finding.ok:
                message = describe(finding, verdict.oracle.split()[0])
                ElementTree.SubElement(case, "failure", message=message).text = message
        for name, reason in verdict.skipped:
            ElementTree.SubElement(_case(suite, group, name), "skipped", message=reason)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)
    return f"{text}\n"


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=group, name=name, time="0")
