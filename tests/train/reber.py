"""Reber strings, and the networks of a pruning study on them (arXiv 2407.20601)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

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


@dataclasses.dataclass(frozen=True)
class Strings:
    """Codes `[count, LENGTH]`, padded in front, labels (1: of the grammar) and lengths."""

    codes: Tensor
    labels: Tensor
    lengths: Tensor

    def __getitem__(self, place: slice) -> Strings:
        return Strings(self.codes[place], self.labels[place], self.lengths[place])

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield codes and labels of strings of one length each, so that nothing is padded."""
        order = torch.arange(len(self.codes))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        groups = [
            group
            for length in self.lengths.unique()
            for group in order[self.lengths[order] == length].split(size)
        ]
        if generator is not None:
            places = torch.randperm(len(groups), generator=generator).tolist()
            groups = [groups[place] for place in places]
        for group in groups:
            length = int(self.lengths[group[0]])
            yield self.codes[group, LENGTH - length :], self.labels[group]


def data(count: int, seed: int) -> Strings:
    """Return strings; every second one is of the grammar."""
    source = random.Random(seed)
    texts: list[str] = []
    while len(texts) < count:
        text = walk(source) if len(texts) % 2 else altered(source)
        if len(text) <= LENGTH:
            texts.append(text)
    codes = [[0] * (LENGTH - len(text)) + [ord(letter) for letter in text] for text in texts]
    return Strings(
        torch.tensor(codes),
        torch.tensor([i % 2 for i in range(count)]),
        torch.tensor([len(text) for text in texts]),
    )


@dataclasses.dataclass(frozen=True)
class Data:
    """Strings to learn from, and others to be judged by."""

    train: Strings
    test: Strings


def split(seed: int, count: int = 25_000) -> Data:
    """Return three quarters to learn from."""
    strings, cut = data(count, seed), count * 3 // 4
    return Data(strings[:cut], strings[cut:])


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


def train(model: Judge, optimizer: torch.optim.Optimizer, strings: Strings, seed: int) -> None:
    """One epoch in batches of 32, gradients clipped at 5."""
    generator = torch.Generator().manual_seed(seed)
    for codes, labels in strings.batches(32, generator):
        loss = nn.functional.cross_entropy(model(codes), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def accuracy(model: Judge, strings: Strings) -> float:
    """Return the share judged rightly."""
    right = 0
    with torch.no_grad():
        for codes, labels in strings.batches(1024):
            right += int((model(codes).argmax(1) == labels).sum())
    return right / len(strings.labels)


def prune(model: Judge, sparsity: float) -> None:
    """Zero the smallest weights of all recurrent matrices together."""
    places = slots(model, ["layers.*"])
    masks = choose(places, Pattern.parse("unstructured"), 1 - sparsity, together=True)
    with torch.no_grad():
        for slot in places:
            slot.weight.mul_(torch.from_numpy(masks[slot.path]))
