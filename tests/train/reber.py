"""Reber strings, and the networks of a pruning study on them (arXiv 2407.20601)."""

from __future__ import annotations

import dataclasses
import random

import torch
from torch import nn

from edgeseq.ir.patterns import Pattern
from edgeseq.train.torch_slots import choose, slots

Tensor = torch.Tensor

_EDGES: dict[int, str] = {0: "B1", 1: "T2P3", 2: "S2X4", 3: "T3V5", 4: "X3S6", 5: "P4V6", 6: "E7"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTH = 32


def walk(random: random.Random) -> str:
    """Return a string of the grammar."""
    state, text = 0, ""
    while state != 7:
        edges = _EDGES[state]
        pick = 2 * random.randrange(len(edges) // 2)
        text += edges[pick]
        state = int(edges[pick + 1])
    return text


def accepts(text: str) -> bool:
    """Whether a string is one of the grammar."""
    state = 0
    for letter in text:
        edges = _EDGES.get(state, "")
        place = edges[::2].find(letter)
        if place < 0:
            return False
        state = int(edges[2 * place + 1])
    return state == 7


def altered(random: random.Random) -> str:
    """Return a walk with letters changed until it is none."""
    text = walk(random)
    while accepts(text):
        place = random.randrange(len(text))
        text = text[:place] + random.choice(_LETTERS) + text[place + 1 :]
    return text


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return codes `[count, LENGTH]`, padded in front, and labels: half are of the grammar."""
    source = random.Random(seed)
    texts = []
    while len(texts) < count:
        text = walk(source) if len(texts) % 2 else altered(source)
        if len(text) <= LENGTH:
            texts.append(text)
    codes = [[0] * (LENGTH - len(text)) + [ord(letter) for letter in text] for text in texts]
    return torch.tensor(codes), torch.tensor([i % 2 for i in range(count)])


@dataclasses.dataclass(frozen=True)
class Data:
    """Codes and labels to learn from, and others to be judged by."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def split(seed: int, count: int = 25_000) -> Data:
    """Return three quarters to learn from."""
    codes, labels = data(count, seed)
    cut = count * 3 // 4
    return Data((codes[:cut], labels[:cut]), (codes[cut:], labels[cut:]))


class Judge(nn.Module):
    """Embedding 50, three recurrent layers of 50, two classes."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}
        extra = {"nonlinearity": cell} if kinds[cell] is nn.RNN else {}
        self.embed = nn.Embedding(128, 50)
        self.layers = kinds[cell](50, 50, num_layers=3, batch_first=True, **extra)
        self.head = nn.Linear(50, 2)

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.head(self.layers(self.embed(codes))[0][:, -1])
        return scores


def train(
    model: Judge, optimizer: torch.optim.Optimizer, codes: Tensor, labels: Tensor, seed: int
) -> None:
    """One epoch in batches of 32, gradients clipped at 5."""
    generator = torch.Generator().manual_seed(seed)
    for batch in torch.randperm(len(codes), generator=generator).split(32):
        loss = nn.functional.cross_entropy(model(codes[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def accuracy(model: Judge, codes: Tensor, labels: Tensor) -> float:
    """Return the share judged rightly."""
    with torch.no_grad():
        return float((model(codes).argmax(1) == labels).float().mean())


def prune(model: Judge, sparsity: float) -> None:
    """Zero the smallest weights of all recurrent matrices together."""
    places = slots(model, ["layers.*"])
    masks = choose(places, Pattern.parse("unstructured"), 1 - sparsity, together=True)
    with torch.no_grad():
        for slot in places:
            slot.weight.mul_(torch.from_numpy(masks[slot.path]))
