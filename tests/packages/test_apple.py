"""The Apple folders: Mach-O objects, and an xcframework made without a Mac."""

from __future__ import annotations

import plistlib
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MACH_O, ARM64 = b"\xcf\xfa\xed\xfe", b"\x0c\x00\x00\x01"


@pytest.mark.parametrize("target", ["arm64-ios", "arm64-macos"])
def test_the_library_holds_mach_o_objects(step: Path, target: str) -> None:
    content = (step / target / "libstep.a").read_bytes()
    assert content.startswith(b"!<arch>\n")
    assert content.count(MACH_O + ARM64) >= 4
    assert b"\x7fELF" not in content
    assert b"_memcpy\0" not in content  # it would be the whole app's


def test_the_xcframework(step: Path, tmp_path: Path) -> None:
    ios = tmp_path / "with a space" / "ios"
    ios.parent.mkdir()
    for name, folder in (("arm64-ios", ios), ("arm64-macos", ios.parent / "macos")):
        subprocess.run(["cp", "-r", str(step / name), str(folder)], check=True)
    subprocess.run(["sh", str(ios / "xcframework.sh"), "../macos"], check=True)
    made = ios / "CStep.xcframework"
    listed = plistlib.loads((made / "Info.plist").read_bytes())["AvailableLibraries"]
    assert [e["LibraryIdentifier"] for e in listed] == ["ios-arm64", "macos-arm64"]
    for entry in listed:
        inside = made / entry["LibraryIdentifier"]
        assert (inside / entry["LibraryPath"]).read_bytes().startswith(b"!<arch>")
        headers = inside / entry["HeadersPath"]
        assert (headers / "step.h").is_file()
        assert "module CStep" in (headers / "module.modulemap").read_text()


def test_swift_calls_functions_of_the_header(step: Path) -> None:
    header = (step / "arm64-ios" / "step.h").read_text()
    swift = (step / "arm64-ios/Sources/Step/Step.swift").read_text()
    for name in ("init", "step", "run", "reset", "save", "load", "state_size", "arena_size"):
        assert f"step_{name}(" in swift
        assert f"step_{name}(" in header
