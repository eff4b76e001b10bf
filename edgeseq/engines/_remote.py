"""A machine behind the interface of a loaded library: memory is here, calls are there."""

from __future__ import annotations

import ctypes
import math
from typing import Any

from edgeseq.engines._engine import Machine
from edgeseq.runtime import Library, Manifest, Tensor, memory_type


class Remote(Library):
    """Copies what each call reads to the machine, and what it wrote back."""

    def __init__(self, manifest: Manifest, target: str, machine: Machine) -> None:
        self.target = target
        self._prefix = manifest.name
        self._manifest = manifest
        self._machine = machine
        self._fresh = machine.fresh()
        self.state_size = lambda: len(self._fresh)
        self.arena_size = lambda _: 0  # scratch memory is the machine's own
        self.reset = self._reset
        self.save, self.load = self._save, self._load
        self.step = self._step if manifest.step else None
        self.run = self._run

    def init(self, state: int) -> int:
        """The machine's own start."""
        return self._reset(state)

    @property
    def version(self) -> str:
        """What the library says it was built from."""
        return self._machine.version()

    def check(self, code: int, doing: str) -> None:
        """Machines raise what goes wrong."""
        assert code == 0, doing

    def _reset(self, state: Any) -> int:
        return _put(state, self._fresh)

    def _save(self, state: Any, to: Any) -> int:
        return _put(to, self._machine.saved(self._get(state)))

    def _load(self, state: Any, saved: Any) -> int:
        return _put(state, self._machine.restored(self._get(saved)))

    def _step(self, state: Any, arena: Any, *pointers: Any) -> int:
        del arena
        return self._advance(state, None, pointers)

    def _run(self, state: Any, arena: Any, steps: Any, *pointers: Any) -> int:
        del arena
        return self._advance(state, int(_plain(steps)), pointers)

    def _advance(self, state: Any, steps: int | None, pointers: tuple[Any, ...]) -> int:
        tensors = self._manifest.inputs
        inputs = [
            ctypes.string_at(_plain(p), self._bytes(t, steps))
            for t, p in zip(tensors, pointers[: len(tensors)], strict=True)
        ]
        places = pointers[len(tensors) :]
        sizes = [self._bytes(t, steps) for t in self._manifest.outputs]
        new, outputs = self._machine.advance(self._get(state), steps, inputs, sizes)
        for place, output in zip(places, outputs, strict=True):
            _put(place, output)
        return _put(state, new)

    def _get(self, address: Any) -> bytes:
        return ctypes.string_at(_plain(address), len(self._fresh))

    def _bytes(self, tensor: Tensor, steps: int | None) -> int:
        whole = 1 if self._manifest.loop else (steps or 1)
        frames = (steps or 1) if self._manifest.loop else 1
        return math.prod(tensor.at(whole)) * frames * memory_type(tensor.dtype).itemsize


def _plain(value: Any) -> Any:
    """The number in what `Bound` prepared, or the thing itself: an address or a buffer."""
    return value.value if isinstance(value, (ctypes.c_void_p, ctypes.c_int64)) else value


def _put(address: Any, content: bytes) -> int:
    ctypes.memmove(_plain(address), content, len(content))
    return 0
