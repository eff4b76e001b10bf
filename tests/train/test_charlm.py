"""A character model loses little when it is pruned to a tenth while it learns."""

from __future__ import annotations

import pytest
import torch

from edgeseq.train.torch_gradual import GradualPruner
from tests.train import charlm

STEPS = 1500


def fit(text: torch.Tensor, prune: bool) -> charlm.Model:
    torch.manual_seed(1)
    model = charlm.Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    if prune:
        with GradualPruner(
            model,
            optimizer,
            sparsity=0.9,
            pattern="unstructured",
            begin=STEPS // 5,
            end=STEPS * 3 // 5,
            every=STEPS // 30,
            together=True,
            only=["lstm.*"],
        ):
            charlm.train(model, optimizer, text, STEPS, 1)
        for name, weight in model.lstm.named_parameters():
            assert "bias" in name or (weight == 0).any()
    else:
        charlm.train(model, optimizer, text, STEPS, 1)
    return model


@pytest.mark.measure
@pytest.mark.parametrize("kind", ["generated", "licences"])
def test_a_tenth_of_the_weights(kind: str) -> None:
    if kind == "licences" and not charlm.LICENCES.is_dir():
        pytest.skip("needs Debian's base-files")
    text = charlm.codes(charlm.generated(400_000, 1) if kind == "generated" else charlm.licences())
    cut = len(text) * 9 // 10
    dense, sparse = (
        charlm.perplexity(fit(text[:cut], prune), text[cut:]) for prune in (False, True)
    )
    assert 1 < dense < 12
    assert sparse <= 1.05 * dense
