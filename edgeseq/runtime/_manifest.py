"""`manifest.json` -> frozen dataclasses, with a message for everything that can be wrong in it."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.runtime import _dtypes

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output. The entry `"T"` of the shape stands for the number of steps.

    An output may also have a size that follows from it, such as `"(T + 1) / 2"`.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    time_axis: int | None

    def at(self, steps: int) -> tuple[int, ...]:
        """Return the shape for this many steps."""
        return tuple(_size(d, steps) if isinstance(d, str) else d for d in self.shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class State:
    """A carried value, `offset` bytes into the state memory."""

    input: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def __str__(self) -> str:
        return f"{self.input}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Target:
    """What was built for one target; `library` is None where the user compiles (target `c`)."""

    files: Mapping[str, str]
    library: str | None
    threads: int = 1  # that may share a layer


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The part of the manifest a runtime needs."""

    folder: Path
    name: str
    model_hash: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[State, ...]
    targets: Mapping[str, Target]
    step: bool
    step_reason: str | None
    loop: bool  # run() stacks single steps on a new leading axis
    min_steps: int
    max_steps: int | None


def read(folder: Path) -> Manifest:
    """Read `folder/manifest.json`.

    Raises:
        UsageError: no artifact is there, or its manifest is damaged or of another version.
    """
    file = folder / "manifest.json"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"no compiled model in '{folder}'",
            why="manifest.json is not there",
            fix=f"edgeseq compile MODEL -o {folder}",
        ) from None
    except (ValueError, OSError) as e:
        raise _damaged(file, str(e)) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        got = raw.get("format") if isinstance(raw, dict) else None
        raise UsageError(
            f"'{file}' has format {got!r}",
            why=f"this version of edgeseq reads format {FORMAT}",
            fix="compile the model again with this version of edgeseq",
        )
    try:
        return _parse(folder, raw)
    except KeyError as e:
        raise _damaged(file, f"the entry {e} is missing") from None
    except (TypeError, ValueError, AttributeError, SyntaxError, ArithmeticError) as e:
        raise _damaged(file, str(e)) from None


def check_files(manifest: Manifest, target: str) -> None:
    """Compare every file of a target with the hash recorded when it was written.

    Raises:
        UsageError: a file is missing or was changed.
    """
    wrong = []
    for name, want in sorted(manifest.targets[target].files.items()):
        file = manifest.folder / name
        if not file.is_file():
            wrong.append(f"{name}: missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != want:
            wrong.append(f"{name}: its SHA-256 is not the recorded one")
    if wrong:
        raise UsageError(
            f"files of target '{target}' in '{manifest.folder}' are not as they were compiled",
            at=wrong,
            fix="compile the model again",
        )


def _damaged(file: Path, why: str) -> UsageError:
    return UsageError(f"cannot read '{file}'", why=why, fix="compile the model again")


def _size(text: str, steps: int) -> int:
    """Evaluate a size in the number of steps: `+ - * /`, and division rounds down."""
    return _evaluate(ast.parse(text, mode="eval").body, steps)


def _evaluate(node: ast.expr, steps: int) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name():
            return steps
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, steps), _evaluate(right, steps))
    raise ValueError(f"a size of the form '{ast.unparse(node)}' is not known")


_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
}


def _parse(folder: Path, raw: Mapping[str, Any]) -> Manifest:
    modes = raw["modes"]
    run = modes["run"]
    return Manifest(
        folder=folder,
        name=str(raw["name"]),
        model_hash=str(raw["model_hash"]),
        inputs=tuple(_tensor(t) for t in raw["inputs"]),
        outputs=tuple(_tensor(t) for t in raw["outputs"]),
        states=tuple(_state(s) for s in raw["states"]),
        targets={
            name: Target(dict(t["files"]), t.get("library"), int(t.get("threads", 1)))
            for name, t in raw["targets"].items()
        },
        step=bool(modes["step"]["supported"]),
        step_reason=modes["step"].get("reason"),
        loop={"loop": True, "graph": False}[run["kind"]],
        min_steps=int(run["min_T"]),
        max_steps=None if run["max_T"] is None else int(run["max_T"]),
    )


def _tensor(raw: Mapping[str, Any]) -> Tensor:
    shape = tuple(d if isinstance(d, str) else int(d) for d in raw["shape"])
    tensor = Tensor(raw["name"], _known(raw["dtype"]), shape, raw["time_axis"])
    tensor.at(1)  # every size can be evaluated
    return tensor


def _state(raw: Mapping[str, Any]) -> State:
    shape = tuple(int(d) for d in raw["shape"])
    return State(raw["input"], raw["output"], _known(raw["dtype"]), shape, int(raw["offset"]))


def _known(dtype: str) -> str:
    if dtype not in _dtypes.NAMES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(sorted(_dtypes.NAMES))}")
    return dtype
