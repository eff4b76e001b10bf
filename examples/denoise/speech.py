"""Synthetic speech: sentences of our own, spoken by espeak-ng in many voices.

Training and held-out sets share no voice variant and no language.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]

SAMPLE_RATE = 16_000

TRAIN_VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m8 f1 f2 f3 f5 klatt klatt2 klatt4 klatt6 Alex Alicia Andrea Andy adam "
    "antonio anika aunty benjamin boris caleb david Denis Diogo ed edward Gene gustave Henrique "
    "iven Jacky Lee marcelo Marco max michel miguel Mike norbert pablo paul quincy rob sandro "
    "steph travis victor zac grandma grandpa whisper croak"
)
TRAIN_LANGUAGES = "en-us en-gb en-gb-scotland de fr-fr es it pt nl sv ru tr hi sw id"

HELD_OUT_VARIANTS = "m7 f4 klatt3 klatt5 Annie belinda Hugo john linda Michael robert shelby"
HELD_OUT_LANGUAGES = "en-us-nyc en-gb-x-rp pl fi el ro"

_SUBJECTS = (
    "my sister|the old baker|nobody|our neighbour|the captain|a tired doctor|the children|"
    "your teacher|the woman next door|every driver|a young painter|the whole team|uncle George|"
    "somebody|the night guard|this machine|a small yellow bird|the farmer's dog|Julia|the judge"
)
_VERBS = (
    "found|was looking for|never mentioned|carried|should have fixed|painted|is going to sell|"
    "forgot|wanted to show us|threw away|keeps asking about|bought|dropped|measured|used to love|"
    "could not believe|watches|will bring|has hidden|washed"
)
_OBJECTS = (
    "a box of fresh oranges|the broken window|three letters|the shortest way to the harbour|"
    "his favourite jacket|a very strange question|the keys of the garage|seven empty bottles|"
    "an enormous fish|the music on the radio|the last page of the book|her glasses|"
    "a cup of thick hot chocolate|that noisy engine|the measurement|some cheap furniture|"
    "the garden chairs|a joke about philosophers|the wrong number|my umbrella"
)
_ENDINGS = (
    "before breakfast|in the middle of the night|without saying a word|on the way to work|again|"
    "because it was raining|at half past six|just for fun|while the others slept|in Chicago|"
    "as fast as possible|behind the church|if you ask me|during the long journey|yesterday|"
    "with both hands|, of course|under the kitchen table|near the river|, and laughed"
)
_SHORT = (
    "yes|no, thank you|wait a moment|hello, is anybody there|what did you say|turn it off, please|"
    "I am not sure|call me back|good morning|who is it|zero, one, two, three|that is enough|"
    "open the door|how much is it|see you on Thursday|nineteen eighty four|oh, really|listen to me"
)
_ONSETS = "p t k b d g f s v z m n l r w h y ch sh j st tr pl br gr"
_VOWELS = "a e i o u ee oo ai ow er"
_CODAS = "|||n|m|l|r|s|t|k|ng|sh|nd"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Clips one after another in `samples`; clip i is `samples[starts[i] : starts[i + 1]]`."""

    samples: NDArray[np.int16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def clip(self, index: int) -> Wave:
        """Return one clip, full scale 1."""
        part = self.samples[self.starts[index] : self.starts[index + 1]]
        return np.asarray(part / 32768, np.float32)


def sentence(rng: np.random.Generator) -> str:
    """Return a sentence: mostly words, sometimes a short remark or invented words."""
    kind = rng.random()
    if kind < 0.15:
        return str(rng.choice(_SHORT.split("|")))
    if kind < 0.35:
        return " ".join(_invented_word(rng) for _ in range(int(rng.integers(3, 9))))
    parts = (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)
    return " ".join(str(rng.choice(part.split("|"))) for part in parts)


def corpus(kind: str, count: int, seed: int, cache: Path | None = None) -> Corpus:
    """Return `count` clips of held-out or training voices, from the cache if they are there.

    Args:
        kind: "train" or "held-out".
        count: Number of clips.
        seed: The same seed and the same espeak-ng give the same clips.
        cache: Folder to keep the clips in.
    """
    file = None if cache is None else cache / f"speech-{kind}-{count}-{seed}.npz"
    if file is not None and file.exists():
        with np.load(file) as kept:
            return Corpus(kept["samples"], kept["starts"])
    train = kind == "train"
    variants = (TRAIN_VARIANTS if train else HELD_OUT_VARIANTS).split()
    languages = (TRAIN_LANGUAGES if train else HELD_OUT_LANGUAGES).split()
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        # The sentences are English: other languages lend their sounds and melody.
        language = languages[0] if rng.random() < 0.4 else str(rng.choice(languages))
        clips.append(_speak(f"{language}+{rng.choice(variants)}", rng))
    made = Corpus(
        (np.concatenate(clips) * 32767).astype(np.int16),
        np.cumsum([0] + [len(c) for c in clips]),
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, samples=made.samples, starts=made.starts)
    return made


def _speak(voice: str, rng: np.random.Generator) -> Wave:
    """Speak one sentence at a random pace and pitch; peak 0.5."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise SystemExit("espeak-ng is missing; on Debian: apt-get install espeak-ng")
    pace, pitch = int(rng.integers(110, 230)), int(rng.integers(15, 90))
    command = [program, "-v", voice, "-s", str(pace), "-p", str(pitch), "--stdout", sentence(rng)]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate = _decode(sound)
    # Playing faster or slower than recorded moves the formants: a longer or shorter vocal tract.
    clip = _resample(samples, SAMPLE_RATE / rate * rng.uniform(0.87, 1.15))
    clip = _roughen(clip, rng)
    return np.asarray(clip * (0.5 / (np.abs(clip).max() + 1e-6)), np.float32)


def _roughen(clip: Wave, rng: np.random.Generator) -> Wave:
    """Add jitter and breath: a synthesiser's voice is too regular to learn real ones from."""
    ticks = np.arange(len(clip))
    knots = rng.normal(0, 1, len(clip) // 400 + 4).cumsum()
    knots -= np.linspace(knots[0], knots[-1], len(knots))
    shift = np.interp(ticks / 400, np.arange(len(knots)), knots) * rng.uniform(0, 2.5)
    jittered = np.interp(ticks + shift, ticks, clip)
    envelope = np.sqrt(np.convolve(jittered**2, np.ones(128) / 128, "same") + 1e-12)
    breath = np.diff(rng.normal(0, 1, len(clip) + 1)) * envelope
    return np.asarray(jittered + breath * 10 ** rng.uniform(-3, -1), np.float32)


def _resample(samples: Wave, ratio: float) -> Wave:
    """Change the length by `ratio` in the frequency domain."""
    count = int(len(samples) * ratio)
    spectrum = np.fft.rfft(samples)
    spectrum = np.pad(spectrum, (0, max(0, count // 2 + 1 - len(spectrum))))[: count // 2 + 1]
    return np.fft.irfft(spectrum, n=count).astype(np.float32)


def _decode(sound: bytes) -> tuple[Wave, int]:
    """Read 16-bit mono; espeak-ng writes an unknown length into a piped header."""
    with wave.open(io.BytesIO(sound)) as file:
        rate = file.getframerate()
    samples = np.frombuffer(sound[44 : len(sound) // 2 * 2], "<i2")
    return np.asarray(samples / 32768, np.float32), rate


def _invented_word(rng: np.random.Generator) -> str:
    parts = (_ONSETS.split(), _VOWELS.split(), _CODAS.split("|"))
    syllables = int(rng.integers(1, 4))
    return "".join(str(rng.choice(part)) for _ in range(syllables) for part in parts)
