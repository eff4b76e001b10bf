"""What went wrong in tracing or translation, in the words of the user's own code."""

from __future__ import annotations

import linecache
import logging
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch
from torch.export import ExportedProgram
from torch.onnx._internal.exporter import _fx_passes, _registration

import edgeseq
from edgeseq.errors import EdgeseqError, UnsupportedModelError
from edgeseq.frontends.torch_dynamic import Plan

_OURS = str(Path(edgeseq.__file__).parent)
_TORCH = str(Path(torch.__file__).parent)
_STDLIB = sysconfig.get_path("stdlib")


class Fixations(logging.Handler):
    """Listens while torch traces and notes the line at which a dynamic dimension became a number.

    torch reports this only at the end and without a place, but logs it when it happens: the user's
    line is then on the stack. The torch logger is as before when the block ends.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
        self._before = (self._logger.level, self._logger.propagate)

    def __enter__(self) -> Fixations:
        """Start to listen."""
        self._before = (self._logger.level, self._logger.propagate)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the logger."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]

    def emit(self, record: logging.LogRecord) -> None:
        """Note the user's line when a symbol is replaced by a number."""
        if "range_refined_to_singleton" not in str(record.msg) + str(record.args):
            return
        frames = [(f.filename, f.lineno or 0, f.name) for f in traceback.extract_stack()]
        line = _last_user_line(frames)
        if line and line not in self.lines:
            self.lines.append(line)


def explain_capture(error: BaseException, fixations: Fixations, plan: Plan) -> EdgeseqError:
    """Return the error to raise for a failure of `torch.export`."""
    chain = list(_chain(error))
    ours = next((one for one in chain if isinstance(one, EdgeseqError)), None)
    line = _line_of(chain)
    if ours is not None:
        at = (*ours.at, *([line] if line else []))
        return type(ours)(ours.what, at=at, why=ours.why, fix=ours.fix)
    text = "\n".join(str(one) for one in chain)
    if "GuardOnDataDependent" not in " ".join(type(one).__name__ for one in chain) and (
        "specialized" in text or "specialised" in text
    ):
        return _fixed_dimension(text, fixations, plan)
    if re.search(r"data-dependent|DataDependent", text + type(error).__name__):
        return UnsupportedModelError(
            "the control flow of the module depends on the values of tensors",
            at=line or "(torch names no line)",
            why=_first_line(error),
            fix="compute both sides and choose with torch.where, or use torch.cond; a length that "
            "is a tensor's value must be an argument instead",
        )
    return UnsupportedModelError(
        "the module cannot be traced",
        at=line or "(torch names no line)",
        why=f"{type(error).__name__}: {_first_line(error)}",
        fix="mend that line, or move it out of forward: tracing runs forward once with tensors "
        "that have shapes but no values",
    )


def _fixed_dimension(text: str, fixations: Fixations, plan: Plan) -> UnsupportedModelError:
    found = re.findall(r"L\['(\w+)'\].*?size\(\)\[(\d+)\]", text)
    value = re.search(r"constant \((\d+)\)", text)
    names = sorted({_dimension(plan, where, int(axis)) for where, axis in found}) or ["a dimension"]
    return UnsupportedModelError(
        f"{' and '.join(names)} cannot vary: the module works for "
        + (f"size {value[1]} only" if value else "one size only"),
        at=fixations.lines or "(torch names no line)",
        why="this line needs the number itself, so other sizes would take another program",
        fix="write it with x.shape[...] (reshape(x, (x.shape[0], -1)) and the like), loop over "
        "time with torch's scan, or remove the dimension from `dynamic`",
    )


def _dimension(plan: Plan, where: str, axis: int) -> str:
    tensor = list(plan.inputs).index(where) if where in plan.inputs else -1
    named = [n for n in plan.named if n.tensor == tensor and n.axis == axis]
    prefix = f"dimension '{named[0].name}' (" if named else "("
    return f"{prefix}axis {axis} of input '{where}')"


def explain_translation(
    error: BaseException, program: ExportedProgram, registry: _registration.ONNXRegistry
) -> EdgeseqError:
    """Return the error to raise when the ONNX exporter has no translation; lists every operator."""
    ours = next((one for one in _chain(error) if isinstance(one, EdgeseqError)), None)
    if ours is not None:
        return ours
    missing = dict(_untranslatable(program, registry))
    if missing:
        return UnsupportedModelError(
            f"no ONNX form is known for {', '.join(sorted(missing))}",
            at=[f"{name}: {line}" for name, line in sorted(missing.items())],
            why="torch's ONNX exporter has no translation for it, and it has no decomposition",
            fix="write it with other torch operators",
        )
    return UnsupportedModelError(
        "torch's ONNX exporter failed on the module",
        at=_node_line(error, program) or "(it names no line)",
        why=_first_line(list(_chain(error))[-1]),
        fix="write the line in other torch operators",
    )


def _untranslatable(
    program: ExportedProgram, registry: _registration.ONNXRegistry
) -> Iterator[tuple[str, str]]:
    try:
        program = _fx_passes.decompose_with_registry(program, registry)
    except Exception:
        return  # the failure lies elsewhere, and is reported as it is
    for node in program.graph.nodes:
        target = node.target
        if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):
            continue
        if target.namespace == "aten" and not registry.get_decomps(target):
            yield str(target), trace_line(node.meta.get("stack_trace")) or "(no line known)"


def _node_line(error: BaseException, program: ExportedProgram) -> str | None:
    names = re.findall(r"translating node %(\w+)", "\n".join(str(one) for one in _chain(error)))
    for node in program.graph.nodes:
        if node.name in names and (line := trace_line(node.meta.get("stack_trace"))):
            return line
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line_of(chain: list[BaseException]) -> str | None:
    for error in chain:
        tb = traceback.extract_tb(error.__traceback__)
        line = _last_user_line([(f.filename, f.lineno or 0, f.name) for f in tb])
        if line := line or trace_line(str(error)):
            return line
    return None


def trace_line(text: str | None) -> str | None:
    """Return the user's line from a stack trace that torch kept as text."""
    found = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', text or "")
    return _last_user_line([(file, int(line), name) for file, line, name in found])


def _last_user_line(frames: list[tuple[str, int, str]]) -> str | None:
    """Return `model.py:12 in forward: y = x[:n]` for the innermost frame that is the user's."""
    for file, number, name in reversed(frames):
        if file.startswith(("<", _OURS, _TORCH)):
            continue
        if file.startswith(_STDLIB) and "site-packages" not in file:
            continue
        code = linecache.getline(file, number).strip()
        return f"{_short(file)}:{number} in {name}: {code}"
    return None


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
