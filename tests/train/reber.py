"""Reber strings, and the networks of a pruning study on them (arXiv 2407.20601).

Strings are as in the data that the study published (innvariant/sparsity-experiments-2021): walks
of ten letters and more, all different; those that are not of the grammar are walks of the same
graph under other letters. A batch is padded behind, so that the answer has to be kept.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import torch
from torch import nn

from edgeseq.ir.patterns import Pattern
from edgeseq.train.torch_slots import choose, slots

Tensor = torch.Tensor

# Where each edge leads, by state; the letters of the edges, in the same order.
_EDGES = {0: [1], 1: [2, 3], 2: [2, 4], 3: [3, 5], 4: [3, 6], 5: [4, 6], 6: [7]}
_REBER = "B TP SX TV XS PV E"
# Letters of strings that are none: the grammar's own in other places, and others.
_OTHERS = (
    "B PT SX TV XS PV E",
    "B TP TV SX XS PV E",
    "B TP SX TV PV XS E",
    "B TP XS VT XS PV E",
    "B MN OQ WV UR ZY E",
    "B MN OQ CA UR FD E",
    "B QO MN CA UR FD E",
    "B AC DF JI HG LK E",
)
SHORTEST = 10


def walk(random: random.Random, letters: str = _REBER) -> str:
    """Return the letters of a walk; by default a string of the grammar."""
    state, text, named = 0, "", letters.split()
    while state != 7:
        edge = random.randrange(len(_EDGES[state]))
        text += named[state][edge]
        state = _EDGES[state][edge]
    return text


def accepts(text: str) -> bool:
    """Whether a string is one of the grammar."""
    state, named = 0, _REBER.split()
    for letter in text:
        edge = named[state].find(letter) if state < 7 else -1
        if edge < 0:
            return False
        state = _EDGES[state][edge]
    return state == 7


@dataclasses.dataclass(frozen=True)
class Strings:
    """Codes `[count, longest]`, zeros behind, labels (1: of the grammar) and lengths."""

    codes: Tensor
    labels: Tensor
    lengths: Tensor

    def __getitem__(self, place: slice | Tensor) -> Strings:
        return Strings(self.codes[place], self.labels[place], self.lengths[place])

    def cut(self) -> Tensor:
        """Return codes up to the longest of these strings."""
        return self.codes[..., : int(self.lengths.max())]

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Strings]:
        """Yield batches in order, or in random order."""
        count = len(self.codes)
        order = (
            torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        )
        for places in order.split(size):
            yield self[places]


def data(count: int, seed: int) -> Strings:
    """Return strings that all differ; every second one is of the grammar."""
    source, texts = random.Random(seed), dict[str, None]()
    while len(texts) < count:
        text = walk(source, _REBER if len(texts) % 2 else source.choice(_OTHERS))
        if len(text) >= SHORTEST and accepts(text) == len(texts) % 2:
            texts[text] = None
    codes = [torch.tensor([ord(letter) for letter in text]) for text in texts]
    return Strings(
        nn.utils.rnn.pad_sequence(codes, batch_first=True),
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
    for batch in strings.batches(32, generator):
        loss = nn.functional.cross_entropy(model(batch.cut()), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def accuracy(model: Judge, strings: Strings) -> float:
    """Return the share judged rightly."""
    right = 0
    with torch.no_grad():
        for batch in strings.batches(32):
            right += int((model(batch.cut()).argmax(1) == batch.labels).sum())
    return right / len(strings.labels)


def prune(model: Judge, sparsity: float) -> None:
    """Zero the smallest weights of all recurrent matrices together."""
    places = slots(model, ["layers.*"])
    masks = choose(places, Pattern.parse("unstructured"), 1 - sparsity, together=True)
    with torch.no_grad():
        for slot in places:
            slot.weight.mul_(torch.from_numpy(masks[slot.path]))
