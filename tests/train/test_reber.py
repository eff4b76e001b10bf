"""Reber strings: pruning without retraining costs nothing up to the study's safe levels.

`python -m tests.train.test_reber [CELL ...]` prints the measurements.
"""

from __future__ import annotations

import copy
import dataclasses
import random
import statistics
import sys
from collections.abc import Sequence

import pytest
import torch

from edgeseq.train.torch_gradual import GradualPruner
from tests.train import reber, reber_stack

# Of the study: the sparsity it calls safe, accuracy there without retraining, and dense.
SAFE = {
    "tanh": (0.8, 0.919, 0.937),
    "relu": (0.7, 0.986, 1.0),
    "lstm": (0.6, 1.0, 1.0),
    "gru": (0.8, 0.994, 1.0),
}
GATED = ("lstm", "gru")
SEEDS = (1, 2, 3, 4, 5)
EPOCHS_AFTER = 10
RETRAINED = 0.999  # LSTM and GRU after pruning by 90 %


@dataclasses.dataclass(frozen=True)
class Found:
    """Accuracies on strings never seen, one per seed."""

    dense: list[float]
    safe: list[float]
    retrained: list[list[float]]  # after each epoch


def test_the_grammar() -> None:
    source = random.Random(1)
    walks = [reber.walk(source) for _ in range(200)]
    assert all(reber.accepts(text) for text in walks)
    assert all(text[0] == "B" and text[-1] == "E" for text in walks)
    assert reber.accepts("BTSSXXTVVE")
    assert not reber.accepts("BTSSXXTVV")
    assert not reber.accepts("BTSSXXTVVEE")
    data = reber.data(50, 1)
    texts = ["".join(map(chr, codes[codes > 0])) for codes in data.codes.numpy()]
    assert len(set(texts)) == 50
    assert [reber.accepts(text) for text in texts] == data.labels.bool().tolist()
    assert [len(text) for text in texts] == data.lengths.tolist()
    assert min(data.lengths) >= reber.SHORTEST
    assert int(data.labels.sum()) == 25
    batches = list(data.batches(4, torch.Generator().manual_seed(1)))
    assert sum(len(batch.labels) for batch in batches) == 50
    assert all(batch.cut()[:, -1].max() > 0 for batch in batches)  # as long as the longest


def measure(cell: str, seeds: Sequence[int], data: reber.Data) -> Found:
    """Train, prune to the safe level, prune to 90 % and retrain."""
    judges = reber_stack.fit(cell, seeds, data.train, reber_stack.PLANS[cell])
    dense = accuracies(judges, data.test)
    safe = copy.deepcopy(judges)
    reber_stack.prune(safe, SAFE[cell][0])
    retrained = []
    if cell in GATED:
        reber_stack.prune(judges, 0.9)
        while len(retrained) < EPOCHS_AFTER and median(retrained) < RETRAINED:
            reber_stack.retrain(judges, data.train, 100 + len(retrained))
            retrained.append(accuracies(judges, data.test))
    return Found(dense, accuracies(safe, data.test), retrained)


def accuracies(judges: reber_stack.Judges, strings: reber.Strings) -> list[float]:
    """Return one per seed."""
    count = len(judges.stacks[0])
    return [reber.accuracy(judges.single(place), strings) for place in range(count)]


def median(retrained: list[list[float]]) -> float:
    """Return that of the last epoch; 0 before there was one."""
    return statistics.median(retrained[-1]) if retrained else 0.0


def test_stacked_judges_are_judges() -> None:
    data = reber.data(200, 1)
    codes = data[torch.arange(4)].cut()
    for cell in SAFE:
        judges = reber_stack.Judges(cell, (1, 2))
        both = judges(torch.stack([codes, codes.flip(0)]))
        torch.testing.assert_close(both[0], judges.single(0)(codes))
        torch.testing.assert_close(both[1].flip(0), judges.single(1)(codes))


@pytest.mark.slow
def test_gradual_pruner_retrains_a_judge() -> None:
    """A twentieth of the weights learns the task when it is trained, and does not without."""
    torch.manual_seed(1)
    data, model = reber.split(1, 4000), reber.Judge("lstm")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for seed in range(2):
        reber.train(model, optimizer, data.train, seed)
    dense = reber.accuracy(model, data.test)
    pruner = GradualPruner(
        model,
        optimizer,
        sparsity=0.95,
        pattern="unstructured",
        end=0,
        together=True,
        only=["layers.*"],
    )
    assert pruner.sparsity == pytest.approx(0.95, abs=1e-4)
    assert reber.accuracy(model, data.test) < dense - 0.1
    for seed in range(2):
        reber.train(model, optimizer, data.train, 10 + seed)
    assert reber.accuracy(model, data.test) > dense - 0.01


@pytest.mark.measure
@pytest.mark.parametrize("cell", SAFE)
def test_safe_levels(cell: str) -> None:
    found = measure(cell, SEEDS, reber.split(1))
    assert statistics.median(found.dense) >= SAFE[cell][2] - 0.03
    assert statistics.median(found.safe) >= SAFE[cell][1] - 0.02
    if cell in GATED:
        assert median(found.retrained) >= RETRAINED


if __name__ == "__main__":
    for name in sys.argv[1:] or SAFE:
        found = measure(name, SEEDS, reber.split(1))
        print(name, "dense", *found.dense, "safe", *found.safe, flush=True)
        for count, each in enumerate(found.retrained, 1):
            print(name, f"at 90 %, {count} epochs of retraining", *each, flush=True)
