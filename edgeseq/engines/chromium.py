"""The npm package in a real browser: headless Chromium, which asks a local server for work."""

from __future__ import annotations

import http.server
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgeseq.engines._engine import Engine, Machine
from edgeseq.engines._script import Script, checked, unpacked
from edgeseq.errors import ToolchainError, UsageError
from edgeseq.runtime import Manifest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TYPES = {".mjs": "text/javascript", ".html": "text/html", ".wasm": "application/wasm"}
START = 60.0  # seconds until a browser on a busy machine shows its first page
ANSWER = 600.0  # seconds for one request


def _start(manifest: Manifest, target: str, steps: int) -> Machine:
    page = _own() / "chromium.html"
    browser = Browser(manifest.folder / target, page, f"longest={steps}")
    try:
        checked(*unpacked(browser.receive(START)))
    except UsageError:
        browser.close()
        raise
    return Script(manifest, browser)


def _own() -> Path:
    return Path(str(files("edgeseq.engines")))


ENGINE = Engine("the npm package in headless Chromium", ("wasm",), _start)


class Browser:
    """A browser process, and the server that its page talks to.

    Args:
        package: The npm package, served as `package/`.
        page: What is opened; the files beside it are served, and `session.mjs`.
        query: Behind the page's address.
        flags: Further ones of the browser.
    """

    def __init__(self, package: Path, page: Path, query: str, flags: Sequence[str] = ()) -> None:
        program = next((p for name in PROGRAMS if (p := shutil.which(name))), None)
        if program is None:
            raise ToolchainError("chromium is not installed", fix="apt-get install chromium")
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            _handler((page.parent, _own()), package.resolve(), self._requests, self._answers),
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._profile = tempfile.TemporaryDirectory(
            prefix="edgeseq-chromium-", ignore_cleanup_errors=True
        )
        address = f"http://127.0.0.1:{self._server.server_port}/{page.name}?{query}"
        self._process = subprocess.Popen(
            [program, *_flags(self._profile.name), *flags, address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, message: bytes) -> bytes:
        """See `_script.Transport`."""
        self._requests.put(message)
        return self.receive(ANSWER)

    def close(self) -> None:
        """See `_script.Transport`."""
        self._requests.put(None)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._profile.cleanup()

    def receive(self, seconds: float) -> bytes:
        """Wait for what the page posts."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            raise UsageError(
                f"chromium did not answer within {seconds:.0f} s",
                why=f"exit code {code}" if (code := self._process.poll()) is not None else "",
            ) from None


def _flags(profile: str) -> list[str]:
    flags = ["--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"]
    flags += ["--disable-background-networking", f"--user-data-dir={profile}"]
    # its sandbox refuses to start for root, and needs shared memory that containers lack
    return [*flags, *(["--no-sandbox"] if os.geteuid() == 0 else []), "--disable-dev-shm-usage"]


def _inside(folders: Sequence[Path], name: str) -> Path | None:
    """The file of that name in one of the folders; none outside of them."""
    for folder in folders:
        file = (folder / name).resolve()
        if file.is_relative_to(folder.resolve()) and file.is_file():
            return file
    return None


def _handler(
    pages: Sequence[Path],
    package: Path,
    requests: queue.Queue[bytes | None],
    answers: queue.Queue[bytes],
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Serves the page, the package and the next request; takes answers."""

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            if path == "request":
                message = requests.get()
                self._reply(200 if message is not None else 410, message or b"", "")
                return
            inside = path.startswith("package/")
            name = path.removeprefix("package/")
            folders = [package] if inside else pages
            file = _inside(folders, name)
            if file is None:
                self._reply(404, b"", "")
            else:
                self._reply(200, file.read_bytes(), TYPES.get(file.suffix, ""))

        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self._reply(204, b"", "")

        def _reply(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""
            del format, args

    return Handler
