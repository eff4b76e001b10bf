"""How long kernels take: a few numbers per kernel and instruction set, fitted to measurements.

Lowering picks a weight's layout with `CostTable.cheapest`; budgets of time add up `seconds`.
`edgeseq bench kernels --save FILE` writes a table; those of the targets are shipped in
`kernels/costs/`, so that the same model gives the same bytes wherever it is compiled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from edgeseq.errors import UsageError
from edgeseq.lower import work

FORMAT = 1
# A kernel replaces the dense one only if it promises to be faster by this much: more than a fitted
# line is off, so that pruning never makes a layer slower.
MARGIN = 0.15
Choice = TypeVar("Choice")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds per unit of work of one kernel; the units are those of `work.Work`.

    Args:
        call: A call, and every further step of a sequence.
        panel: Finishing a panel: its bias, its activations, its stores.
        load: Loading one block of weights.
        mac: Multiplying one block.
        near: Reading one byte of weights from beyond the first cache.
        far: Reading one byte of weights from beyond the second; it costs `near` as well.
    """

    call: float
    panel: float
    load: float
    mac: float
    near: float
    far: float


@dataclasses.dataclass(frozen=True)
class CostTable:
    """Costs of kernels on one kind of machine.

    Args:
        machine: Where it was measured.
        caches: Bytes of weights that stay in the first and in the second cache, call to call.
        levels: Instruction-set level (worst first) -> kernel -> cost.
    """

    machine: str
    caches: tuple[int, int]
    levels: Mapping[str, Mapping[str, Cost]]

    def seconds(self, kernel: str, sizes: Mapping[str, int], level: str) -> float | None:
        """Return the time of a call, or None where the table does not have the kernel.

        Kernels of float16 that were not measured have the price of bfloat16: as many bytes, and in
        dense and sparse kernels the same conversion.

        Args:
            kernel: Name without `es_`, e.g. `gru_f32_b16x1`.
            sizes: Its int parameters.
            level: Instruction-set level, e.g. `x86-64-v3`.
        """
        known = self.levels.get(level, {})
        cost = known.get(kernel) or known.get(kernel.replace("_f16", "_bf16"))
        counts = work.of(kernel, sizes)
        return None if cost is None or counts is None else _time(cost, units(counts, self.caches))

    def cheapest(
        self, options: Sequence[tuple[Choice, str, Mapping[str, int]]], levels: Sequence[str]
    ) -> tuple[Choice, str]:
        """Choose among kernels that compute the same.

        Args:
            options: (choice, kernel, sizes) each; the first is taken unless another is faster by
                `MARGIN` at every level.
            levels: The instruction sets that the one choice is compiled for. Where none of them
                was measured, the table's worst level stands in. N:M kernels need all of them.

        Returns:
            The choice, and why: both times at the newest level.
        """
        first, dense, dense_sizes = options[0]
        known = [level for level in levels if self.seconds(dense, dense_sizes, level) is not None]
        instead = ""
        if not known and self.levels:
            # Narrower vectors do more work per block, so that its index weighs less than here. That
            # of N:M weights weighs more: other machines take more instructions to permute.
            known, instead = list(self.levels)[:1], f" in place of {', '.join(levels) or 'plain C'}"
        if not known or self.seconds(dense, dense_sizes, known[0]) is None:
            return first, f"the cost table has no time of {dense}"
        strange = not levels or any(level not in self.levels for level in levels)
        times = [
            [None if strange and _permutes(k) else self.seconds(k, s, level) for level in known]
            for _, k, s in options
        ]
        base = [t for t in times[0] if t is not None]
        scores = [0.0, *(_score(row, base) for row in times[1:])]
        best = min(range(len(options)), key=lambda i: scores[i])
        return options[best][0], _why(options, times, best, known[-1] + instead)

    @property
    def hash(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(dumps(self).encode()).hexdigest()


def units(counts: work.Work, caches: tuple[int, int]) -> tuple[float, ...]:
    """Return what the fields of `Cost` are the prices of, in their order."""
    beyond = (max(0.0, counts.bytes - cache) * counts.passes for cache in caches)
    return counts.calls, counts.panels, counts.loads, counts.macs, *beyond


@dataclasses.dataclass(frozen=True)
class Costing:
    """What the formats of a weight are priced with.

    Args:
        table: Times of kernels.
        levels: Instruction sets that the code is compiled for, worst first.
        threads: Threads that may share a layer.
        steps: Whether the model runs step by step, or only whole sequences.
    """

    table: CostTable
    levels: tuple[str, ...]
    threads: int = 1
    steps: bool = True


def _permutes(kernel: str) -> bool:
    form = work.parse(kernel)
    return form is not None and form.window > 0


def _time(cost: Cost, amounts: Sequence[float]) -> float:
    prices = (cost.call, cost.panel, cost.load, cost.mac, cost.near, cost.far)
    return sum(a * b for a, b in zip(prices, amounts, strict=True))


def _score(row: Sequence[float | None], base: Sequence[float]) -> float:
    """Mean logarithm of the time against the first option's; infinite if it is not to be taken."""
    total = 0.0
    for mine, dense in zip(row, base, strict=True):
        if mine is None or mine > dense * (1 - MARGIN):
            return math.inf
        total += math.log(mine / dense)
    return total / len(base)


def _why(
    options: Sequence[tuple[Any, str, Any]],
    times: Sequence[Sequence[float | None]],
    best: int,
    level: str,
) -> str:
    def one(index: int) -> str:
        seconds = times[index][-1]
        name = options[index][1]
        return f"{name} {seconds * 1e6:.3g} us" if seconds is not None else f"{name} not measured"

    others = ", ".join(one(i) for i in range(len(options)) if i != best)
    return f"{one(best)}{f'; {others}' if others else ''} (cost table, {level})"


def dumps(table: CostTable) -> str:
    """The table as JSON: equal tables, equal text."""
    levels = {
        level: {name: dataclasses.asdict(cost) for name, cost in sorted(kernels.items())}
        for level, kernels in table.levels.items()
    }
    caches = list(table.caches)
    body = {"format": FORMAT, "machine": table.machine, "caches": caches, "levels": levels}
    return json.dumps(body, indent=1) + "\n"


def loads(text: str, source: str) -> CostTable:
    """Read a table.

    Args:
        text: What `dumps` wrote.
        source: Where it is from, for the message.

    Raises:
        UsageError: it is not a table.
    """
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise ValueError(f"its format is {body['format']}, this edgeseq reads {FORMAT}")
        levels = {
            str(level): {str(name): _cost(cost) for name, cost in kernels.items()}
            for level, kernels in body["levels"].items()
        }
        first, second = map(int, body["caches"])
        return CostTable(str(body["machine"]), (first, second), levels)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UsageError(
            f"'{source}' is not a cost table",
            why=f"{e} is missing" if isinstance(e, KeyError) else str(e),
            fix="edgeseq bench kernels --save FILE.json writes one",
        ) from None


def _cost(values: Mapping[str, float]) -> Cost:
    cost = Cost(**{name: float(value) for name, value in values.items()})
    if not all(0 <= v < 1 for v in dataclasses.astuple(cost)):
        raise ValueError("a cost is not a number of seconds of at least 0")
    return cost


def load(file: Path | None = None) -> CostTable:
    """Read a table from a file, or all those that are shipped, merged.

    Raises:
        UsageError: the file cannot be read or is not a table.
    """
    if file is None:
        return _shipped()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise UsageError(f"cannot read the cost table '{file}'", why=why) from None
    return loads(text, str(file))


def _shipped() -> CostTable:
    """One file per target; levels have different names, so that they stand side by side."""
    found = sorted(
        (f for f in (files("edgeseq.kernels") / "costs").iterdir() if f.name.endswith(".json")),
        key=lambda f: f.name,
    )
    tables = [loads(f.read_text(encoding="utf-8"), f.name) for f in found]
    return CostTable(
        machine="; ".join(dict.fromkeys(t.machine for t in tables)),
        caches=min((t.caches for t in tables), default=(0, 0)),
        levels={level: kernels for t in tables for level, kernels in t.levels.items()},
    )
