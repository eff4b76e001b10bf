"""Channels change places: the model computes the same, and what is kept matters more."""

import base64

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeseq import pipeline
from edgeseq.errors import UsageError
from edgeseq.frontends import load
from edgeseq.frontends.states import mark_states
from edgeseq.ir import channels, facts, permute
from edgeseq.ir.ties import FIXED
from edgeseq.options import SparsityOptions
from edgeseq.train import calibration, compress, prunable, rearrange
from edgeseq.train.evidence import Evidence, relative_errors
from edgeseq.train.pruning import Pruner, Request
from tests.train.conftest import tensor

TEXT = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1,6,20] x, float[1,1,12] h, float[1,1,12] c)
    => (float[1,1,5] y, float[1,1,12] h_out, float[1,1,12] c_out) {
  a = Conv <kernel_shape: ints = [3], pads: ints = [1, 1]> (x, w0, b0)
  n = BatchNormalization (a, scale, shift, mean, var)
  f = Relu (n)
  d = Conv <kernel_shape: ints = [3], pads: ints = [1, 1], group: int = 32> (f, wd, bd)
  s = PRelu (d, slope)
  r = Add (s, f)
  halves_0, halves_1 = Split <axis: int = 1> (r, sizes)
  both = Concat <axis: int = 1> (halves_1, halves_0)
  e = Conv <kernel_shape: ints = [20]> (both, w1, b1)
  t = Reshape (e, sequence)
  z, h_out, c_out = LSTM <hidden_size: int = 12> (t, W, R, B, , h, c)
  flat = Reshape (z, rows)
  y = MatMul (flat, head)
}
"""


def network():
    """Convolutions with all that follows them, an LSTM with a state that starts somewhere."""
    shapes = {
        **{"w0": (32, 6, 3), "b0": (32,), "scale": (32,), "shift": (32,), "mean": (32,)},
        **{"wd": (32, 1, 3), "bd": (32,), "slope": (32, 1), "w1": (16, 32, 20), "b1": (16,)},
        **{"W": (1, 48, 16), "R": (1, 48, 12), "B": (1, 96), "head": (12, 5)},
    }
    arrays = {
        name: tensor(name, *shape, seed=place).const_value.numpy()
        for place, (name, shape) in enumerate(shapes.items())
    }
    arrays |= {"var": np.linspace(0.5, 2, 32, dtype=np.float32), "sizes": np.array([16, 16])}
    arrays |= {"sequence": np.array([1, 1, 16]), "rows": np.array([1, 1, 12])}
    proto = onnx.parser.parse_model(TEXT)
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    model = load.from_proto(proto).model
    mark_states(model, ["h=h_out", "c=c_out"])
    pipeline.prepare(model, passes=("bind-shapes", "fold-constants"))
    return model


@pytest.fixture
def samples():
    return calibration.synthetic(network(), count=1, steps=40)


def results(model, samples):
    return Evidence(model, [], samples).outputs()


def test_every_exchange_leaves_the_numbers(samples):
    model = network()
    want = results(model, samples)
    found = channels.find(model)
    sets = permute.exchangeable(found)
    # 16 and 16 channels that Split keeps apart, 16 of the second convolution, 12 units.
    assert sorted(len(one) for one in sets) == [12, 16, 16, 16]
    order = np.arange(1 + max(int(n.max(initial=0)) for n in found.numbers.values()))
    rng = np.random.default_rng(0)
    for members in sets:
        order[members] = rng.permutation(members)
    before = {n: v.const_value.numpy().copy() for n, v in model.graph.initializers.items()}
    assert sorted(permute.permute(found, order)) == ["c", "h"]
    after = {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert changed == set(before) - {"sequence", "rows", "sizes"}
    assert max(relative_errors(want, results(model, samples)).values()) < 1e-12


def test_where_a_state_starts_moves_along(samples):
    model = network()
    h = next(v for v in model.graph.inputs if v.name == "h")
    start = np.linspace(-1, 1, 12, dtype=np.float32)
    facts.put(h, facts.InitialState(base64.b64encode(start.tobytes()).decode()))
    found = channels.find(model)
    order = np.arange(1 + max(int(n.max(initial=0)) for n in found.numbers.values()))
    units = next(one for one in permute.exchangeable(found) if len(one) == 12)
    order[units] = units[::-1]
    permute.permute(found, order)
    moved = base64.b64decode(facts.get(h, facts.InitialState).data)
    assert np.array_equal(np.frombuffer(moved, np.float32), start[::-1])


def test_copies_keep_their_order():
    numbers = np.array([3, 4, FIXED, 3, 4])
    order = np.array([0, 1, 2, 4, 3])
    assert permute.sources(numbers, order).tolist() == [1, 0, 2, 4, 3]


@pytest.mark.parametrize("pattern", ["8x1", "kernel-4", "4x4", "2:4", "columns-4"])
def test_more_is_kept_and_the_model_stays(samples, pattern):
    model = network()
    request = Request(None if ":" in pattern else 0.6, pattern, "magnitude", "uniform")
    want = results(model, samples)

    def kept():
        pruner = Pruner(model, request, samples)
        scores = pruner.scores()
        densities = pruner.allocate(scores)
        masks = {m: p.mask(scores[m], densities[m], m.taps) for m, p in pruner.patterns.items()}
        return float(sum(scores[m][mask].sum() / scores[m].mean() for m, mask in masks.items()))

    before, found = kept(), channels.find(model)
    permute.permute(found, rearrange._order(found, Pruner(model, request, samples), 1))
    assert kept() > before * 1.001  # of random numbers
    assert max(relative_errors(want, results(model, samples)).values()) < 1e-12


DENSE = ("w0", "W", "R", "head")


def shuffled():
    """A network whose second convolution has 4x1 blocks of zeros, its rows shuffled."""
    model = network()
    matrix = next(m for m in prunable.find(model) if m.name == "w1")
    blocks = np.kron(np.eye(4), np.ones((4, matrix.shape[1] // 4)))
    rows = np.random.default_rng(3).permutation(16)
    matrix.set(np.where(blocks[rows], matrix.get(), 0))
    return model


def test_shuffled_rows_find_their_neighbours_again(samples):
    model, request = shuffled(), Request(0.75, "4x1", keep_dense=DENSE)
    assert Pruner(model.clone(), request, samples).run().output_error > 0.01
    (note, *_) = rearrange.rearrange(Pruner(model, request, samples))
    assert "channels have changed places" in note
    assert Pruner(model, request, samples).run().output_error < 1e-12
    assert list(rearrange.rearrange(Pruner(model, request, samples))) == [
        "no other order of the channels was found that loses less"
    ]


def test_compress_orders_first_and_says_so(samples, tmp_path):
    np.savez(tmp_path / "a.npz", **samples[0])
    plain = {"keep_dense": DENSE, "criterion": "magnitude", "calibrate": (str(tmp_path),)}
    one, other = (
        compress.compress(shuffled(), SparsityOptions(0.75, "4x1", **plain, **more), 0, str)
        for more in ({}, {"rearrange": True})
    )
    assert other.reshaped
    assert not one.reshaped
    assert "channels have changed places" in other.notes[0]
    assert other.pruned.kept == one.pruned.kept
    assert other.output_error < 0.01 * one.output_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SparsityOptions(0.5, "unstructured", rearrange=True), "does nothing for the pattern"),
        (SparsityOptions(0.5, "units", rearrange=True), "goes with neither"),
    ],
)
def test_patterns_without_neighbours_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        compress.compress(network(), options, 0, str)
