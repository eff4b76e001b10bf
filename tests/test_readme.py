"""Tables of targets and passes are what the folders hold; `python tests/test_readme.py` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeseq.cli import _catalogue

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
KINDS = {"targets": ("target", README), "passes": ("pass", ROOT / "docs/passes.md")}


def table(kind: str) -> str:
    rows = [
        f"| `{name}` | {line} |".replace(" | ", " \\| ").replace(" \\| ", " | ", 1)
        for name, line in _catalogue.entries(kind)
    ]
    return "\n".join([f"<!-- {kind} -->", f"| {KINDS[kind][0]} | |", "|---|---|", *rows, ""])


def written(kind: str) -> str:
    text = KINDS[kind][1].read_text(encoding="utf-8")
    found = re.search(rf"<!-- {kind} -->\n(?:\|.*\n)*", text)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_table(kind: str) -> None:
    assert written(kind) == table(kind)


def test_links_lead_somewhere() -> None:
    for page in (README, *ROOT.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_exit_codes_of_the_document() -> None:
    from edgeseq import errors

    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| `(\w+Error)`(?:, `OSError`)? \|$", text, re.MULTILINE)
    kinds = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if name.endswith("Error") and name != "EdgeseqError"
    }
    assert {name: int(code) for code, name in rows} == kinds


if __name__ == "__main__":
    for one, (_, page) in KINDS.items():
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(written(one), table(one)), encoding="utf-8")
