"""Train the denoiser: `python train.py`. Needs espeak-ng, torch and numpy, no data."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import noises
from data import Mixer, noise_bank, si_snr
from model import HOP, SAMPLE_RATE, WEIGHTS, Denoiser, load
from speech import corpus

HERE = Path(__file__).parent
EVERY = 50  # steps between reports


def loss(model: Denoiser, noisy: Tensor, clean: Tensor, keep: float) -> Tensor:
    """Compare compressed spectra, which weigh quiet parts as an ear does, and waves.

    Louder mixtures must not weigh more, so both are scaled to the same level; the gains have
    seen the true level. In doubt the smallest error is too little of everything: `keep` is the
    extra weight of speech that is cut too far.
    """
    level = noisy.square().mean(1, keepdim=True).sqrt() + 1e-5
    bins = model.enhance(model.analysis(noisy)) / level.unsqueeze(2)
    target = model.analysis(clean / level)
    size, wanted = _magnitude(bins), _magnitude(target)
    squeezed, aim = size**0.3, wanted**0.3
    spectral = (squeezed - aim).square().mean() + keep * (aim - squeezed).relu().square().mean()
    turned = torch.view_as_real(bins) * (squeezed / size).unsqueeze(-1)
    aimed = torch.view_as_real(target) * (aim / wanted).unsqueeze(-1)
    phase_aware = (turned - aimed).square().sum(-1).mean()
    speaking = clean.square().mean(1) > 1e-9
    wave = si_snr(model.synthesis(bins)[speaking, HOP:], clean[speaking, :-HOP]).mean()
    return 0.7 * spectral + 0.3 * phase_aware - 0.01 * wave


def _magnitude(bins: Tensor) -> Tensor:
    return (bins.real.square() + bins.imag.square() + 1e-5).sqrt()


def make_mixer(seconds: float, sentences: int, clips: int, seed: int) -> Mixer:
    """Return the training mixtures."""
    voices = corpus("train", sentences, seed=1, cache=HERE / "build")
    length = int(seconds * SAMPLE_RATE) // HOP * HOP
    bank = noise_bank(noises.TRAIN, clips, 2 * length, voices, seed)
    return Mixer(voices, np.concatenate(list(bank.values())), length)


def train(arguments: argparse.Namespace) -> None:
    """Train for a number of steps, with a learning rate that falls to almost zero by then."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    mixer = make_mixer(arguments.seconds, arguments.sentences, arguments.clips, arguments.seed)
    model = load(arguments.resume) if arguments.resume else Denoiser()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _warm_cosine(step, arguments.steps)
    )
    recent = 0.0
    for step in range(1, arguments.steps + 1):
        batch = mixer.batch(arguments.batch, rng)
        value = loss(model, batch.noisy, batch.clean, arguments.keep)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += value.item() / EVERY
        if step % EVERY == 0:
            print(f"step {step} of {arguments.steps}  loss {recent:.4f}", flush=True)
            recent = 0.0
            save_file(model.state_dict(), arguments.output)
    save_file(model.state_dict(), arguments.output)


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--resume", type=Path, help="weights to start from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--keep", type=float, default=0, help="weight of speech cut too far")
    parser.add_argument("--seconds", type=float, default=4, help="length of a mixture")
    parser.add_argument("--sentences", type=int, default=2400, help="spoken sentences")
    parser.add_argument("--clips", type=int, default=100, help="clips of each noise")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
