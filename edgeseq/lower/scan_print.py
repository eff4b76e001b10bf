"""The loop of a Scan as a C function: states in turn in two places, sequences step by step."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from edgeseq.lower.scan_body import Body, Step


@dataclasses.dataclass(frozen=True)
class Function:
    """A C function and how it is called.

    Args:
        symbol: Its name.
        text: Its definition.
        leading: Arguments before the scratch, the values that are read and those written.
    """

    symbol: str
    text: str
    leading: tuple[str, ...]

    def call(self, pointers: Sequence[str]) -> str:
        """The statement that runs the loop."""
        return f"{self.symbol}({', '.join([*self.leading, *pointers])});"


def function(model: str, body: Body, lines: Sequence[str], dispatch: bool) -> Function:
    """Wrap the statements of a step into the loop.

    Args:
        model: Prefix of the model's symbols.
        body: The loop.
        lines: Statements of one step; they read `i<k>`, write `o<k>` and use the arena `a`.
        dispatch: Kernels are called through the table `k`, and weights are one blob `w`.
    """
    symbol = f"{model}_{body.name}"
    statements = list(_statements(model, body, lines))
    takes_t = any(_uses(line, "T") for line in statements)
    leading = {f"const struct {model}_kernels *const k": "k", "const uint8_t *const w": "w"}
    parameters = [p for p in leading if dispatch] + (["int64_t T"] if takes_t else [])
    reads = len(body.states) + len(body.inputs) + body.captured
    writes = len(body.states) + len(body.outputs)
    pointers = ["uint8_t *const scratch"]
    pointers += [f"const uint8_t *const in{i}" for i in range(reads)]
    pointers += [f"uint8_t *const out{i}" for i in range(writes)]
    given = [*(("k", "w") if dispatch else ()), "scratch"]
    idle = [f"(void){n};" for n in given if not any(_uses(line, n) for line in statements)]
    text = "\n".join(
        [
            f"/* the steps of {body.node} */",
            f"static ES_NOINLINE void {symbol}({', '.join([*parameters, *pointers])}) {{",
            *(f"    {line}" for line in (*idle, *statements)),
            "}",
        ]
    )
    passed = [*(leading.values() if dispatch else ()), *(["T"] if takes_t else [])]
    return Function(symbol, text, tuple(passed))


def _statements(model: str, body: Body, lines: Sequence[str]) -> Iterator[str]:
    states, steps = len(body.states), len(body.inputs)
    whole = range(states + steps, states + steps + body.captured)
    yield f"const int64_t n = {body.trips.c()};"
    if any(_uses(line, "a") for line in lines):
        yield f"uint8_t *const a = scratch + {body.spares()[-1].c()};"
    yield from (f"const uint8_t *i{i} = in{i};" for i in range(states))
    yield from (f"const uint8_t *const i{i} = in{i};" for i in whole if _read(i, lines))
    yield "for (int64_t t = 0; t < n; t++) {"
    yield from (f"    {line}" for line in _places(body, lines))
    yield from (f"    {line}" for line in lines)
    yield from (f"    i{i} = o{i};" for i in range(states))
    yield "}"
    if body.trips.c() != "T" and not body.once:  # T is never 0
        for i, size in enumerate(body.states):
            yield f"if (n < 1) {model}_copy(out{i}, in{i}, {size.c()});"


def _places(body: Body, lines: Sequence[str]) -> Iterator[str]:
    """Where this step reads and writes."""
    states = len(body.states)
    for i, step in enumerate(body.inputs, states):
        if _read(i, lines):
            yield f"const uint8_t *const i{i} = in{i} + {_position(step)};"
    for i, spare in enumerate(body.spares()[:-1]):
        other = "" if body.once else f"(n - t) % 2 ? out{i} : scratch + {spare.c()}"
        yield f"uint8_t *const o{i} = {other or f'out{i}'};"
    for i, step in enumerate(body.outputs, states):
        yield f"uint8_t *const o{i} = out{i} + {_position(step)};"


def _position(step: Step) -> str:
    return f"{'(n - 1 - t)' if step.backwards else 't'} * {step.stride.c()}"


def _read(index: int, lines: Sequence[str]) -> bool:
    return any(_uses(line, f"i{index}") for line in lines)


def _uses(line: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", line) is not None
