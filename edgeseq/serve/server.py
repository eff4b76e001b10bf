"""The server: this machine's browser and nobody else, files of memory and nothing else."""

from __future__ import annotations

import errno
import http.server
from urllib.parse import unquote, urlsplit

from edgeseq.errors import UsageError
from edgeseq.serve.site import Site

HOST = "127.0.0.1"
PORT = 8473  # tried first where the user names none, so that a bookmark often works
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "wasm": "application/wasm",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    # Not needed; a page that is isolated is given a finer clock.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Server:
    """Serves a site until `close`.

    Args:
        site: What to serve.
        port: Where; 0: any free port; None: the usual one, or any free one.

    Raises:
        UsageError: the port is in use, or not for this user.
    """

    def __init__(self, site: Site, port: int | None = None) -> None:
        self._server = _bound(site, port)
        self.port = self._server.server_port
        self.url = f"http://{HOST}:{self.port}/"

    def serve(self) -> None:
        """Answer until `close` is called from another thread, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Let `serve` return."""
        self._server.shutdown()

    def close(self) -> None:
        """Give the port back."""
        self._server.server_close()


def _bound(site: Site, port: int | None) -> http.server.ThreadingHTTPServer:
    ports = (PORT, 0) if port is None else (port,)
    for one in ports:
        try:
            return _Http((HOST, one), _handler(site))
        except OSError as error:
            if port is None and one != ports[-1]:
                continue
            raise _cannot(one, error) from None
    raise AssertionError("unreachable")


def _cannot(port: int, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} is in use",
            why="another program listens there, perhaps another edgeseq serve",
            fix="another --port, or none: then a free one is taken",
        )
    return UsageError(f"cannot listen on port {port}", why=str(error), fix="another --port")


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Files of the site by their paths."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            # Another site whose name was made to lead here must not read the model.
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):
                self._reply(403, b"only for a browser on this machine\n", "text", body=body)
                return
            name = unquote(urlsplit(self.path).path).removeprefix("/")
            content = site.files.get(name)
            if content is None:
                self._reply(404, b"not found\n", "text", body=body)
            else:
                kind = (name or "index.html").rpartition(".")[2]
                self._reply(200, content, kind, body=body)

        def _reply(self, status: int, content: bytes, kind: str, *, body: bool) -> None:
            plain = "text/plain" if kind == "text" else "application/octet-stream"
            self.send_response(status)
            self.send_header("Content-Type", TYPES.get(kind, plain))
            self.send_header("Content-Length", str(len(content)))
            for header, value in HEADERS.items():
                self.send_header(header, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""
            del format, args

    return Handler
