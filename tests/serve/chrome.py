"""Headless Chromium by its debugging pipe: open a page, look, press keys, take pictures."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeseq.engines.chromium import _flags

# Chromium reads from 3 and writes to 4.
_EXEC = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4)"
_EXEC += "; os.execvp(a[3], a[3:])"


class Chrome:
    """One browser with one page; everything that went wrong in it is in `problems`."""

    def __init__(self, *more: str, width: int = 1280, height: int = 900) -> None:
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("needs chromium")
        self.problems: list[str] = []
        self._ids = itertools.count(1)
        self._buffer = b""
        self._profile = tempfile.TemporaryDirectory(
            prefix="edgeseq-chromium-", ignore_cleanup_errors=True
        )
        theirs, self._write = (_high(fd) for fd in os.pipe())
        self._read, answers = (_high(fd) for fd in os.pipe())
        flags = [*_flags(self._profile.name), "--remote-debugging-pipe", *more]
        flags += [f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EXEC, str(theirs), str(answers), program, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs, answers),
        )
        os.close(theirs)
        os.close(answers)
        os.set_blocking(self._read, False)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chrome:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def call(self, method: str, seconds: float = 120.0, /, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + seconds
        while True:
            got = self._receive(until)
            if got.get("id") == number:
                assert "error" not in got, got["error"]
                result: dict[str, Any] = got["result"]
                return result
            self._note(got)

    def open(self, url: str, *, before: str = "") -> None:
        """Load a page; `before` runs ahead of its scripts."""
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return what an expression, or its promise, is worth."""
        got = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, script: str, seconds: float = 120.0) -> Any:
        """Wait until an expression is true; return what it is worth."""
        until = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < until, f"{script} stays {value!r}; {self.problems}"
            time.sleep(0.1)
        return value

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Give files to an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(f) for f in files])

    def picture(self, file: Path, **options: Any) -> None:
        """Write a PNG of the page."""
        got = self.call("Page.captureScreenshot", format="png", **options)
        file.write_bytes(base64.b64decode(got["data"]))

    def _receive(self, until: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while b"\0" not in self._buffer:
                left = until - time.monotonic()
                assert left > 0, "chromium does not answer"
                if selector.select(left):
                    part = os.read(self._read, 1 << 20)
                    assert part, f"chromium ended: {self._process.wait(10)}"
                    self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])


def _high(fd: int) -> int:
    """Away from 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return moved
