"""A character model loses little when it is pruned to a tenth while it learns.

`python -m tests.train.test_charlm [KIND ...]` prints the measurements.
"""

from __future__ import annotations

import sys

import pytest
import torch

from edgeseq.ir.patterns import Pattern
from edgeseq.train.torch_gradual import GradualPruner
from edgeseq.train.torch_slots import choose, slots
from tests.train import charlm

# Steps, units of a layer, dropout. Without it the licences are learnt by heart from 2000 steps on.
PLANS = {"generated": (400, 128, 0.0), "licences": (3000, 128, 0.2)}


def fit(
    text: torch.Tensor, prune: bool, seed: int, steps: int, hidden: int, dropout: float = 0.0
) -> charlm.Model:
    torch.manual_seed(seed)
    model = charlm.Model(hidden, dropout)
    optimizer = torch.optim.Adam(model.parameters())
    if not prune:
        charlm.train(model, optimizer, text, steps, seed)
        return model
    with GradualPruner(
        model,
        optimizer,
        sparsity=0.9,
        pattern="unstructured",
        begin=steps // 10,
        end=steps // 2,
        every=steps // 50,
        together=True,
        only=["lstm.*"],
    ) as pruner:
        charlm.train(model, optimizer, text, steps, seed)
    assert pruner.sparsity == pytest.approx(0.9, abs=1e-4)
    return model


def measure(kind: str, seed: int) -> tuple[float, float]:
    """Return the perplexities of the dense and of the pruned model on text never seen."""
    text = charlm.codes(charlm.generated(400_000, 1) if kind == "generated" else charlm.licences())
    cut = len(text) * 9 // 10
    dense, sparse = (
        charlm.perplexity(fit(text[:cut], prune, seed, *PLANS[kind]), text[cut:])
        for prune in (False, True)
    )
    return dense, sparse


@pytest.mark.slow
def test_pruning_while_learning_beats_pruning_afterwards() -> None:
    text = charlm.codes(charlm.generated(60_000, 1))
    learnt, unseen = text[:50_000], text[50_000:]
    dense, sparse = (fit(learnt, prune, 1, 200, 64) for prune in (False, True))
    places = slots(dense, ["lstm.*"])
    masks = choose(places, Pattern.parse("unstructured"), 0.1, together=True)
    before, gradual = charlm.perplexity(dense, unseen), charlm.perplexity(sparse, unseen)
    with torch.no_grad():
        for slot in places:
            slot.weight.mul_(torch.from_numpy(masks[slot.path]))
    assert before < 3.5
    assert gradual < 6.0  # far too few steps for a tenth of the weights to catch up
    assert charlm.perplexity(dense, unseen) > 1.5 * gradual


@pytest.mark.measure
@pytest.mark.parametrize("kind", PLANS)
def test_a_tenth_of_the_weights(kind: str) -> None:
    if kind == "licences" and not charlm.LICENCES.is_dir():
        pytest.skip("needs Debian's base-files")
    dense, sparse = measure(kind, 1)
    assert 1 < dense < 12
    assert sparse <= 1.05 * dense


if __name__ == "__main__":
    for name in sys.argv[1:] or PLANS:
        before, after = measure(name, 1)
        print(f"{name:<10} {before:.3f} {after:.3f} {after / before - 1:+.1%}", flush=True)
