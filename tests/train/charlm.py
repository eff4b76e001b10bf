"""Text to model letter by letter: sentences of a small grammar, and prose of a Debian package.

The generated part follows a probabilistic grammar; the other is the licences that Debian's package
`base-files` puts on every system.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import nn

Tensor = torch.Tensor

LICENCES = Path("/usr/share/common-licenses")  # of Debian's base-files
_RULES = {
    "S": ["N V", "N V and S", "N V because S"],
    "N": ["D A", "D A that V"],
    "D": ["the", "a", "every", "no"],
    "A": ["dog", "old house", "red ball", "small tree", "teacher", "green car"],
    "V": ["sees N", "sleeps", "runs", "likes N", "stands near N"],
}


def sentence(source: random.Random, symbol: str = "S", depth: int = 0) -> str:
    """Expand a symbol; deep down the first, shortest rule."""
    if symbol not in _RULES:
        return symbol
    rules = _RULES[symbol]
    rule = rules[0] if depth > 6 and symbol in "SN" else source.choice(rules)
    return " ".join(sentence(source, part, depth + 1) for part in rule.split())


def generated(letters: int, seed: int) -> str:
    """Return sentences, one a line."""
    source = random.Random(seed)
    lines: list[str] = []
    total = 0
    while total < letters:
        lines.append(sentence(source))
        total += len(lines[-1]) + 1
    return "\n".join(lines)[:letters]


def licences() -> str:
    """Return the text of the licences, each once."""
    files = sorted({file.resolve() for file in LICENCES.iterdir()})
    return "\n".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)


def codes(text: str) -> Tensor:
    """Return ASCII codes."""
    return torch.tensor([min(ord(letter), 127) for letter in text])


class Model(nn.Module):
    """Two LSTM layers between an embedding and a linear layer; dropout between the two."""

    def __init__(self, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(128, 64)
        self.lstm = nn.LSTM(64, hidden, num_layers=2, batch_first=True, dropout=dropout)
        self.head = nn.Linear(hidden, 128)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.lstm(self.embed(x))[0])
        return scores


def loss(model: nn.Module, rows: Tensor) -> Tensor:
    """Return the mean cross-entropy of the next letter."""
    scores = model(rows[:, :-1])
    return nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten())


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, text: Tensor, steps: int, seed: int
) -> None:
    """Steps of 32 rows of 96 letters from anywhere."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, 4 * (1 - step / steps))  # falls over the last quarter
        starts = torch.randint(0, len(text) - 97, (32,), generator=generator)
        rows = torch.stack([text[start : start + 97] for start in starts.tolist()])
        value = loss(model, rows)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def perplexity(model: nn.Module, text: Tensor) -> float:
    """Return the perplexity on rows of 256 letters."""
    model.eval()
    with torch.no_grad():
        rows = text[: len(text) // 257 * 257].reshape(-1, 257)
        return float(loss(model, rows).exp())
