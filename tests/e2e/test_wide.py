"""Models with rare operators, from PyTorch to checked numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import edgeseq
from edgeseq import validate
from edgeseq.runtime import host_target
from tests.zoo import wide

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("make", [wide.spectral_mask, wide.cached_attention])
def test_compiles_and_computes_the_same(make: Callable[[], Any], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    module, inputs, _ = make()
    target = host_target()
    artifact = edgeseq.compile(
        module, inputs, targets=[target], output=tmp_path / "dist", cache=False, stream=False
    )
    validate.require([validate.check(artifact.folder, target)])
    with torch.no_grad():
        want = module(*inputs)
    got = artifact.load(target).run(*(x.numpy() for x in inputs))
    for one, other in zip(as_list(want), as_list(got), strict=True):
        torch.testing.assert_close(torch.from_numpy(other), one, rtol=1e-4, atol=1e-5)


def as_list(result: Any) -> list[Any]:
    return (
        list(result.values() if isinstance(result, dict) else result)
        if isinstance(result, (dict, tuple, list))
        else [result]
    )
