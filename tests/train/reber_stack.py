"""Several judges of Reber strings that learn at once, one per seed.

Their weights lie on top of each other and every product is a batched one: networks as small as
these spend their time on calling, not on computing. `single` returns a plain one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from tests.train import reber
from tests.train.reber import Judge, Strings

Tensor = torch.Tensor


class Judges(nn.Module):
    """What `Judge` computes, for every seed."""

    def __init__(self, cell: str, seeds: Sequence[int]) -> None:
        super().__init__()
        self.cell = cell
        judges = []
        for seed in seeds:
            torch.manual_seed(seed)
            judges.append(dict(Judge(cell).named_parameters()))
        self.names = list(judges[0])
        self.stacks = nn.ParameterList(
            torch.stack([j[name] for j in judges]) for name in self.names
        )

    def single(self, place: int) -> Judge:
        """Return one of them."""
        judge = Judge(self.cell)
        own = {n: s[place].detach() for n, s in zip(self.names, self.stacks, strict=True)}
        judge.load_state_dict(own)
        return judge

    def forward(self, codes: Tensor) -> Tensor:
        """Map `[seeds, batch, steps]` to scores `[seeds, batch, classes]`."""
        by_name = dict(zip(self.names, self.stacks, strict=True))
        # One table of all seeds: an embedding's gradient is quicker than that of an index.
        first = 128 * torch.arange(len(codes))[:, None, None]
        table = by_name["embed.weight"].flatten(0, 1)
        x = nn.functional.embedding(codes.transpose(1, 2) + first, table)
        for layer in range(3):
            x = self._layer(x, *(by_name[f"layers.{kind}_l{layer}"] for kind in _KINDS))
        return torch.baddbmm(
            by_name["head.bias"][:, None], x[:, -1], by_name["head.weight"].transpose(1, 2)
        )

    def _layer(self, x: Tensor, w: Tensor, r: Tensor, b: Tensor, c: Tensor) -> Tensor:
        seeds, steps, batch, _ = x.shape
        projected = torch.baddbmm(b[:, None], x.flatten(1, 2), w.transpose(1, 2))
        inputs = projected.unflatten(1, (steps, batch)).unbind(1)
        bias, r = c[:, None].expand(-1, batch, -1), r.transpose(1, 2)
        h = state = x.new_zeros(seeds, batch, r.shape[1])
        outputs = []
        for given in inputs:
            recurrent = torch.baddbmm(bias, h, r)
            if self.cell == "gru":
                r_z, n = given.split([100, 50], -1)
                q_z, q = recurrent.split([100, 50], -1)
                reset, keep = (r_z + q_z).sigmoid().chunk(2, -1)
                h = torch.lerp((n + reset * q).tanh(), h, keep)
            elif self.cell == "lstm":
                i_f, g, o = (given + recurrent).split([100, 50, 50], -1)
                i, f = i_f.sigmoid().chunk(2, -1)
                state = torch.addcmul(f * state, i, g.tanh())
                h = o.sigmoid() * state.tanh()
            else:
                h = (
                    torch.relu(given + recurrent)
                    if self.cell == "relu"
                    else (given + recurrent).tanh()
                )
            outputs.append(h)
        return torch.stack(outputs, 1)


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclasses.dataclass(frozen=True)
class Plan:
    """AdamW: a rate that holds for some epochs, then falls to zero; the decay of matrices."""

    rate: float
    decay: float
    holds: int
    epochs: int


# The study took Adam at 1e-3 for 50 epochs. The task is learnt in one or two; what pruning leaves
# depends on how far weights that matter have grown beyond those that do not.
PLANS = {
    "gru": Plan(4e-3, 0.03, 1, 2),
    "lstm": Plan(4e-3, 0.03, 1, 2),
    "relu": Plan(6e-3, 0.1, 0, 6),
    "tanh": Plan(1e-3, 0.0, 4, 4),  # at higher rates it does not learn to keep the answer
}


def fit(cell: str, seeds: Sequence[int], strings: Strings, plan: Plan) -> Judges:
    """Train on batches of 32 of each seed, gradients of each clipped at 5."""
    model = Judges(cell, seeds)
    decays = [plan.decay if "layers.weight" in name else 0.0 for name in model.names]
    optimizer = torch.optim.AdamW(
        [{"params": [s], "weight_decay": d} for s, d in zip(model.stacks, decays, strict=True)],
        fused=True,
    )
    generator = torch.Generator().manual_seed(seeds[0])
    steps = -(-len(strings.codes) // 32)
    left, falling = steps * plan.epochs, steps * (plan.epochs - plan.holds)
    for _ in range(plan.epochs):
        for batch in _batches(strings, len(seeds), generator):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * min(1.0, left / max(1, falling))
            _step(model, optimizer, batch)
            left -= 1
    return model


def prune(model: Judges, sparsity: float) -> None:
    """Zero the smallest weights of all recurrent matrices of each judge."""
    with torch.no_grad():
        for place in range(len(model.stacks[0])):
            judge = model.single(place)
            reber.prune(judge, sparsity)
            pruned = judge.state_dict()
            for name, stack in zip(model.names, model.stacks, strict=True):
                stack[place].copy_(pruned[name])


def retrain(model: Judges, strings: Strings, seed: int) -> None:
    """One epoch as in the study; what is zero stays zero."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    masks = [stack != 0 for stack in model.stacks]
    for batch in _batches(strings, len(masks[0]), torch.Generator().manual_seed(seed)):
        _step(model, optimizer, batch)
        with torch.no_grad():
            for name, stack, mask in zip(model.names, model.stacks, masks, strict=True):
                if "layers.weight" in name:
                    stack.mul_(mask)


def _step(model: Judges, optimizer: torch.optim.Optimizer, batch: Strings) -> None:
    scores = model(batch.cut())
    loss = nn.functional.cross_entropy(scores.flatten(0, 1), batch.labels.flatten())
    optimizer.zero_grad()
    (loss * len(scores)).backward()
    gradients = [stack.grad for stack in model.stacks if stack.grad is not None]
    norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    scale = (5.0 / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
    optimizer.step()


def _batches(strings: Strings, seeds: int, generator: torch.Generator) -> Iterator[Strings]:
    """Yield strings `[seeds, 32]`, each seed in its own order."""
    count = len(strings.codes)
    orders = [torch.randperm(count, generator=generator) for _ in range(seeds)]
    for places in torch.stack(orders).split(32, 1):
        yield strings[places]
