"""A stream: one state memory, and the calls that advance it."""

from __future__ import annotations

import ctypes
import difflib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.runtime import _call, _dtypes
from edgeseq.runtime._bound import Bound
from edgeseq.runtime._manifest import State

if TYPE_CHECKING:
    from edgeseq.runtime._model import Model

Array = npt.NDArray[Any]


class Stream:
    """Carries the state of one sequence from call to call.

    Any number of streams may run at once, each in its own thread; one stream must not be used by
    two threads at the same time.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._library = model._library
        self._memory: Array | None = _call.aligned(int(self._library.state_size()))
        self._library.check(self._library.init(self._state), "init")

    def step(self, *args: object, **kwargs: object) -> Array | dict[str, Array]:
        """Advance by one step; inputs as one dict, by position or by keyword.

        Raises:
            UsageError: an input is wrong, or the model has no single step.
        """
        manifest = self._model._manifest
        function = self._step_function()
        inputs = _call.one_step(manifest, _call.by_name(manifest, args, kwargs))
        outputs = _call.outputs(manifest, None)
        arena = self._model._arena(1)
        code = function(self._state, arena, *_call.pointers(inputs), *_call.pointers(outputs))
        self._library.check(code, "step")
        return _call.result(manifest, outputs)

    def run(self, *args: object, **kwargs: object) -> Array | dict[str, Array]:
        """Advance by a chunk of any length, and return the outputs of every step of it.

        Raises:
            UsageError: an input is wrong, or the chunk is longer than the model was compiled for.
        """
        manifest = self._model._manifest
        inputs, steps = _call.many_steps(manifest, _call.by_name(manifest, args, kwargs))
        outputs = _call.outputs(manifest, steps)
        count = 1 if steps is None else steps
        places = _call.pointers(inputs), _call.pointers(outputs)
        arena = self._model._arena(count)
        self._library.check(
            self._library.run(self._state, arena, count, *places[0], *places[1]), "run"
        )
        return _call.result(manifest, outputs)

    def bind(self, steps: int | None = None) -> Bound:
        """Return a step, or a chunk of `steps` steps, without checks or allocation.

        Write into `bound.inputs[name]`, call `bound()`, read `bound.outputs[name]`.

        Raises:
            UsageError: no step exists, or the chunk is longer than the model was compiled for.
        """
        if steps is None:
            return Bound(self._model._manifest, self._library, self._bytes, self._step_function())
        _call.check_steps(self._model._manifest, steps)
        return Bound(self._model._manifest, self._library, self._bytes, self._library.run, steps)

    def reset(self) -> None:
        """Go back to the initial state."""
        self._library.check(self._library.reset(self._state), "reset")

    def save(self) -> bytes:
        """Return the state as bytes, to be given to `load` of any stream of the same model."""
        size = int(self._library.state_size())
        saved = ctypes.create_string_buffer(size)
        self._library.check(self._library.save(self._state, saved), "save")
        return saved.raw

    def load(self, saved: bytes) -> None:
        """Continue from a saved state.

        Raises:
            UsageError: the bytes are not a state of this model.
        """
        size = int(self._library.state_size())
        if len(saved) != size:
            raise UsageError(
                f"not a saved state of '{self._model.name}'",
                why=f"it has {len(saved)} bytes, a state has {size}",
            )
        self._library.check(self._library.load(self._state, saved), "load")

    def state(self, name: str) -> Array:
        """Return a copy of one state, by the name of its input or output."""
        state = self._find(name)
        return np.array(_dtypes.decode(self._view(state), state.dtype))

    def set_state(self, name: str, value: object) -> None:
        """Replace one state.

        Raises:
            UsageError: no such state, or wrong dtype or shape.
        """
        state = self._find(name)
        array = _dtypes.encode(value, state.dtype, name)
        _dtypes.check_shape(array.shape, state.shape, name)
        self._view(state)[...] = array

    def close(self) -> None:
        """Give the memory back; the stream cannot be used afterwards."""
        self._memory = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        size = "closed" if self._memory is None else f"{self._memory.size} bytes of state"
        return f"<edgeseq.Stream of {self._model.name}: {size}>"

    @property
    def _state(self) -> int:
        return int(self._bytes.ctypes.data)

    @property
    def _bytes(self) -> Array:
        if self._memory is None:
            raise UsageError(
                f"the stream of '{self._model.name}' is closed", fix="open one: model.stream()"
            )
        return self._memory

    def _step_function(self) -> Callable[..., int]:
        function: Callable[..., int] | None = self._library.step
        if function is None:
            raise UsageError(
                f"'{self._model.name}' has no single step",
                why=self._model._manifest.step_reason or "",
                fix="call run() with the whole sequence",
            )
        return function

    def _find(self, name: str) -> State:
        states = self._model.states
        for state in states:
            if name in (state.input, state.output):
                return state
        known = [s.input for s in states]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        start = f"did you mean '{near[0]}'? " if near else ""
        listed = f"{start}states: {', '.join(known)}" if known else "the model carries no state"
        raise UsageError(f"'{self._model.name}' has no state '{name}'", fix=listed)

    def _view(self, state: State) -> Array:
        layout = _dtypes.memory(state.dtype)
        size = int(np.prod(state.shape, dtype=np.int64)) * layout.itemsize
        part = self._bytes[state.offset : state.offset + size]
        return part.view(layout).reshape(state.shape)
