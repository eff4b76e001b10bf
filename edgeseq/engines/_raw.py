"""A machine made of plain calls of the C functions over blocks of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgeseq.errors import UsageError
from edgeseq.runtime import Manifest


class Calls(Protocol):
    """Calls a C function of the model in the other address space."""

    def size(self, name: str, *numbers: int) -> int:
        """Call a function of int64 that returns a size."""

    def text(self, name: str, *numbers: int) -> str:
        """Call a function of ints that returns a string."""

    def close(self) -> None:
        """End it."""

    def call(self, name: str, blocks: Sequence[bytearray], steps: int | None = None) -> int:
        """Call a function with a pointer to each block; `steps` comes after the second.

        The blocks are aligned to 64 bytes there, and hold afterwards what the function left.
        """


class Raw:
    """See `_engine.Machine`."""

    def __init__(self, manifest: Manifest, calls: Calls) -> None:
        self._m = manifest.name
        self._calls = calls
        self._state_size = calls.size("state_size")

    def fresh(self) -> bytes:
        """Return an initial state."""
        state = bytearray(self._state_size)
        self._call("init", [state])
        return bytes(state)

    def saved(self, state: bytes) -> bytes:
        """Return what the library writes to save a state."""
        to = bytearray(self._state_size)
        self._call("save", [bytearray(state), to])
        return bytes(to)

    def restored(self, saved: bytes) -> bytes:
        """Return the state of saved bytes, checked by the library."""
        state = bytearray(self.fresh())
        self._call("load", [state, bytearray(saved)])
        return bytes(state)

    def advance(
        self, state: bytes, steps: int | None, inputs: Sequence[bytes], outputs: Sequence[int]
    ) -> tuple[bytes, list[bytes]]:
        """Make one step or a run."""
        new = bytearray(state)
        arena = bytearray(self._calls.size("arena_size", 1 if steps is None else steps))
        results = [bytearray(size) for size in outputs]
        blocks = [new, arena, *map(bytearray, inputs), *results]
        self._call("step" if steps is None else "run", blocks, steps)
        return bytes(new), [bytes(r) for r in results]

    def version(self) -> str:
        """Return what the library says it was built from."""
        return self._calls.text("version")

    def close(self) -> None:
        """End the other side."""
        self._calls.close()

    def _call(self, name: str, blocks: Sequence[bytearray], steps: int | None = None) -> None:
        code = self._calls.call(name, blocks, steps)
        if code:
            raise UsageError(
                f"'{self._m}' failed in {name}",
                why=f"{self._calls.text('strerror', code)} (error {code})",
            )
