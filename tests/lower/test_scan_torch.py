"""Recurrences looped by torch's scan become one kernel."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

import edgeseq
from edgeseq import validate


class Selective(nn.Module):
    """A selective scan as one writes it in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.a_log = nn.Parameter(torch.rand(6, 4))
        self.skip = nn.Parameter(torch.rand(6))
        self.steps, self.select = nn.Linear(6, 6), nn.Linear(6, 8)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Input [T, B, 6], state [B, 6, 4]."""
        a = -torch.exp(self.a_log)
        dt = nn.functional.softplus(self.steps(x))
        b, c = self.select(x).chunk(2, dim=-1)

        def step(h: Tensor, frame: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            x, dt, b, c = frame
            h = torch.exp(dt[..., None] * a) * h + (dt * x)[..., None] * b[:, None]
            return h, (h * c[:, None]).sum(-1) + self.skip * x

        last, y = scan(step, state, (x, dt, b, c))
        return y, last


def test_a_selective_scan(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(5, 2, 6), torch.randn(2, 6, 4))
    dynamic = {"x": {0: "T"}}
    built = edgeseq.compile(
        Selective(), inputs, dynamic=dynamic, targets=("c",), output=tmp_path / "d"
    )
    verdict = validate.check(built.folder, "c")
    assert verdict.ok, validate.to_text(verdict)
    names = [kernel["name"] for kernel in built.manifest["kernels"]]
    assert sorted(names) == ["gemm_f32", "gemm_f32", "selective_scan_f32"]
