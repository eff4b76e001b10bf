"""A loaded artifact."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeseq.runtime import _call, _library, _manifest
from edgeseq.runtime._manifest import State, Tensor
from edgeseq.runtime._pool import Pool
from edgeseq.runtime._stream import Stream

Array = npt.NDArray[Any]


def load(
    path: str | os.PathLike[str],
    target: str | None = None,
    *,
    check: bool = False,
    threads: int = 1,
) -> Model:
    """Load a compiled model.

    Args:
        path: The artifact's folder, as given to `edgeseq compile -o`.
        target: Which of its targets; without it the one for this machine, else `c`, which is
            compiled with the system's C compiler on the spot (`CC` is honoured).
        check: Compare the target's files with the hashes in the manifest first.
        threads: So many share large layers, the caller included, where the model was compiled with
            `--threads`; the results are the same bits.

    Raises:
        UsageError: there is no artifact, it is damaged, or it does not run here.
        ToolchainError: target `c`, and no working C compiler.
    """
    manifest = _manifest.read(Path(path))
    chosen = _library.choose_target(manifest, target)
    if check:
        _manifest.check_files(manifest, chosen)
    return Model(manifest, _library.Library(manifest, chosen, threads))


class Model:
    """A loaded model. Threads may share it: scratch memory is kept per thread."""

    def __init__(self, manifest: _manifest.Manifest, library: _library.Library) -> None:
        self._manifest = manifest
        self._library = library
        self._scratch = threading.local()

    def run(self, *args: object, **kwargs: object) -> Array | dict[str, Array]:
        """Run a whole sequence from the initial state.

        Inputs come as one dict, by position or by keyword. A model with a time axis takes any
        number of steps along it. A model that is itself one step takes one frame, or frames
        stacked on a new leading axis. One output is returned as an array, more as a dict.
        """
        with self.stream() as stream:
            return stream.run(*args, **kwargs)

    def stream(self) -> Stream:
        """Start a stream: its state is carried from call to call."""
        return Stream(self)

    @property
    def name(self) -> str:
        """Prefix of the C functions."""
        return self._manifest.name

    @property
    def target(self) -> str:
        """The target in use."""
        return self._library.target

    @property
    def version(self) -> str:
        """What the library says about itself."""
        return self._library.version

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs without the states."""
        return self._manifest.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs without the states."""
        return self._manifest.outputs

    @property
    def states(self) -> tuple[State, ...]:
        """The values a stream carries."""
        return self._manifest.states

    @property
    def has_step(self) -> bool:
        """Whether `stream().step` exists."""
        return self._manifest.step

    @property
    def threads(self) -> int:
        """So many threads may share a layer: what the model was compiled for."""
        return self._manifest.targets[self.target].threads

    @property
    def pool(self) -> Pool | None:
        """The threads in use, beside the caller; None: none."""
        return self._library.pool

    @property
    def whole_sequences(self) -> bool:
        """Whether the model has a time axis of its own; else it is one step, and `run` repeats."""
        return not self._manifest.loop

    @property
    def max_steps(self) -> int | None:
        """Longest sequence for one call of `run`; None: any."""
        return self._manifest.max_steps

    def __repr__(self) -> str:
        def lines(title: str, items: tuple[Tensor, ...] | tuple[State, ...]) -> str:
            return "".join(f"\n  {title} {item}" for item in items)

        return (
            f"<edgeseq.Model {self.name} on {self.target}"
            f"{lines('in   ', self.inputs)}{lines('out  ', self.outputs)}"
            f"{lines('state', self.states)}>"
        )

    def _arena(self, steps: int) -> int:
        """Return this thread's scratch memory, grown to what `steps` steps need."""
        size = int(self._library.arena_size(steps))
        memory: Array | None = getattr(self._scratch, "memory", None)
        if memory is None or memory.size < size:
            memory = self._scratch.memory = _call.aligned(size)
        return int(memory.ctypes.data)
