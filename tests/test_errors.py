"""What a message looks like, and which exit code each kind has."""

from __future__ import annotations

import pytest

from edgeseq import errors
from edgeseq.errors import EdgeseqError, UnsupportedModelError, UsageError
from edgeseq.registry import find, hint


def test_a_whole_message() -> None:
    error = UnsupportedModelError(
        "2 nodes are not supported",
        at=["node 'a' (Warp)", "node 'b' (Warp)"],
        why="there is no lowering for Warp",
        fix="write it with Gather",
    )
    assert str(error) == (
        "2 nodes are not supported\n"
        "  at:  node 'a' (Warp)\n"
        "  at:  node 'b' (Warp)\n"
        "  why: there is no lowering for Warp\n"
        "  fix: write it with Gather"
    )
    assert (error.what, error.why, error.fix) == (
        "2 nodes are not supported",
        "there is no lowering for Warp",
        "write it with Gather",
    )
    assert error.at == ("node 'a' (Warp)", "node 'b' (Warp)")


def test_parts_that_are_empty_are_left_out() -> None:
    assert str(UsageError("no")) == "no"
    assert str(UsageError("no", at="here")) == "no\n  at:  here"
    assert str(UsageError("no", fix="yes")) == "no\n  fix: yes"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InternalError", 1),
        ("UsageError", 2),
        ("UnsupportedModelError", 3),
        ("NumericsError", 4),
        ("BudgetError", 5),
        ("ToolchainError", 6),
    ],
)
def test_exit_codes(kind: str, code: int) -> None:
    cls = getattr(errors, kind)
    assert cls.exit_code == code
    assert issubclass(cls, EdgeseqError) == (kind != "InternalError")


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find("targets", "x86-46")
    assert str(caught.value) == (
        "unknown target 'x86-46'\n  fix: did you mean 'x86-64'? known: arm64-android, arm64-ios, "
        "arm64-linux, "
        "arm64-macos, armv7-linux, c, wasm, x86-64"
    )
    with pytest.raises(UsageError, match="unknown pass 'zzz'\n  fix: known: bind-shapes, "):
        find("passes", "zzz")
    assert hint("q", ["b", "a"]) == "known: a, b"
