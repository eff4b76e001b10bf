"""A local page about a compiled model: its numbers in this browser, its speed, its sound.

prepare(dist) -> Site    every file of the page, in memory
Server(site, port)       on 127.0.0.1 only
"""

from edgeseq.serve.server import Server
from edgeseq.serve.site import Site, prepare

__all__ = ["Server", "Site", "prepare"]
