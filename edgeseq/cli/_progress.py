"""Progress on stderr: one line per event."""

from __future__ import annotations

import time
from types import TracebackType

from edgeseq.cli import _output
from edgeseq.options import Event


class Progress:
    """Collects events and shows them as they come."""

    def __init__(self, *, show: bool, everything: bool) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0
        self._everything = everything
        self._console = _output.console(stderr=True) if show else None
        self._began = time.monotonic()

    def event(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
        if self._console is not None and (self._everything or event.changed):
            self._console.print(line(event), style=None if event.changed else "dim")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._began


def line(event: Event) -> str:
    """`pass    fold-constants      0.12 s  1786 -> 415 nodes`."""
    nodes = ""
    if event.nodes_after is not None:
        before = "" if event.nodes_before is None else f"{event.nodes_before} -> "
        nodes = f"{before}{event.nodes_after} nodes"
    tail = "  ".join(part for part in (nodes, event.detail) if part)
    return f"{event.stage:<7} {event.name:<28} {event.seconds:7.2f} s  {tail}".rstrip()
