"""What the page computes about arrays, in Node, beside numpy."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(str(files("edgeseq.serve"))) / "page"


def node(script: str, data: object) -> Any:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    arrays, spectrum = ((PAGE / f"{n}.mjs").as_uri() for n in ("arrays", "spectrum"))
    program = (
        f"import * as a from {json.dumps(arrays)};\n"
        f"import {{ transform }} from {json.dumps(spectrum)};\n"
        "import { readFileSync } from 'node:fs';\n"
        "const data = JSON.parse(readFileSync(0, 'utf8'));\n"
        # JSON has no infinities: numbers travel as text
        f"const result = (() => {{ {script} }})();\n"
        "const text = (x) => (ArrayBuffer.isView(x) ? Array.from(x, String) : String(x));\n"
        "console.log(JSON.stringify(Array.isArray(result) ? result.map(text) : text(result)));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_half_floats() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    script = "const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);"
    script += "return [a.numbers(bits, 'float16'), a.numbers(bits, 'bfloat16')];"
    half, brain = (np.array(part, np.float64) for part in node(script, None))
    np.testing.assert_array_equal(half, bits.view(np.float16).astype(np.float64))
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(brain.astype(np.float32), wide)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cut_and_joined(axis: int) -> None:
    shape = (3, 4, 5)
    array = np.arange(60, dtype=np.float32).reshape(shape)
    script = """
        const array = Float32Array.from(data.array);
        const { shape, axis } = data;
        const cuts = [[0, 1], [1, 3], [3, shape[axis]]];
        const parts = cuts.map(([from, to]) => a.cut(array, shape, axis, from, to));
        return [parts[1], a.joined(parts, shape, axis), a.joined(parts, shape, null)];
    """
    data = {"array": array.reshape(-1).tolist(), "shape": shape, "axis": axis}
    middle, whole, last = (np.array(p, np.float32) for p in node(script, data))
    np.testing.assert_array_equal(middle, array.take([1, 2], axis).reshape(-1))
    np.testing.assert_array_equal(whole, array.reshape(-1))
    np.testing.assert_array_equal(last, array.take(range(3, shape[axis]), axis).reshape(-1))


@pytest.mark.parametrize(
    ("want", "got", "error"),
    [
        ("[1, 2, NaN, Infinity]", "[1, 2.5, NaN, Infinity]", "0.5"),
        ("[1, NaN]", "[1, 2]", "Infinity"),
        ("[1, -Infinity]", "[1, Infinity]", "Infinity"),
        ("[1]", "[1, 2]", "Infinity"),
        ("[]", "[]", "0"),
    ],
)
def test_difference(want: str, got: str, error: str) -> None:
    script = f"return a.difference(Float64Array.from({want}), Float32Array.from({got}));"
    assert node(script, None) == error


def test_large_integers_differ() -> None:
    script = "const [x, y] = [2n ** 60n, 2n ** 60n + 1n].map((v) => BigInt64Array.of(v));"
    assert node(f"{script} return a.difference(x, y);", None) == "1"


def test_fourier_transform() -> None:
    random = np.random.default_rng(5)
    wave = random.standard_normal(64) + 1j * random.standard_normal(64)
    script = """
        const [re, im] = [Float64Array.from(data.re), Float64Array.from(data.im)];
        transform(re, im);
        return [re, im];
    """
    re, im = node(script, {"re": wave.real.tolist(), "im": wave.imag.tolist()})
    got = np.array(re, np.float64) + 1j * np.array(im, np.float64)
    np.testing.assert_allclose(got, np.fft.fft(wave), rtol=0, atol=1e-12)
