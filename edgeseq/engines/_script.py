"""A machine that is a JavaScript session: `session.mjs` on the other side of a transport."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.runtime import Manifest


class Transport(Protocol):
    """Carries messages."""

    def ask(self, message: bytes) -> bytes:
        """Send a request and wait for its answer."""

    def close(self) -> None:
        """End the other side."""


class Script:
    """See `_engine.Machine`."""

    def __init__(self, manifest: Manifest, transport: Transport) -> None:
        self._m = manifest
        self._transport = transport

    def fresh(self) -> bytes:
        """Return an initial state."""
        return self._ask({"op": "fresh"}, [])[0]

    def saved(self, state: bytes) -> bytes:
        """Return what serialize() gives."""
        return self.restored(state)

    def restored(self, saved: bytes) -> bytes:
        """Return the state of saved bytes, checked by the library."""
        return self._ask({"op": "restored"}, [saved])[0]

    def advance(
        self, state: bytes, steps: int | None, inputs: Sequence[bytes], outputs: Sequence[int]
    ) -> tuple[bytes, list[bytes]]:
        """Make one step or a run."""
        del outputs
        new, *results = self._ask({"op": "advance", "steps": steps}, [state, *inputs])
        return new, results

    def time(
        self, frames: Sequence[Sequence[bytes]], rounds: int, calls: int
    ) -> npt.NDArray[np.float64]:
        """Return microseconds of a step, one value per round of so many calls.

        Args:
            frames: Inputs of the steps, gone through in turn.
            rounds: How many values.
            calls: Steps in a round, each with its input copied in.
        """
        head = {"op": "time", "rounds": rounds, "calls": calls}
        (taken,) = self._ask(head, [part for frame in frames for part in frame])
        return np.frombuffer(taken, np.float64)

    def version(self) -> str:
        """Return what was loaded."""
        return f"edgeseq, model {self._m.model_hash[:16]}"

    def close(self) -> None:
        """End the other side."""
        self._transport.close()

    def _ask(self, head: dict[str, Any], blocks: Sequence[bytes]) -> list[bytes]:
        answer, results = unpacked(self._transport.ask(packed(head, blocks)))
        return checked(answer, results)


def checked(answer: dict[str, Any], results: list[bytes]) -> list[bytes]:
    """Return the results, or raise what the other side said."""
    if not answer["ok"]:
        raise UsageError(str(answer["why"]), fix="compile again")
    return results


def packed(head: dict[str, Any], blocks: Sequence[bytes]) -> bytes:
    """One message: the length of the head, the head, the blocks."""
    text = json.dumps({**head, "sizes": [len(b) for b in blocks]}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *blocks])


def unpacked(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The other way round."""
    (length,) = struct.unpack_from("<I", message)
    head: dict[str, Any] = json.loads(message[4 : 4 + length])
    blocks, at = [], 4 + length
    for size in head["sizes"]:
        blocks.append(message[at : at + size])
        at += size
    return head, blocks
