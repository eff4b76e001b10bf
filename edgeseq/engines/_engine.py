"""What an engine is: a way to start a machine that has the model in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from edgeseq.runtime import Manifest


class Machine(Protocol):
    """The model in another address space. States travel: it remembers none between calls."""

    def fresh(self) -> bytes:
        """Return an initial state."""

    def saved(self, state: bytes) -> bytes:
        """Return what the library writes to save a state."""

    def restored(self, saved: bytes) -> bytes:
        """Return the state of saved bytes, checked by the library."""

    def advance(
        self, state: bytes, steps: int | None, inputs: Sequence[bytes], outputs: Sequence[int]
    ) -> tuple[bytes, list[bytes]]:
        """Make one `step` (None) or a `run`; return the new state and the outputs.

        Args:
            state: As `fresh` or an earlier call gave it.
            steps: How many, or None for the function `step`.
            inputs: One per input.
            outputs: Bytes of each output.
        """

    def version(self) -> str:
        """Return what the library says it was built from."""

    def close(self) -> None:
        """End it."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """One way to run code of other machines; `ENGINE` of its file.

    Args:
        summary: One line.
        targets: User names of the targets that it runs.
        start: Called with manifest, target and the longest sequence of one call.
    """

    summary: str
    targets: tuple[str, ...]
    start: Callable[[Manifest, str, int], Machine]
