"""Generated noises: a family is a function from a random generator and a length to a clip.

`TRAIN` families are learnt from, `HELD_OUT` families are only ever heard in the evaluation.
Babble is made of speech and is added by `data.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Family = Callable[[np.random.Generator, int], Wave]
Array = NDArray[np.floating]

RATE = 16_000


def white(rng: np.random.Generator, n: int) -> Wave:
    """Flat."""
    return _unit(rng.normal(0, 1, n))


def coloured(rng: np.random.Generator, n: int) -> Wave:
    """Power falling as a random power of the frequency: pink, brown and between."""
    slope = rng.uniform(-0.3, 1.3)
    return _unit(_shape(rng.normal(0, 1, n), lambda f: (f + 20) ** -slope))


def shaped(rng: np.random.Generator, n: int) -> Wave:
    """A random smooth spectrum, slowly changing loudness."""
    knots = rng.normal(0, 12, 10).cumsum()
    noise = _shape(rng.normal(0, 1, n), lambda f: _decibels(np.interp(f, _log_knots(10), knots)))
    return _unit(noise * _decibels(_drift(rng, n, rng.uniform(0.1, 2), rng.uniform(0, 6))))


def hum(rng: np.random.Generator, n: int) -> Wave:
    """Mains hum: harmonics of 50 or 60 Hz over a little noise."""
    base = float(rng.choice([50.0, 60.0, 100.0, 120.0])) * rng.uniform(0.99, 1.01)
    phase = 2 * np.pi * base / RATE * np.arange(n)
    total = rng.normal(0, rng.uniform(0.005, 0.1), n)
    for harmonic in range(1, int(rng.integers(4, 30))):
        loudness = rng.exponential() / harmonic ** rng.uniform(0.3, 1.5)
        total += loudness * np.sin(harmonic * phase + rng.uniform(0, 6.3))
    return _unit(total)


def clicks(rng: np.random.Generator, n: int) -> Wave:
    """Keys, taps and knocks: short resonant bursts, in flurries, over faint noise."""
    total = rng.normal(0, rng.uniform(0.001, 0.02), n)
    resonances = rng.uniform(200, 6000, 4)
    for _ in range(int(n / RATE * rng.uniform(2, 12))):
        burst = rng.uniform(0.2, 1) * _knock(rng, float(rng.choice(resonances)))
        place = int(rng.integers(0, max(1, n - len(burst))))
        total[place : place + len(burst)] += burst[: n - place]
    return _unit(total)


def fan(rng: np.random.Generator, n: int) -> Wave:
    """Fans and engines: broad noise that swells with the rotation, and its tones."""
    rate = rng.uniform(8, 140)
    phase = 2 * np.pi * rate * np.arange(n) / RATE + _drift(rng, n, 1, 1)
    corner = rng.uniform(150, 3000)
    air = _shape(rng.normal(0, 1, n), lambda f: 1 / (1 + (f / corner) ** rng.uniform(0.8, 2)))
    air = _unit(air) * (1 + rng.uniform(0, 0.7) * np.sin(phase))
    for harmonic in range(1, 12):
        air += rng.exponential() * rng.uniform(0, 0.4) / harmonic**0.7 * np.sin(harmonic * phase)
    return _unit(air)


def rumble(rng: np.random.Generator, n: int) -> Wave:
    """A street: low noise, and passing swells of brighter noise."""
    corner = rng.uniform(60, 400)
    low = _unit(_shape(rng.normal(0, 1, n), lambda f: 1 / (1 + (f / corner) ** 2)))
    bright = _unit(_shape(rng.normal(0, 1, n), lambda f: f / (1 + (f / 1200) ** 2.5)))
    return _unit(low + rng.uniform(0.05, 0.6) * bright * _decibels(_drift(rng, n, 0.7, 10)))


def tones(rng: np.random.Generator, n: int) -> Wave:
    """Music-like: notes of a scale with harmonics, decaying, sometimes chords and vibrato."""
    total = rng.normal(0, 0.003, n)
    root, length = rng.uniform(80, 500), rng.uniform(0.15, 1.0)
    for beat in np.arange(0, n / RATE, length):
        for _ in range(int(rng.integers(1, 4))):
            note = root * 2 ** (int(rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 16, 19])) / 12)
            total += _note(rng, n, beat, note, length * rng.uniform(0.5, 2))
    return _unit(total)


def scrape(rng: np.random.Generator, n: int) -> Wave:
    """Rustle and scraping: band noise in irregular strokes."""
    centre, width = rng.uniform(500, 6000), rng.uniform(0.2, 1.0)
    band = _shape(rng.normal(0, 1, n), lambda f: np.exp(-((np.log((f + 1) / centre) / width) ** 2)))
    strokes = np.clip(_drift(rng, n, rng.uniform(2, 12), 1), 0, None) ** 2
    return _unit(band * strokes + 0.01 * rng.normal(0, 1, n))


def rain(rng: np.random.Generator, n: int) -> Wave:
    """Thousands of droplets, each a short high ring (held out)."""
    hits = np.zeros(n)
    count = int(n / RATE * rng.uniform(300, 3000))
    hits[rng.integers(0, n, count)] = rng.normal(0, 1, count) * rng.exponential(1, count)
    ring = np.exp(-np.arange(200) / 25) * np.sin(np.arange(200) * rng.uniform(0.8, 2.2))
    return _unit(_convolve(hits, ring) + 0.1 * rng.normal(0, 1, n) * hits.std())


def siren(rng: np.random.Generator, n: int) -> Wave:
    """A tone sweeping up and down, with harmonics (held out)."""
    swing = np.sin(2 * np.pi * rng.uniform(0.2, 2.5) * np.arange(n) / RATE + rng.uniform(0, 6.3))
    phase = np.cumsum(2 * np.pi * rng.uniform(700, 1100) * 2 ** (0.5 * swing) / RATE)
    voice = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    return _unit(voice + 0.05 * rng.normal(0, 1, n))


def train_ride(rng: np.random.Generator, n: int) -> Wave:
    """Wheels on rail joints over a rolling drone (held out)."""
    drone = _unit(_shape(rng.normal(0, 1, n), lambda f: 1 / (1 + (f / 250) ** 1.5)))
    total = drone.astype(np.float64)
    period = rng.uniform(0.5, 1.2)
    for start in np.arange(0, n / RATE, period):
        for offset in (0.0, 0.13):
            place = int((start + offset) * RATE)
            knock = 3 * _knock(rng, rng.uniform(120, 500))[: max(0, n - place)]
            total[place : place + len(knock)] += knock
    return _unit(total)


def drill(rng: np.random.Generator, n: int) -> Wave:
    """A power tool: buzz whose speed sags under load, in bursts (held out)."""
    speed = rng.uniform(120, 320) * _decibels(_drift(rng, n, 0.8, 1.5))
    phase = np.cumsum(2 * np.pi * speed / RATE)
    buzz = np.tanh(4 * np.sin(phase)) + 0.5 * np.sin(7.3 * phase)
    on = 0.1 + 0.9 / (1 + np.exp(-4 * _drift(rng, n, 0.5, 1)))
    return _unit(on * (buzz + 0.7 * np.diff(rng.normal(0, 1, n + 1))))


TRAIN: Mapping[str, Family] = {
    family.__name__: family
    for family in (white, coloured, shaped, hum, clicks, fan, rumble, tones, scrape)
}
HELD_OUT: Mapping[str, Family] = {
    family.__name__: family for family in (rain, siren, train_ride, drill)
}


def _unit(samples: Array) -> Wave:
    """Scale to a mean power of one."""
    return np.asarray(samples / np.sqrt(np.mean(samples**2) + 1e-12), np.float32)


def _shape(samples: Array, response: Callable[[Array], Array]) -> Array:
    """Filter by a magnitude response over hertz."""
    spectrum = np.fft.rfft(samples)
    return np.fft.irfft(spectrum * response(np.fft.rfftfreq(len(samples), 1 / RATE)), len(samples))


def _convolve(samples: Array, kernel: Array) -> Array:
    size = len(samples)
    return np.fft.irfft(np.fft.rfft(samples) * np.fft.rfft(kernel, size), size)


def _log_knots(count: int) -> Array:
    return np.geomspace(60, 8000, count)


def _decibels(level: Array) -> Array:
    return np.asarray(10 ** (level / 20))


def _drift(rng: np.random.Generator, n: int, hertz: float, size: float) -> Array:
    """Random smooth curve with about `hertz` turns a second and deviation `size`."""
    knots = rng.normal(0, size, int(n / RATE * hertz * 2) + 4)
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)


def _knock(rng: np.random.Generator, hertz: float) -> Array:
    """A burst of noise and two resonances that die away within some 10 to 60 ms."""
    ticks = np.arange(1600)
    fade = np.exp(-ticks / (RATE * rng.uniform(0.002, 0.015)))
    ring = np.sin(2 * np.pi * hertz / RATE * ticks) + np.sin(2 * np.pi * 1.7 * hertz / RATE * ticks)
    return np.asarray(fade * (rng.uniform(0.2, 1) * ring + rng.normal(0, 0.6, 1600)))


def _note(rng: np.random.Generator, n: int, start: float, hertz: float, length: float) -> Array:
    """Return one note in `n` samples of silence; it is inaudible after three lengths."""
    first = int(start * RATE)
    count = min(n - first, int(3 * length * RATE))
    ticks = np.arange(count) / RATE
    vibrato = rng.uniform(0, 3) * np.sin(2 * np.pi * rng.uniform(4, 7) * ticks)
    line = np.zeros(n)
    for harmonic in range(1, int(rng.integers(2, 8))):
        if harmonic * hertz < RATE / 2:
            wave = np.sin(harmonic * (2 * np.pi * hertz * ticks + vibrato))
            line[first : first + count] += wave / harmonic**1.2
    line[first : first + count] *= np.exp(-3 * ticks / length) * rng.uniform(0.3, 1)
    return line
