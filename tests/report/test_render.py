from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from edgeseq.pipeline import PassRecord
from edgeseq.report import render
from edgeseq.report.render import size
from edgeseq.validate import Finding, Verdict

MANIFEST: dict[str, Any] = {
    "format": 1,
    "name": "demo",
    "edgeseq": "0.1.0",
    "versions": {"numpy": "2.4.0", "apache-tvm": "0.27.0"},
    "model_hash": "ab" * 32,
    "source": {"spec": "<demo>.onnx", "sha256": "cd" * 32},
    "inputs": [{"name": "x", "dtype": "float32", "shape": [1, "T", 80], "time_axis": 1}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [1, "T", 2], "time_axis": 1}],
    "states": [{"input": "h", "output": "h_out", "dtype": "float32", "shape": [1, 16]}],
    "modes": {
        "step": {"supported": False, "reason": "'conv' looks ahead"},
        "run": {"kind": "graph", "min_T": 1, "max_T": 4096},
    },
    "flags": {"targets": ["c"]},
    "passes": [{"name": "bind-shapes", "nodes_before": 9, "nodes_after": 8, "modified": True}],
    "kernels": [{"name": "gru", "node": "n1", "source": "enc.gru", "detail": "T=4", "why": "ok"}],
    "targets": {
        "c": {
            "isa": ["scalar"],
            "state_size": 128,
            "arena_size": {"constant": 155000, "per_step": 64},
            "weight_bytes": 2_500_000,
            "bytes": 99,
        }
    },
    "verify": {
        "steps": 40,
        "oracle": "interpreter float64",
        "reference": "onnxruntime float32",
        "outputs": {"y": {"e_ref": 1e-6, "range": 3.0}},
        "states": {"h": {"e_ref": 0.0, "range": 2.0}},
    },
}


class Text(HTMLParser):
    """Checks that every element is closed, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        assert not any(name in ("src", "href") for name, _ in attrs), "the page is self-contained"
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def text_of(page: str) -> str:
    parser = Text()
    parser.feed(page)
    assert parser.open == []
    return " ".join(parser.words)


def test_the_page_says_what_the_manifest_says() -> None:
    text = text_of(render(MANIFEST))
    for words in (
        "demo",
        "from <demo>.onnx",
        "input x float32 [1, T, 80]",
        "state h ← h_out float32 [1, 16]",
        "There is no step : 'conv' looks ahead.",
        "run takes 1 to 4096 steps at once",
        "c scalar 2.5 MB 128 B 155.0 kB + 64 B a step 99 B",
        "output y 3 1e-06 4e-06",
        "state h 2 0 2e-06",
        "bind-shapes 9 8",
        "gru enc.gru T=4 ok",
        "apache-tvm 0.27.0, numpy 2.4.0.",
    ):
        assert words in text


def test_records_bring_seconds_and_remarks() -> None:
    record = PassRecord("merge-slices", 0.126, 30, 28, True, notes=("two <slices> are one",))
    text = text_of(render(MANIFEST, [record], timings={"build x86-64": 3.25}))
    assert "merge-slices 0.13 30 28 two <slices> are one" in text
    assert "bind-shapes" not in text
    assert "build x86-64 3.25 s" in text


def test_verdicts() -> None:
    good = Finding("numbers", "y", True, 1e-7, 4e-6, (0, 0), 1.0, 1.0)
    bad = Finding("chunks of 2", "y", False, 0.5, 4e-6, (0, 3), 1.0, 1.5, 3)
    verdict = Verdict("demo", "c", "interpreter float64", (good, bad), (("step", "no step"),))
    text = text_of(render(MANIFEST, verdicts=[verdict]))
    assert "c: 1 checks failed" in text
    assert "y numbers ok max |err| 1.0e-07 (allowed 4.0e-06)" in text
    assert "y chunks of 2 FAIL max |err| 5.0e-01" in text
    assert "first diverges at step 3" in text
    assert "step skipped no step" in text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB")]
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text
