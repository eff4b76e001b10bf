"""How long a step of an artifact takes on this machine."""

from __future__ import annotations

import statistics
from pathlib import Path

from edgeseq.bench import frames
from edgeseq.bench.compiled import Compiled
from edgeseq.runtime import load

_ROUNDS = 15
_ROUND_SECONDS = 0.02
_MOST_CALLS = 1000


def seconds(dist: Path) -> float:
    """Return the median time of a step; of a model without steps, that of a sequence per step."""
    model = load(dist)
    whole = not model.has_step
    work = frames.recorded(dist, model, whole=whole)
    side = Compiled(model, work)
    side.reset()
    side.time(3)  # caches, lazy initialisation
    once = side.time(1)
    calls = max(1, min(_MOST_CALLS, int(_ROUND_SECONDS / max(once, 1e-9))))
    taken = [side.time(calls) / calls for _ in range(_ROUNDS)]
    return statistics.median(taken) / ((work.steps or 1) if whole else 1)
