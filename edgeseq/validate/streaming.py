"""A sequence in pieces gives what it gives whole, and streams do not disturb each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from edgeseq.validate.compare import compare
from edgeseq.validate.finding import Finding
from edgeseq.validate.runner import Array, Arrays, ModelLike, Sequencer, StreamLike

_CHUNK = 7  # a size that divides neither a power of two nor most tiles
_RAGGED = (3, 1, 5, 2, 11, 1, 1, 4)


class Streams:
    """The checks of one model.

    Args:
        model: The compiled model.
        feed: The recorded inputs.
        axes: Time axis of each output.
        allowed: Tolerance of each output: `run` may sum in another order than `step`.
        least: Smallest chunk that `run` takes.
    """

    def __init__(
        self,
        model: ModelLike,
        feed: Sequencer,
        axes: Mapping[str, int | None],
        allowed: Mapping[str, float],
        least: int,
    ) -> None:
        self._model, self._feed = model, feed
        self._axes, self._allowed = axes, allowed
        self._least = least

    def findings(self, whole: Arrays) -> Iterator[Finding]:
        """Run all checks; `whole` are the outputs of the undivided sequence."""
        yield from self._compare("single steps", whole, self._feed.step(self._model.stream()))
        for name, sizes in self._divisions().items():
            got = self._feed.run(self._model.stream(), sizes)
            yield from self._compare(name, whole, got)
        yield from self._reset()
        yield from self._save_and_load()
        yield from self._interleaved()

    def _divisions(self) -> dict[str, list[int]]:
        """Return the sizes of the chunks per check; all cover the whole recording."""
        named: dict[str, Callable[[int], int]] = {
            "chunks of 1": lambda _: 1,
            "chunks of 2": lambda _: 2,
            f"chunks of {_CHUNK}": lambda _: _CHUNK,
            "ragged chunks": lambda i: _RAGGED[i % len(_RAGGED)],
        }
        divisions = {}
        for name, size in named.items():
            sizes = self._fill(size)
            if min(sizes) >= self._least:
                divisions[name] = sizes
        return divisions

    def _fill(self, size: Callable[[int], int]) -> list[int]:
        sizes: list[int] = []
        while (left := self._feed.steps - sum(sizes)) > 0:
            sizes.append(min(size(len(sizes)), left))
        return sizes

    def _reset(self) -> Iterator[Finding]:
        stream = self._model.stream()
        first = self._feed.step(stream)
        stream.reset()
        yield from self._same("reset", first, self._feed.step(stream))

    def _save_and_load(self) -> Iterator[Finding]:
        """From a saved state, another stream goes on with the same bytes."""
        half = self._feed.steps // 2
        original = self._model.stream()
        if half:
            self._feed.step(original, 0, half)
        saved = original.save()
        copy = self._model.stream()
        copy.load(saved)
        want, got = self._feed.step(original, half), self._feed.step(copy, half)
        yield from self._same("save and load", want, got)
        equal = original.save() == copy.save()
        reason = "" if equal else "the saved states differ after the last step"
        for name in self._axes:
            yield Finding("saved state", name, equal, reason=reason)

    def _interleaved(self) -> Iterator[Finding]:
        """Two streams half a recording apart, step by step in turns, against each alone."""
        delay = self._feed.steps // 2
        alone = self._feed.step(self._model.stream())
        ahead, behind = self._model.stream(), self._model.stream()
        parts: dict[str, list[dict[str, Array]]] = {"ahead": [], "behind": []}
        for now in range(self._feed.steps + delay):
            self._advance(parts["ahead"], ahead, now)
            self._advance(parts["behind"], behind, now - delay)
        for which, rows in parts.items():
            yield from self._same(f"interleaved {which}", alone, self._feed.join(rows))

    def _advance(self, rows: list[dict[str, Array]], stream: StreamLike, step: int) -> None:
        if 0 <= step < self._feed.steps:
            rows.append(self._feed.one(stream, step))

    def _compare(self, check: str, want: Arrays, got: Arrays) -> Iterator[Finding]:
        for name, axis in self._axes.items():
            allowed = self._allowed[name]
            yield compare(check, name, want[name], got.get(name), allowed, axis)

    def _same(self, check: str, want: Arrays, got: Arrays) -> Iterator[Finding]:
        """The same calls in the same order give the same bytes."""
        for name, axis in self._axes.items():
            yield compare(check, name, want[name], got.get(name), 0.0, axis)
