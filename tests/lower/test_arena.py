"""The memory plan: nothing that is alive is overwritten, and copies that can go are gone."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.lower.arena import Layout, Place, Port, Space, align, plan, touched
from edgeseq.lower.program import Buffer, CopyCall, Program, TirCall, View
from edgeseq.lower.rows import Rows
from edgeseq.lower.size import Size

IN = [Port(Space.INPUT, 0)]
OUT = [Port(Space.OUTPUT, 0)]


def buffer(size: int | Size) -> Buffer:
    return Buffer(size if isinstance(size, Size) else Size.of(size), "float32")


def source(size: int = 64, index: int = 0) -> View:
    return View(Buffer(Size.of(size), "float32", input_index=index))


def kernel(reads: list[View], write: View) -> TirCall:
    return TirCall("k", tuple(reads), (write,))


def copy(read: View, write: View, size: int) -> CopyCall:
    piece = Rows.dense(Size.of(size))
    return CopyCall((read,), (write,), piece, piece)


def program(calls: list[object], *outputs: tuple[View, int]) -> Program:
    views, sizes = zip(*outputs, strict=True)
    return Program(tuple(calls), views, tuple(map(Size.of, sizes)), {})  # type: ignore[arg-type]


def overlaps(layout: Layout) -> list[tuple[Buffer, Buffer]]:
    """Pairs of arena buffers that share bytes while both are alive."""
    alive: dict[Buffer, tuple[int, int]] = {}
    for i, call in enumerate(layout.calls):
        for view in touched(call):
            first, _ = alive.get(view.buffer, (i, i))
            alive[view.buffer] = (first, i)
    arena = [b for b in alive if layout.places[b].space is Space.ARENA]
    spans = {b: (o := layout.places[b].offset.constant, o + b.size.constant) for b in arena}
    return [
        (a, b)
        for n, a in enumerate(arena)
        for b in arena[n + 1 :]
        if alive[a][0] <= alive[b][1]
        and alive[b][0] <= alive[a][1]
        and spans[a][0] < spans[b][1]
        and spans[b][0] < spans[a][1]
    ]


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 5)), min_size=1, max_size=40))
def test_no_two_live_buffers_share_bytes(steps: list[tuple[int, int]]) -> None:
    x = source()
    made, calls = [x], []
    for size, back in steps:
        out = View(buffer(size))
        calls.append(kernel([made[-1], made[max(0, len(made) - 1 - back)]], out))
        made.append(out)
    layout = plan(program(calls, (made[-1], steps[-1][0])), IN, OUT)
    assert overlaps(layout) == []
    assert all(layout.place(v).offset.constant % 64 == 0 for v in made[1:])


@st.composite
def programs(draw: st.DrawFn) -> tuple[Program, list[Port]]:
    """Kernels and concats of what came before; some of the values are results."""
    made, calls = [source()], []
    for _ in range(draw(st.integers(1, 8))):
        operands = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3))
        if draw(st.booleans()):
            out = View(buffer(draw(st.integers(1, 3)) * 64))
            calls.append(kernel(operands, out))
        else:
            sizes = [v.buffer.size.constant if v is not made[0] else 64 for v in operands]
            out = View(buffer(sum(sizes)))
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            for view, size, start in zip(operands, sizes, starts, strict=True):
                calls.append(copy(view, out.shifted(Size.of(start)), size))
        made.append(out)
    chosen = draw(st.lists(st.sampled_from(made[1:]), min_size=1, max_size=3, unique_by=id))
    results = [(view, view.buffer.size.constant) for view in chosen]
    return program(calls, *results), [Port(Space.OUTPUT, i) for i in range(len(results))]


@given(programs())
def test_nothing_is_written_beyond_a_result(case: tuple[Program, list[Port]]) -> None:
    given_program, ports = case
    layout = plan(given_program, IN, ports)
    assert overlaps(layout) == []
    for made, place in layout.places.items():
        if place.space is Space.OUTPUT:
            end = place.offset.constant + made.size.constant
            assert end <= given_program.output_sizes[place.index].constant


def test_a_chain_reuses_two_buffers() -> None:
    views = [source(640)] + [View(buffer(640)) for _ in range(10)]
    calls = [kernel([a], b) for a, b in itertools.pairwise(views)]
    layout = plan(program(calls, (views[-1], 640)), IN, OUT)
    assert layout.arena_size == 2 * align(640)


def test_a_result_is_computed_in_the_callers_array() -> None:
    out = View(buffer(64))
    layout = plan(program([kernel([source()], out)], (out, 64)), IN, OUT)
    assert layout.place(out) == Place(Space.OUTPUT, 0, Size.of(0))
    assert layout.arena_size == 0


def test_a_concat_operand_is_written_to_its_slot() -> None:
    a, b, both = View(buffer(64)), View(buffer(32)), View(buffer(96))
    calls = [
        kernel([source()], a),
        kernel([source()], b),
        copy(a, both, 64),
        copy(b, both.shifted(Size.of(64)), 32),
    ]
    layout = plan(program(calls, (both, 96)), IN, OUT)
    assert len(layout.calls) == 2
    assert layout.place(layout.calls[1].writes[0]) == Place(Space.OUTPUT, 0, Size.of(64))


def test_a_result_that_begins_a_concat_is_copied_out_of_it() -> None:
    """The caller's array has no room for the other operands."""
    a, b, both, y = (View(buffer(size)) for size in (64, 32, 96, 32))
    calls = [
        kernel([source()], a),
        kernel([source()], b),
        copy(a, both, 64),
        copy(b, both.shifted(Size.of(64)), 32),
        kernel([both], y),
    ]
    ports = [Port(Space.OUTPUT, 0), Port(Space.OUTPUT, 1)]
    layout = plan(program(calls, (a, 64), (y, 32)), IN, ports)
    places = [layout.place(call.writes[0]) for call in layout.calls]
    assert [place.space for place in places] == [Space.ARENA] * 2 + [Space.OUTPUT] * 2
    assert places[1].offset.constant - places[0].offset.constant == 64
    assert [place.index for place in places[2:]] == [1, 0]
    assert layout.calls[3].reads[0].buffer is layout.calls[0].writes[0].buffer


def test_an_input_is_still_copied_into_a_concat() -> None:
    x, both = source(), View(buffer(128))
    layout = plan(program([copy(x, both, 64), copy(x, both, 64)], (both, 128)), IN, OUT)
    assert sum(isinstance(c, CopyCall) for c in layout.calls) == 2


STATE = [Port(Space.INPUT, 0), Port(Space.STATE, 0)]
NEW_STATE = [Port(Space.OUTPUT, 0), Port(Space.STATE, 0)]


def test_a_state_is_updated_in_place_when_the_old_one_is_done_with() -> None:
    x, old = source(), source(64, 1)
    y, new = View(buffer(64)), View(buffer(64))
    calls = [kernel([x, old], y), kernel([y], new)]
    layout = plan(program(calls, (y, 64), (new, 64)), STATE, NEW_STATE)
    assert layout.place(new) == Place(Space.STATE, 0, Size.of(0))
    assert len(layout.calls) == 2


def test_a_state_shifts_in_place_once_the_old_one_is_read() -> None:
    """window = concat(state, x); state = window[1:]: read before it is written."""
    x, old = source(64), source(64, 1)
    window, new = View(buffer(128)), View(buffer(64))
    calls = [
        copy(old, window, 64),
        copy(x, window.shifted(Size.of(64)), 64),
        copy(window.shifted(Size.of(64)), new, 64),
    ]
    y = View(buffer(64))
    calls.append(kernel([window], y))  # type: ignore[arg-type]
    layout = plan(program(calls, (y, 64), (new, 64)), STATE, NEW_STATE)
    assert layout.place(new) == Place(Space.STATE, 0, Size.of(0))


def test_pieces_of_a_state_are_overwritten_one_by_one() -> None:
    old, new = source(128, 1), View(buffer(128))
    calls: list[object] = []
    made = []
    for half in (Size.of(0), Size.of(64)):
        y, z = View(buffer(64)), View(buffer(64))
        calls += [copy(old.shifted(half), y, 64), kernel([y], z)]
        calls.append(copy(z, new.shifted(half), 64))
        made.append(z)
    layout = plan(program(calls, (made[1], 64), (new, 128)), STATE, NEW_STATE)
    assert layout.place(new) == Place(Space.STATE, 0, Size.of(0))


def test_a_state_that_is_read_later_is_copied_at_the_end() -> None:
    x, old = source(), source(64, 1)
    y, new = View(buffer(64)), View(buffer(64))
    calls = [kernel([x], new), kernel([new, old], y)]
    layout = plan(program(calls, (y, 64), (new, 64)), STATE, NEW_STATE)
    assert layout.place(new).space is Space.ARENA
    last = layout.calls[-1]
    assert layout.place(last.writes[0]) == Place(Space.STATE, 0, Size.of(0))


def test_swapped_states_are_saved_before_either_is_written() -> None:
    a, b = source(64, 0), source(64, 1)
    ports = [Port(Space.STATE, 0), Port(Space.STATE, 1)]
    layout = plan(program([], (b, 64), (a, 64)), ports, ports)
    memory = {0: "a", 1: "b"}
    saved: dict[Buffer, str] = {}
    for call in layout.calls:
        read, write = layout.place(call.reads[0]), layout.place(call.writes[0])
        value = memory[read.index] if read.space is Space.STATE else saved[call.reads[0].buffer]
        if write.space is Space.STATE:
            memory[write.index] = value
        else:
            saved[call.writes[0].buffer] = value
    assert memory == {0: "b", 1: "a"}


def test_sizes_in_t_share_slots() -> None:
    t = Size(0, "T")
    views = [source()] + [View(buffer(t * n)) for n in (4, 8, 12, 16)]
    calls = [kernel([a], b) for a, b in itertools.pairwise(views)]
    out = View(buffer(64))
    calls.append(kernel([views[-1]], out))
    layout = plan(program(calls, (out, 64)), IN, OUT)
    assert len(layout.slot_sizes) == 2


def test_constants_are_listed_once() -> None:
    weight = View(Buffer(Size.of(16), "float32", constant=np.ones(4, np.float32)))
    y, z = View(buffer(64)), View(buffer(64))
    layout = plan(program([kernel([weight], y), kernel([weight, y], z)], (z, 64)), IN, OUT)
    assert layout.constants == (weight.buffer,)
