"""Every wrong call from C gets its error code, and changes nothing."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeseq import api
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target
from tests.e2e import models

pytestmark = pytest.mark.slow

HOST = host_target()
Memory = npt.NDArray[np.uint8]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("misuse")
    for name, text in (("tiny", models.STEP), ("whole", models.SEQUENCE)):
        dims = {"T": (2, 8)} if name == "whole" else {}
        options = CompileOptions(folder / name, (HOST,), cache=False, name=name, dims=dims)
        api.compile_model(models.build(text), options)
    return folder


class Library:
    """The C functions of a model, memory for them, and its error codes."""

    def __init__(self, dist: Path, name: str) -> None:
        folder = dist / name / HOST
        self.name = name
        self.library = ctypes.CDLL(str(folder / f"lib{name}.so"))
        header = (folder / f"{name}.h").read_text()
        found = re.findall(rf"{name.upper()}_(?:ERROR_)?(\w+) = (\d)", header)
        self.codes = {kind: int(code) for kind, code in found}
        self["state_size"].restype = self["arena_size"].restype = ctypes.c_size_t
        self["arena_size"].argtypes = [ctypes.c_int64]
        self["strerror"].restype = ctypes.c_char_p
        self.state = memory(self["state_size"]())
        self.arena = memory(max(self["arena_size"](8), 64))
        self.x, self.y = (np.ones((8, 8), np.float32) for _ in range(2))

    def __getitem__(self, function: str) -> Any:
        return getattr(self.library, f"{self.name}_{function}")

    def call(self, function: str, *arguments: Any) -> str:
        """Call, and return the name of the error code."""
        code = self[function](*map(pointer, arguments))
        return next(kind for kind, number in self.codes.items() if number == code)

    def run(self, steps: int) -> str:
        return self.call("run", self.state, self.arena, ctypes.c_int64(steps), self.x, self.y)


def memory(size: int, shift: int = 0) -> Memory:
    """Bytes that start `shift` after a multiple of 64."""
    raw = np.zeros(size + 128, np.uint8)
    start = -raw.ctypes.data % 64 + shift
    return raw[start : start + size]


def pointer(value: Any) -> Any:
    return ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else value


@pytest.fixture
def tiny(dist: Path) -> Library:
    library = Library(dist, "tiny")
    assert library.call("init", library.state) == "OK"
    return library


@pytest.fixture
def whole(dist: Path) -> Library:
    library = Library(dist, "whole")
    assert library.call("init", library.state) == "OK"
    return library


def test_the_right_calls_succeed(tiny: Library, whole: Library) -> None:
    assert tiny.call("step", tiny.state, tiny.arena, tiny.x, tiny.y) == "OK"
    assert tiny.run(3) == "OK"
    assert whole.run(8) == "OK"


@pytest.mark.parametrize("missing", range(4))
def test_null_in_step_and_run(tiny: Library, missing: int) -> None:
    before = tiny.state.copy()
    arguments: list[Any] = [tiny.state, tiny.arena, tiny.x, tiny.y]
    arguments[missing] = None
    assert tiny.call("step", *arguments) == "NULL"
    arguments.insert(2, ctypes.c_int64(2))
    assert tiny.call("run", *arguments) == "NULL"
    np.testing.assert_array_equal(tiny.state, before)


@pytest.mark.parametrize("function", ["init", "reset"])
def test_null_state(tiny: Library, function: str) -> None:
    assert tiny.call(function, None) == "NULL"


@pytest.mark.parametrize("function", ["save", "load"])
def test_null_in_save_and_load(tiny: Library, function: str) -> None:
    assert tiny.call(function, None, tiny.state) == "NULL"
    assert tiny.call(function, tiny.state, None) == "NULL"


@pytest.mark.parametrize("shift", [1, 4, 32])
def test_misaligned(tiny: Library, shift: int) -> None:
    state, arena = memory(tiny.state.size, shift), memory(tiny.arena.size, shift)
    for function in ("init", "reset"):
        assert tiny.call(function, state) == "ALIGNMENT"
    assert tiny.call("step", state, tiny.arena, tiny.x, tiny.y) == "ALIGNMENT"
    assert tiny.call("step", tiny.state, arena, tiny.x, tiny.y) == "ALIGNMENT"
    assert not state.any()
    assert not arena.any()


def test_saved_bytes_may_lie_anywhere(tiny: Library) -> None:
    saved = memory(tiny.state.size, 3)
    assert tiny.call("step", tiny.state, tiny.arena, tiny.x, tiny.y) == "OK"
    assert tiny.call("save", tiny.state, saved) == "OK"
    before = tiny.state.copy()
    assert tiny.call("reset", tiny.state) == "OK"
    assert (tiny.state != before).any()
    assert tiny.call("load", tiny.state, saved) == "OK"
    np.testing.assert_array_equal(tiny.state, before)


@pytest.mark.parametrize("fill", [0, 0xFF])
def test_a_state_that_was_not_initialised(tiny: Library, fill: int) -> None:
    state = memory(tiny.state.size)
    state[:] = fill
    steps = ctypes.c_int64(1)
    assert tiny.call("step", state, tiny.arena, tiny.x, tiny.y) == "STATE"
    assert tiny.call("run", state, tiny.arena, steps, tiny.x, tiny.y) == "STATE"
    assert tiny.call("reset", state) == "STATE"
    assert tiny.call("save", state, memory(state.size)) == "STATE"
    assert tiny.call("load", state, tiny.state) == "STATE"
    assert tiny.call("load", tiny.state, state) == "STATE"
    assert (state == fill).all()


def test_the_state_of_another_model(tiny: Library, whole: Library) -> None:
    other = memory(tiny.state.size)  # large enough for either
    assert whole.call("init", other) == "OK"
    before = other.copy()
    for function in ("reset",):
        assert tiny.call(function, other) == "MODEL"
    assert tiny.call("step", other, tiny.arena, tiny.x, tiny.y) == "MODEL"
    assert tiny.call("load", tiny.state, other) == "MODEL"
    np.testing.assert_array_equal(other, before)


def test_a_saved_state_of_another_abi(tiny: Library) -> None:
    saved = memory(tiny.state.size)
    assert tiny.call("save", tiny.state, saved) == "OK"
    saved[8] += 1
    assert tiny.call("load", tiny.state, saved) == "ABI"


@pytest.mark.parametrize("steps", [0, 1, -1, 9, 1 << 40])
def test_a_length_it_was_not_compiled_for(whole: Library, steps: int) -> None:
    assert whole.run(steps) == "LENGTH"
    assert (whole.y == 1).all()


@pytest.mark.parametrize("steps", [0, -5])
def test_no_steps(tiny: Library, steps: int) -> None:
    assert tiny.run(steps) == "LENGTH"


def test_every_code_has_a_text(tiny: Library) -> None:
    texts = {tiny["strerror"](code) for code in tiny.codes.values()}
    assert len(texts) == len(tiny.codes) == 8
    assert tiny["strerror"](99) == b"unknown error"


def test_an_index_outside_a_table_reads_no_foreign_memory(tmp_path: Path) -> None:
    model = models.build(models.LOOKUP)
    options = CompileOptions(tmp_path / "dist", (HOST,), cache=False, name="lookup")
    lookup = api.compile_model(model, options).load()
    table = lookup.run(np.array([0, 1, 2]))["y"], lookup.run(np.array([-1, -2, -4]))["y"]
    np.testing.assert_array_equal(table[0][:1], table[1][2:])
    np.testing.assert_array_equal(table[0][2:], table[1][1:2])
    wild = lookup.run(np.array([4, -5, 1 << 40]))
    np.testing.assert_array_equal(wild["y"], [table[1][0], table[0][0], table[1][0]])
    np.testing.assert_array_equal(wild["z"], wild["y"].T)
