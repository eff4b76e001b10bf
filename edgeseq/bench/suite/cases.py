"""The registry of cases: which kernel, at which sizes, against whom, and by how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        family: `gru`, `lstm`, `rnn`, `gemv`, `pointwise`, `scan` or `fourier`.
        sizes: What the family needs: I, H and T; K and N; C, N and pixels; N points and M frames.
        form: Weight format, as in the kernel's name: `f32`, `bf16_b16x1`, `i8_b16x4`.
        density: Share of the blocks that are kept.
        peer: Who runs the same.
        least: What is asked for: times faster than the peer; without a peer the share of the read
            bandwidth. 0: it is only measured.
    """

    family: str
    sizes: Mapping[str, int]
    form: str = "f32"
    density: float = 1.0
    peer: str = "onnxruntime"
    least: float = 0.0

    @property
    def name(self) -> str:
        """`gru 128,384 f32_b16x1 10 %`."""
        named = {"T": "T=", "pixels": "@"}
        sizes = [f"{named.get(n, '')}{v}" for n, v in self.sizes.items() if (n, v) != ("T", 1)]
        share = f" {self.density:.0%}" if self.density < 1 else ""
        return f"{self.family} {','.join(sizes)} {self.form}{share}"


SPARSE = 0.1
STEPS = ((128, 256), (128, 384), (256, 512), (512, 1024))
# Inputs, outputs and pixels of the pointwise convolutions of MobileNet v1.
MOBILENET = (
    *((32, 64, 12544), (64, 128, 3136), (128, 128, 3136), (128, 256, 784), (256, 256, 784)),
    *((256, 512, 196), (512, 512, 196), (512, 1024, 49), (1024, 1024, 49)),
)
# Inputs and outputs of products whose stored values are 64 kB and more.
PRODUCTS = ((512, 512), (1024, 1024), (2048, 2048), (2048, 8192))


def _step(inputs: int, hidden: int, steps: int = 1) -> dict[str, int]:
    return {"I": inputs, "H": hidden, "T": steps}


def _recurrent() -> Iterator[Case]:
    for inputs, hidden, least in ((64, 64, 4.0), (64, 128, 4.0), (128, 256, 1.5)):
        yield Case("gru", _step(inputs, hidden), least=least)
    yield Case("gru", _step(128, 256), "bf16", least=2.5)
    for family in ("gru", "lstm"):
        for inputs, hidden in STEPS[1:]:
            yield Case(family, _step(inputs, hidden), "f32_b16x1", SPARSE, least=12)
        for inputs, hidden in STEPS:
            yield Case(family, _step(inputs, hidden), "i8", least=5)
        for inputs, hidden in STEPS:
            least = 20 if hidden == 256 else 30
            yield Case(family, _step(inputs, hidden), "i8_b16x4", SPARSE, least=least)
    for inputs, hidden in STEPS:
        yield Case("lstm", _step(inputs, hidden), "i8", peer="dynamic-quantize-lstm", least=3)
    for family in ("gru", "lstm"):
        for inputs, hidden in ((64, 128), *STEPS):
            yield Case(family, _step(inputs, hidden), peer="ncnn", least=1.5)


def _sequences() -> Iterator[Case]:
    for inputs, hidden in ((64, 128), (128, 256), (256, 512)):
        sizes = _step(inputs, hidden, 100)
        yield Case("lstm", sizes, least=1.1)
        yield Case("lstm", sizes, "bf16", least=2)
        yield Case("lstm", sizes, "f32_b16x1", SPARSE, least=5)


def _others() -> Iterator[Case]:
    for inputs, outputs in PRODUCTS:
        sizes = {"K": inputs, "N": outputs}
        for form in ("f32_b16x1", "bf16_b16x1", "i8_b16x4"):
            yield Case("gemv", sizes, form, SPARSE, peer="", least=0.75)
    for channels, outputs, pixels in MOBILENET:
        sizes = {"K": channels, "N": outputs, "pixels": pixels}
        for form in ("f32_b16x1", "f32_b4x1", "f32"):  # the last one: zeros anywhere
            for peer in ("onnxruntime", "litert"):
                yield Case("pointwise", sizes, form, SPARSE, peer, least=2)
    yield Case("scan", {"C": 256, "T": 2048}, "f32", least=2.5)
    yield Case("scan", {"C": 256, "N": 16, "T": 2048}, "f32", least=30)
    for points in (256, 400, 512, 1024):
        for frames in (1, 32):
            yield Case("fourier", {"N": points, "M": frames}, least=10)


CASES: tuple[Case, ...] = (*_recurrent(), *_sequences(), *_others())
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(case.family for case in CASES))
