"""`edgeseq serve`: the model in this machine's browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click


@click.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Where to listen; default: 8473, or any free one.",
)
@click.option("--open/--no-open", "open_", default=True, help="Open the browser (default).")
@click.option(
    "--onnxruntime-web",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where npm has installed onnxruntime-web, to be timed beside the model.",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 384000),
    default=16000,
    show_default=True,
    metavar="HZ",
    help="What an audio model was trained at.",
)
def serve(
    dist: Path, port: int | None, open_: bool, onnxruntime_web: Path | None, sample_rate: int
) -> None:
    """Show DIST in a browser: check its numbers there, time it, hear it.

    The page is for this machine alone and needs no network. DIST must have the target wasm. A
    model that maps a frame of samples to a frame can be heard, live or on a file.
    """
    from edgeseq.runtime import read_manifest

    read_manifest(dist)  # before the heavy imports: this is where mistakes show
    from edgeseq import serve as site

    server = site.Server(
        site.prepare(dist, onnxruntime_web=onnxruntime_web, sample_rate=sample_rate), port
    )
    click.echo(f"{dist} on {server.url}\nCtrl-C ends it")
    if open_ and not webbrowser.open(server.url):
        click.echo("no browser was found: open the address in one", err=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        click.echo()
    finally:
        server.close()
