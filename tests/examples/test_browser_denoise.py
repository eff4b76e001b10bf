"""examples/browser-denoise: installed and served as its README says, heard in headless Chromium."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.examples import commands, sound
from tests.serve import meters
from tests.serve.chrome import Chrome

pytestmark = pytest.mark.slow

METERS = "['before', 'after'].map((id) => document.getElementById(id).value)"


def test_readme(tmp_path: Path) -> None:
    for program in ("npm", "chromium"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    folder = commands.checkout(tmp_path, "browser-denoise")
    for command in commands.starting("browser-denoise", "edgeseq compile", "npm install"):
        commands.run(command, folder)
    (served,) = commands.starting("browser-denoise", "python3 -m http.server")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = served.replace("8000", str(port)).split()
    server = subprocess.Popen([sys.executable, *words[1:]], cwd=folder, stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        _wait_for(port)
        listen(f"http://127.0.0.1:{port}/")
    finally:
        server.terminate()
        server.wait(10)


def listen(url: str) -> None:
    """The meters move, and the denoised one shows less."""
    microphone = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound.NOISY}",
    )
    with Chrome(*microphone) as chrome:
        chrome.open(url)
        chrome.wait("document.getElementById('start') !== null")
        chrome.wait("document.readyState === 'complete'")
        chrome.run("document.getElementById('start').click()")
        chrome.wait("document.getElementById('status').innerText.startsWith('From ')")
        seen = []
        start = time.monotonic()
        while (passed := time.monotonic() - start) < 6 or len(seen) < meters.MIN_READINGS:
            assert passed < 120, seen
            seen.append(chrome.run(METERS))
            time.sleep(0.1)
        meters.check(seen)
        assert [p for p in chrome.problems if "favicon" not in p and "404" not in p] == []


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.1)


def test_the_map_names_what_the_page_imports() -> None:
    folder = commands.ROOT / "examples/browser-denoise"
    page = (folder / "index.html").read_text(encoding="utf-8")
    script = (folder / "main.mjs").read_text(encoding="utf-8")
    imported = re.findall(r"from '([^.'][^']*)'", script)
    assert imported
    assert all(f'"{name}": "./node_modules/{name}.mjs"' in page for name in imported)
