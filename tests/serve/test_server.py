"""The server answers this machine's browser, with what the site holds and nothing else."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator

import pytest

from edgeseq.errors import UsageError
from edgeseq.serve import Server, Site, server

FILES = {
    "": b"<!doctype html>",
    "index.html": b"<!doctype html>",
    "main.mjs": b"export {};",
    "package/m.wasm": b"\0asm",
    "package/m.weights.bin": b"1234",
    "about.json": b"{}",
}


@pytest.fixture
def running() -> Iterator[Server]:
    one = Server(Site("m", FILES), 0)
    thread = threading.Thread(target=one.serve)
    thread.start()
    yield one
    one.stop()
    thread.join()
    one.close()


def ask(
    one: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=120)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{one.port}"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?x=1", "text/html; charset=utf-8"),
        ("/main.mjs", "text/javascript; charset=utf-8"),
        ("/package/m.wasm", "application/wasm"),
        ("/package/m.weights.bin", "application/octet-stream"),
        ("/about.json", "application/json"),
    ],
)
def test_types(running: Server, path: str, kind: str) -> None:
    response, content = ask(running, path)
    assert response.status == 200
    assert response.headers["Content-Type"] == kind
    assert content == FILES[path.partition("?")[0].removeprefix("/")]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]


def test_a_head_has_no_body(running: Server) -> None:
    response, content = ask(running, "/main.mjs", "HEAD")
    assert (response.status, content) == (200, b"")
    assert response.headers["Content-Length"] == str(len(FILES["main.mjs"]))


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "//etc/passwd", "/%2e%2e/x"])
def test_what_is_not_in_the_site_is_not_found(running: Server, path: str) -> None:
    assert ask(running, path)[0].status == 404


def test_names_that_were_made_to_lead_here_are_refused(running: Server) -> None:
    assert ask(running, "/", host=f"localhost:{running.port}")[0].status == 200
    for host in ("evil.example", f"evil.example:{running.port}", "127.0.0.1.evil.example:80"):
        assert ask(running, "/about.json", host=host)[0].status == 403


def test_writing_is_not_answered(running: Server) -> None:
    assert ask(running, "/about.json", "POST")[0].status == 501


def test_a_port_in_use(running: Server) -> None:
    with pytest.raises(UsageError) as raised:
        Server(Site("m", FILES), running.port)
    assert raised.value.render() == (
        f"port {running.port} is in use\n"
        "  why: another program listens there, perhaps another edgeseq serve\n"
        "  fix: another --port, or none: then a free one is taken"
    )


def test_without_a_port_any_free_one_will_do(
    running: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PORT", running.port)
    other = Server(Site("m", FILES))
    assert other.port not in (0, running.port)
    other.close()
