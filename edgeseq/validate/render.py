"""Verdicts as text for people, JSON for programs and JUnit XML for CI."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from edgeseq.validate.finding import Finding, Verdict


def to_text(verdict: Verdict) -> str:
    """Return one line per output and check, under a line that says it all."""
    outputs = sorted({f.name for f in verdict.findings}, key=_order(verdict))
    failed = {f.name for f in verdict.failed}
    head = f"edgeseq: validate: {verdict.model} on {verdict.target}: "
    if failed:
        head += f"{len(failed)} of {len(outputs)} outputs outside tolerance"
    else:
        head += f"all {len(outputs)} outputs within tolerance"
    lines = [head, *_lines(verdict)]
    lines += [f"  skipped: {name}: {reason}" for name, reason in verdict.skipped]
    return "\n".join(lines)


def _order(verdict: Verdict) -> Any:
    names = [f.name for f in verdict.findings]
    return names.index


def _lines(verdict: Verdict) -> list[str]:
    source = verdict.oracle.split()[0]
    names = max((len(f.name) for f in verdict.findings), default=0)
    checks = max((len(f.check) for f in verdict.findings), default=0)
    return [
        f"  {f.name:<{names}}  {f.check:<{checks}}  {'ok  ' if f.ok else 'FAIL'}  "
        f"{describe(f, source)}"
        for f in verdict.findings
    ]


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
