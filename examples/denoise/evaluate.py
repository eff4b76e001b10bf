"""Measure the denoiser: `python evaluate.py [--recording NOISY.wav [--reference ENHANCED.wav]]`.

Without arguments: SI-SNR before and after, on voices and languages never trained on, for each
kind of noise and each input SNR, next to a classical Wiener filter. With a recording: how far
the noise falls in the pauses, and the distance to another denoiser's output.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import noises
import wav
from data import Batch, Mixer, noise_bank, si_snr
from model import HOP, SAMPLE_RATE, WEIGHTS, Denoiser, load
from speech import corpus
from wiener import wiener

HERE = Path(__file__).parent
LENGTH = 6 * SAMPLE_RATE // HOP * HOP
SNRS = (-5, 0, 5, 10, 15, 20)


@dataclasses.dataclass(frozen=True)
class Score:
    """SI-SNR in dB of each mixture: of the input, of the model and of the Wiener filter."""

    noisy: Tensor
    model: Tensor
    wiener: Tensor

    def row(self) -> str:
        """Return three cells of a table."""
        gain = self.model - self.noisy
        base = self.wiener - self.noisy
        return f"{self.noisy.mean():6.1f} | {gain.mean():+6.1f} | {base.mean():+6.1f}"


def score(model: Denoiser, batch: Batch) -> Score:
    """Denoise a batch; outputs are moved one hop back to where the input was."""
    bins = model.analysis(batch.noisy)
    clean = batch.clean[:, :-HOP]
    values = [batch.noisy[:, :-HOP]]
    values += [model.synthesis(method(bins))[:, HOP:] for method in (model.enhance, wiener)]
    return Score(*(si_snr(value, clean) for value in values))


def held_out(model: Denoiser, count: int) -> None:
    """Print the tables: `count` mixtures for each noise and SNR."""
    voices = corpus("held-out", 240, seed=1001, cache=HERE / "build")
    families = {**noises.HELD_OUT, **noises.TRAIN}
    bank = noise_bank(families, count, LENGTH, voices, seed=1002)
    rng = np.random.default_rng(1003)
    scores: dict[tuple[str, int], Score] = {}
    for name in ("babble", *families):
        for snr in SNRS:
            mixer = Mixer(voices, bank[name], LENGTH, snr=(snr, snr), special=0)
            scores[name, snr] = score(model, mixer.batch(count, rng))
    print("| noise | SI-SNR in, dB | gain | gain of a Wiener filter |\n|---|---|---|---|")
    for name in ("babble", *families):
        note = "new kind" if name in noises.HELD_OUT else "known kind"
        note = "new voices" if name == "babble" else note
        print(f"| {name} ({note}) | {_join(scores[name, snr] for snr in SNRS).row()} |")
    print("\n| SNR, dB | SI-SNR in, dB | gain | gain of a Wiener filter |\n|---|---|---|---|")
    for snr in SNRS:
        print(f"| {snr} | {_join(s for (_, at), s in scores.items() if at == snr).row()} |")
    print(f"| all | {_join(scores.values()).row()} |")


def recording(model: Denoiser, noisy: Tensor, reference: Tensor | None) -> None:
    """Print what the model does to a real recording, and how near it comes to a reference."""
    length = len(noisy) // HOP * HOP
    padded = torch.nn.functional.pad(noisy[:length], (0, HOP)).unsqueeze(0)
    waves = {"recording": noisy[:length], "this model": model.sequence(padded)[0, HOP:]}
    waves["wiener"] = model.synthesis(wiener(model.analysis(padded)))[0, HOP:]
    if reference is not None:
        waves["reference"] = _align(reference, noisy[:length])
    judge = waves.get("reference", waves["this model"])
    level = _levels(judge)
    pause, active = level < level.max() - 45, level > level.max() - 25
    print(f"{length / SAMPLE_RATE:.1f} s, {pause.float().mean():.0%} of it pauses\n")
    print("| | pauses, dBFS | speech, dBFS | centroid, Hz | SI-SDR to reference, dB |")
    print("|---|---|---|---|---|")
    for name, wave in waves.items():
        power = [_mean_level(_levels(wave)[blocks]) for blocks in (pause, active)]
        near = "" if reference is None or name == "reference" else f"{si_snr(wave, judge):.1f}"
        print(f"| {name} | {power[0]:.1f} | {power[1]:.1f} | {_centroid(wave):.0f} | {near} |")


def _join(scores: Iterable[Score]) -> Score:
    together = [(s.noisy, s.model, s.wiener) for s in scores]
    return Score(*(torch.cat(parts) for parts in zip(*together, strict=True)))


def _levels(wave: Tensor) -> Tensor:
    """Return the level of each block of 16 ms in dB of full scale."""
    blocks = wave[: len(wave) // HOP * HOP].reshape(-1, HOP)
    return 10 * torch.log10(blocks.square().mean(1) + 1e-10)


def _mean_level(levels: Tensor) -> float:
    """Return the level of the mean power."""
    return float(10 * torch.log10((10 ** (levels / 10)).mean()))


def _centroid(wave: Tensor) -> float:
    """Return the mean frequency, weighted with power."""
    power = torch.fft.rfft(wave.double()).abs().square()
    return float((power * torch.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)).sum() / power.sum())


def _align(other: Tensor, wave: Tensor) -> Tensor:
    """Shift `other` to where it correlates best with `wave`, and give it the same length."""
    size = 2 * max(len(other), len(wave))
    product = torch.fft.rfft(wave, size) * torch.fft.rfft(other, size).conj()
    lag = int(torch.fft.irfft(product, size).argmax())
    moved = torch.roll(torch.nn.functional.pad(other, (0, size - len(other))), lag)
    return moved[: len(wave)]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=8, help="mixtures for each noise and SNR")
    parser.add_argument("--recording", type=Path, help="a noisy 16 kHz wav file")
    parser.add_argument("--reference", type=Path, help="another denoiser's output for it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        model = load(arguments.weights)
        if arguments.recording is None:
            held_out(model, arguments.count)
            return
        noisy = torch.from_numpy(wav.read(arguments.recording))
        known = arguments.reference and torch.from_numpy(wav.read(arguments.reference))
        recording(model, noisy, known)


if __name__ == "__main__":
    main()
