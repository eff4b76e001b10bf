"""Packing, choice and views of the convolution kernels; numerics of all sizes: test_kernels.py."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeseq.kernels import _conv, conv, conv_transpose
from edgeseq.kernels._family import Case, Kernel

C_FOLDER = Path(conv.__file__).parent / "c"
EVERY = (*conv.KERNELS, *conv_transpose.KERNELS)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 4, 15, 16, 17, 32, 70])
def test_unpack_undoes_pack(groups: int, outputs: int) -> None:
    rng = np.random.default_rng(outputs)
    w = rng.standard_normal((groups * outputs, 5, 2, 3)).astype(np.float32)
    packed = _conv.pack_weights(w, groups)
    assert packed.size == w.size + _conv.PAD
    sizes = {"G": groups, "O": groups * outputs, "C": groups * 5, "KH": 2, "KW": 3}
    np.testing.assert_array_equal(_conv.unpack_weights(packed, sizes), w)


def test_panels_hold_sixteen_outputs_of_one_input_side_by_side() -> None:
    w = np.arange(18 * 2, dtype=np.float32).reshape(18, 2, 1)
    packed = _conv.pack_weights(w, 1)
    np.testing.assert_array_equal(packed[:16], w[:16, 0, 0])
    np.testing.assert_array_equal(packed[16:32], w[:16, 1, 0])
    np.testing.assert_array_equal(
        packed[32:36], [w[16, 0, 0], w[17, 0, 0], w[16, 1, 0], w[17, 1, 0]]
    )


def test_bias_and_slope_defaults() -> None:
    packed = _conv.pack_bias(3).reshape(2, -1)
    assert not packed.any()
    packed = _conv.pack_bias(3, np.array([1, 2, 3]), 0.25).reshape(2, -1)
    assert packed[0, :4].tolist() == [1, 2, 3, 0]
    assert packed[1, :4].tolist() == [0.25, 0.25, 0.25, 0]


def test_rank_three_has_no_kernel() -> None:
    with pytest.raises(ValueError, match="rank 3"):
        _conv.conv_sizes((1, 1, 4, 4, 4), (1, 1, 3, 3, 3))


ACTIVATIONS = {
    _conv.Activation.NONE: lambda y, s: y,
    _conv.Activation.SLOPE: torch.nn.functional.prelu,
    _conv.Activation.TANH: lambda y, s: torch.tanh(y),
    _conv.Activation.SIGMOID: lambda y, s: torch.sigmoid(y),
}


@pytest.mark.parametrize("kernel", EVERY, ids=lambda k: k.name)
def test_reference_is_torch(kernel: Kernel) -> None:
    for case in kernel.cases(np.random.default_rng(3)):
        s = case.sizes
        groups = s.get("G", s["C"])
        x, w, bias, slope = (
            torch.from_numpy(case.raw[name].astype(np.float64))
            for name in ("x", "w", "bias", "slope")
        )
        stride, dilation = (s["SH"], s["SW"]), (s["DH"], s["DW"])
        if "transpose" in kernel.name:
            y = torch.nn.functional.conv_transpose2d(
                x,
                torch.from_numpy(_conv.swap_transposed(w.numpy(), groups)),
                stride=stride,
                dilation=dilation,
                groups=groups,
            )
            y = torch.nn.functional.pad(y, (-s["PL"], -s["PR"], -s["PT"], -s["PB"]))
            y = y + bias[:, None, None]
        else:
            padded = torch.nn.functional.pad(x, (s["PL"], s["PR"], s["PT"], s["PB"]))
            y = torch.nn.functional.conv2d(padded, w, bias, stride, 0, dilation, groups)
        y = ACTIVATIONS[_conv.Activation(s["act"])](y, slope)
        assert y.shape == kernel.out_shapes(s)["y"]
        np.testing.assert_allclose(kernel.reference(case)["y"], y.numpy(), rtol=0, atol=1e-12)


def test_transposed_weights_are_swapped_within_groups() -> None:
    w = np.arange(4 * 3, dtype=np.float32).reshape(4, 3, 1)
    swapped = _conv.swap_transposed(w, 2)
    assert swapped.shape == (6, 2, 1)
    np.testing.assert_array_equal(swapped[:3, :, 0], w[:2, :, 0].T)
    np.testing.assert_array_equal(swapped[3:, :, 0], w[2:, :, 0].T)


def test_output_padding_makes_the_end_pad_smaller() -> None:
    sizes = _conv.transposed_sizes(
        (1, 2, 4), (2, 3, 3), strides=(2,), pads=(1, 1), output_padding=(1,)
    )
    assert (sizes["PL"], sizes["PR"]) == (1, 0)
    assert conv_transpose.out_shapes(sizes)["y"] == (1, 3, 1, 8)


@pytest.mark.parametrize(
    ("x", "w", "options", "kernel", "reason"),
    [
        ((1, 24, 1, 33), (16, 24, 1, 1), {}, conv.COLUMNS, "33 columns, 16 outputs per group"),
        (
            (1, 16, 3, 33),
            (16, 1, 3, 3),
            {"groups": 16},
            conv.DEPTHWISE,
            "1 outputs for each input channel",
        ),
        ((1, 1, 640), (258, 1, 256), {"strides": (128,)}, conv.CHANNELS, "stride 128 > 8"),
        ((1, 129, 4), (128, 129, 3), {"pads": (1, 1)}, conv.CHANNELS, "4 columns < 12"),
        ((1, 384, 300), (384, 384, 3), {"strides": (2,)}, conv.CHANNELS, "no copy of the input"),
        ((1, 9, 1, 129), (16, 9, 1, 5), {"strides": (1, 2)}, conv.COLUMNS, "16 outputs per group"),
    ],
)
def test_choice(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, int], kernel: Kernel, reason: str
) -> None:
    choice = conv.choose(_conv.conv_sizes(x, w, **options))
    assert choice.kernel is kernel
    assert reason in choice.reason


def test_choice_for_transposed() -> None:
    wide = _conv.transposed_sizes((1, 16, 1, 33), (16, 8, 1, 5), strides=(1, 2), groups=2)
    assert conv_transpose.choose(wide).kernel is conv_transpose.COLUMNS
    narrow = _conv.transposed_sizes((1, 16, 3), (16, 8, 4), strides=(2,))
    choice = conv_transpose.choose(narrow)
    assert (choice.kernel, choice.reason) == (
        conv_transpose.CHANNELS,
        "4 columns < 12 for each of 2 remainders",
    )


@pytest.mark.parametrize("kernel", EVERY, ids=lambda k: k.name)
def test_scratch_is_affine_in_the_width(kernel: Kernel) -> None:
    for case in kernel.cases(np.random.default_rng(5)):
        at = [kernel.scratch({**case.sizes, "W": w}) for w in (100, 101, 102, 150)]
        step = at[1] - at[0]
        assert at[2] - at[1] == step
        assert at[3] - at[0] == 50 * step


@pytest.fixture(scope="module")
def plain_c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels in plain C, with run-time sizes."""
    folder = tmp_path_factory.mktemp("conv")
    lines = ['#include "conv.c"', '#include "conv_transpose.c"']
    for kernel in EVERY:
        sizes = ", ".join(f"s[{i}]" for i in range(len(kernel.sizes)))
        pointers = ", ".join(f"p[{i}]" for i in range(len(kernel.args)))
        lines.append(f"void run_{kernel.name}(const int *s, float **p)")
        lines.append(f"{{ es_{kernel.name}({sizes}, {pointers}); }}")
    (folder / "all.c").write_text("\n".join(lines))
    command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC", "-nostdlib"]
    command += ["-ffreestanding", f"-I{C_FOLDER}", "all.c", "-o", "all.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "all.so"))


def call(library: ctypes.CDLL, kernel: Kernel, case: Case, y: np.ndarray) -> None:
    scratch = np.full(kernel.scratch(case.sizes) // 4 + 1, np.nan, np.float32)
    buffers = [*(case.arrays[a.name] for a in kernel.args[:3]), y, scratch][: len(kernel.args)]
    pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
    sizes = (ctypes.c_int * len(kernel.sizes))(*(case.sizes[n] for n in kernel.sizes))
    getattr(library, f"run_{kernel.name}")(sizes, pointers)


@pytest.mark.parametrize("kernel", EVERY, ids=lambda k: k.name)
def test_output_may_be_a_view(plain_c: ctypes.CDLL, kernel: Kernel) -> None:
    """Channels and rows of a larger tensor: the floats between them stay as they are."""
    for case in list(kernel.cases(np.random.default_rng(7)))[::5]:
        n, o, h, w = kernel.out_shapes(case.sizes)["y"]
        whole = np.full((n, o + 1, h + 1, w + 3), 7.5, np.float32)
        case.sizes.update(y_hs=w + 3, y_cs=(h + 1) * (w + 3), y_ns=(o + 1) * (h + 1) * (w + 3))
        call(plain_c, kernel, case, whole)
        expected = np.full(whole.shape, 7.5)
        expected[:, :o, :h, :w] = kernel.reference(case)["y"]
        bound = kernel.tolerance * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(whole, expected, rtol=0, atol=bound, err_msg=str(case.sizes))


@pytest.mark.parametrize("kernel", EVERY, ids=lambda k: k.name)
def test_not_a_number_and_infinity_pass_through(plain_c: ctypes.CDLL, kernel: Kernel) -> None:
    """A NaN reaches exactly the outputs that read it; ReLU of minus infinity is 0."""
    for case in list(kernel.cases(np.random.default_rng(9)))[::7]:
        case.sizes["act"] = int(_conv.Activation.SLOPE)
        case.raw["slope"][:] = 0.0
        case.arrays["b"][:] = _conv.pack_bias(case.sizes["O"], case.raw["bias"])
        x, flat = case.raw["x"], case.arrays["x"]
        x[0, 0, 0, 0] = flat[0] = np.nan
        x[-1, -1, -1, -1] = np.inf
        s = case.sizes
        last = (s["N"] - 1) * s["x_ns"] + (s["C"] - 1) * s["x_cs"] + (s["H"] - 1) * s["x_hs"]
        flat[last + s["W"] - 1] = np.inf
        y = np.empty(kernel.out_shapes(s)["y"], np.float32)
        call(plain_c, kernel, case, y)
        with np.errstate(invalid="ignore"):
            expected = kernel.reference(case)["y"]
        bound = kernel.tolerance * max(
            1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        )
        np.testing.assert_allclose(y, expected, rtol=0, atol=bound, err_msg=str(s))
