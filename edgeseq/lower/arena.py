"""Where every buffer of a program lives: caller's inputs and outputs, state, weights, arena.

Temporaries that are known in size are placed by size, largest first, at the lowest offset where
no buffer alive at the same time stands. Those whose size depends on time share slots, whose
offsets the entry computes from T.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeseq.lower.program import Buffer, Call, CopyCall, KernelCall, Program, View
from edgeseq.lower.rows import Rows
from edgeseq.lower.size import Size

ALIGN = 64


class Space(enum.Enum):
    """Whose memory a buffer is in."""

    INPUT = "input"
    OUTPUT = "output"
    STATE = "state"
    CONSTANT = "constant"
    ARENA = "arena"
    SLOT = "slot"  # arena, at an offset that depends on T


@dataclasses.dataclass(frozen=True)
class Place:
    """`index` of the input, output, state or slot, or 0; `offset` in bytes from its start."""

    space: Space
    index: int
    offset: Size


@dataclasses.dataclass(frozen=True)
class Port:
    """One graph input or output: the caller's array, or a state's memory."""

    space: Space
    index: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """A program with a place for every view.

    Args:
        calls: In order; the last ones copy results to states and outputs.
        places: Buffer -> place.
        arena_size: Bytes of the part with known sizes.
        slot_sizes: Bytes of each slot, as expressions in T.
        constants: Buffers of weights, in the order of first use.
    """

    calls: tuple[Call, ...]
    places: Mapping[Buffer, Place]
    arena_size: int
    slot_sizes: tuple[tuple[Size, ...], ...]
    constants: tuple[Buffer, ...]

    def place(self, view: View) -> Place:
        """Where a view starts."""
        base = self.places[view.buffer]
        return dataclasses.replace(base, offset=base.offset + view.offset)


def align(size: int) -> int:
    """Round up to the alignment of buffers."""
    return -(-size // ALIGN) * ALIGN


def plan(program: Program, inputs: Sequence[Port], outputs: Sequence[Port]) -> Layout:
    """Place every buffer.

    Args:
        program: What to place.
        inputs: Where each graph input is.
        outputs: Where each graph output has to be afterwards.
    """
    return _Planner(program, inputs, outputs).run()


class _Planner:
    def __init__(self, program: Program, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.calls = list(program.calls)
        self.results = list(program.outputs)
        self.sizes = program.output_sizes
        self.inputs = inputs
        self.outputs = outputs
        self.places: dict[Buffer, Place] = {}
        self.constants: list[Buffer] = []

    def run(self) -> Layout:
        self.place_fixed()
        self.merge_slots_of_concats()
        self.save_overwritten_states()
        self.place_results()
        self.append_copies()
        self.place_fixed()
        arena, slots = self.place_temporaries()
        return Layout(tuple(self.calls), self.places, arena, slots, tuple(self.constants))

    def views(self) -> Iterable[View]:
        for call in self.calls:
            yield from touched(call)
            if isinstance(call, KernelCall):
                yield from (c for c in call.consts if c is not None)
        yield from self.results

    def place_fixed(self) -> None:
        for view in self.views():
            buffer = view.buffer
            if buffer in self.places:
                continue
            if buffer.input_index is not None:
                port = self.inputs[buffer.input_index]
                self.places[buffer] = Place(port.space, port.index, Size.of(0))
            elif buffer.constant is not None:
                self.places[buffer] = Place(Space.CONSTANT, len(self.constants), Size.of(0))
                self.constants.append(buffer)

    def temporary(self, buffer: Buffer) -> bool:
        return buffer not in self.places

    def merge_slots_of_concats(self) -> None:
        """A producer whose whole result is copied into a slot writes there itself."""
        merged = True
        while merged:
            merged = any(self.merge(i) for i in range(len(self.calls)))

    def merge(self, index: int) -> bool:
        """Drop the copy at `index` if its source can be computed in place; True if it was."""
        call = self.calls[index]
        if not isinstance(call, CopyCall):
            return False
        source, target = call.reads[0], call.writes[0]
        whole = (
            source.offset == Size.of(0)
            and source.buffer.size == call.source.count * call.source.row
        )
        dense = call.source.count == Size.of(1) or call.source.row == call.source.stride
        if not (whole and dense and self.temporary(source.buffer)):
            return False
        if source.buffer is target.buffer or not self.temporary(target.buffer):
            return False
        if call.target.count != Size.of(1) and call.target.row != call.target.stride:
            return self.merge_rows(index, source.buffer, target, call.target)
        del self.calls[index]
        self.calls = [_moved(c, source.buffer, target) for c in self.calls]
        self.results = [_moved_view(v, source.buffer, target) for v in self.results]
        return True

    def merge_rows(self, index: int, source: Buffer, target: View, rows: Rows) -> bool:
        """The slot has gaps: only a kernel that takes strides can write there."""
        users = [i for i, c in enumerate(self.calls) if any(v.buffer is source for v in touched(c))]
        if len(users) != 2 or any(v.buffer is source for v in self.results):
            return False
        producer = self.calls[users[0]]
        if users[1] != index or not isinstance(producer, KernelCall):
            return False
        place = [v.buffer is source for v in producer.writes].index(True)
        choice = producer.choice.writing(place, rows)
        if choice is None:
            return False
        writes = tuple(target if i == place else v for i, v in enumerate(producer.writes))
        self.calls[users[0]] = dataclasses.replace(producer, choice=choice, writes=writes)
        del self.calls[index]
        return True

    def save_overwritten_states(self) -> None:
        """A result that is a view of a state must be saved before states are written."""
        for i, (view, port) in enumerate(zip(self.results, self.outputs, strict=True)):
            place = self.places.get(view.buffer)
            if place is None or place.space is not Space.STATE:
                continue
            if (
                port.space is Space.STATE
                and place.index == port.index
                and view.offset == Size.of(0)
            ):
                continue  # unchanged
            size = self.sizes[i]
            saved = View(Buffer(size, view.buffer.dtype))
            self.calls.append(_copy(view, saved, size))
            self.results[i] = saved

    def place_results(self) -> None:
        for view, port, size in zip(self.results, self.outputs, self.sizes, strict=True):
            buffer = view.buffer
            if not self.temporary(buffer) or view.offset != Size.of(0) or buffer.size != size:
                continue  # a part, e.g. of a concat, has no room for the rest where it must be
            if port.space is Space.STATE and not self.may_overwrite(buffer, port.index):
                continue
            self.places[buffer] = Place(port.space, port.index, Size.of(0))

    def may_overwrite(self, buffer: Buffer, state: int) -> bool:
        """Whether the new state can be computed into the old one, piece by piece.

        Each piece of the old state must have been read before it is overwritten; at the same call
        only by a kernel that updates in place.
        """
        old = Place(Space.STATE, state, Size.of(0))
        if any(self.places.get(v.buffer) == old for v in self.results if v.buffer is not buffer):
            return False
        written: list[tuple[int, int]] = []
        for call in self.calls:
            before = list(written)
            written += _spans(call, call.writes, lambda v: v.buffer is buffer)
            reads = _spans(call, call.reads, lambda v: self.places.get(v.buffer) == old)
            overwritten = before if _in_place(call) else written
            if any(a[0] < b[1] and b[0] < a[1] for a in reads for b in overwritten):
                return False
        return True

    def append_copies(self) -> None:
        """Copy results that do not stand where they must."""
        for i, (view, port) in enumerate(zip(self.results, self.outputs, strict=True)):
            place = self.places.get(view.buffer)
            wanted = Place(port.space, port.index, Size.of(0))
            if place == wanted and view.offset == Size.of(0):
                continue
            size = self.sizes[i]
            target = Buffer(size, view.buffer.dtype)
            self.places[target] = wanted
            self.calls.append(_copy(view, View(target), size))

    def place_temporaries(self) -> tuple[int, tuple[tuple[Size, ...], ...]]:
        alive = self.lifetimes()
        arena = _place_known(self.places, {b: t for b, t in alive.items() if b.size.known})
        slots = _place_slots(self.places, {b: t for b, t in alive.items() if not b.size.known})
        return arena, slots

    def lifetimes(self) -> dict[Buffer, tuple[int, int]]:
        alive: dict[Buffer, tuple[int, int]] = {}
        for i, call in enumerate(self.calls):
            for view in touched(call):
                if self.temporary(view.buffer):
                    first, _ = alive.get(view.buffer, (i, i))
                    alive[view.buffer] = (first, i)
        return alive


def touched(call: Call) -> tuple[View, ...]:
    """Every view a call reads, writes or uses as scratch."""
    scratch = () if isinstance(call, CopyCall) else call.scratch
    return (*call.reads, *call.writes, *scratch)


def _copy(read: View, write: View, size: Size) -> CopyCall:
    return CopyCall((read,), (write,), Rows.dense(size), Rows.dense(size))


def _in_place(call: Call) -> bool:
    return isinstance(call, KernelCall) and call.choice.in_place


def _spans(
    call: Call, views: Iterable[View], wanted: Callable[[View], bool]
) -> list[tuple[int, int]]:
    """Byte ranges that the call touches in the wanted views; to the buffer's end where unknown."""
    spans = []
    for view in filter(wanted, views):
        start = view.offset.constant if view.offset.known else 0
        end = view.buffer.size.constant if view.buffer.size.known else 1 << 62
        if view.extent is not None and view.extent.known and view.offset.known:
            end = start + view.extent.constant
        if isinstance(call, CopyCall) and view.offset.known:
            extent = (call.source if view in call.reads else call.target).extent
            end = end if extent is None else start + extent.constant
        spans.append((start, end))
    return spans


def _moved_view(view: View, source: Buffer, target: View) -> View:
    if view.buffer is not source:
        return view
    whole = view.offset == Size.of(0) and view.extent is None
    extent = source.size if whole else view.extent
    return dataclasses.replace(target.shifted(view.offset), extent=extent)


def _moved(call: Call, source: Buffer, target: View) -> Call:
    def move(views: tuple[View, ...]) -> tuple[View, ...]:
        return tuple(_moved_view(v, source, target) for v in views)

    return dataclasses.replace(call, reads=move(call.reads), writes=move(call.writes))


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return not (a[1] < b[0] or b[1] < a[0])


def _place_known(places: dict[Buffer, Place], alive: Mapping[Buffer, tuple[int, int]]) -> int:
    placed: list[tuple[Buffer, int]] = []
    for buffer in sorted(alive, key=lambda b: (-b.size.constant, alive[b])):
        busy = sorted(
            (start, start + align(other.size.constant))
            for other, start in placed
            if _overlap(alive[other], alive[buffer])
        )
        offset = 0
        for start, end in busy:
            if offset + buffer.size.constant <= start:
                break
            offset = max(offset, end)
        placed.append((buffer, offset))
        places[buffer] = Place(Space.ARENA, 0, Size.of(offset))
    return max((start + align(b.size.constant) for b, start in placed), default=0)


def _place_slots(
    places: dict[Buffer, Place], alive: Mapping[Buffer, tuple[int, int]]
) -> tuple[tuple[Size, ...], ...]:
    """First free slot; a slot is as large as the largest of the sizes it holds."""
    slots: list[list[Buffer]] = []
    for buffer in sorted(alive, key=lambda b: alive[b]):
        free = (
            i
            for i, members in enumerate(slots)
            if not any(_overlap(alive[m], alive[buffer]) for m in members)
        )
        index = next(free, len(slots))
        if index == len(slots):
            slots.append([])
        slots[index].append(buffer)
        places[buffer] = Place(Space.SLOT, index, Size.of(0))
    return tuple(tuple(dict.fromkeys(m.size for m in members)) for members in slots)
