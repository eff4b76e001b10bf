"""A student and its teacher on the same windows: one step of distillation, and the weights."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.train import distill
from edgeseq.train.calibration import Sample
from edgeseq.train.fake import Fakes
from edgeseq.train.fake_model import FakeQuantized
from edgeseq.train.soap import Soap
from edgeseq.train.targets import Mask, Target
from edgeseq.train.unroll import States, Unrolled
from edgeseq.train.windows import Window, Windows

if TYPE_CHECKING:
    from edgeseq.train.recover import Settings

Tensor = torch.Tensor
Values = Mapping[str, Tensor]
Loss = Callable[[Values, Values, Values], Tensor]  # (student, teacher, inputs), all by name

_HELD_OUT_WINDOWS = 4
_CLIP = 1.0
_SCALE = "scale of "  # before the names of scales among the weights


class Student:
    """Holds the weights of the pruned model while they are trained.

    Args:
        model: The model to train; a copy is.
        teacher: What it should do.
        target: Names the masked weights.
        samples: To learn from.
        held_out: To judge by.
        steps: Of the whole run.
        settings: Sizes and weights of the loss.
        seed: Of the order of the samples.
        fakes: What of the model is quantized; None: nothing.
    """

    def __init__(
        self,
        model: ir.Model,
        teacher: ir.Model,
        target: Target,
        samples: Sequence[Sample],
        held_out: Sequence[Sample],
        settings: Settings,
        seed: int,
        fakes: Fakes | None = None,
    ) -> None:
        self._model = model.clone()
        self._settings = settings
        self._net = (
            FakeQuantized(self._model, fakes, trainable=True)
            if fakes is not None
            else Unrolled(self._model, trainable=True)
        )
        self._teacher = Unrolled(teacher)
        trained = target.names | distill.companions(self._model, target.names)
        trained |= {n for n in self._net.weights for p in settings.also if fnmatch.fnmatch(n, p)}
        self._weights = {n: w for n, w in self._net.weights.items() if n in trained}
        for name, weight in self._net.weights.items():
            weight.requires_grad_(name in trained)
        groups: list[dict[str, Any]] = [{"params": list(self._weights.values())}]
        if isinstance(self._net, FakeQuantized):
            scales = {f"{_SCALE}{n}": s for n, s in self._net.scales.items()}
            # Their gradients are of the size of a level: the usual eps would hold them back.
            groups += [{"params": list(scales.values()), "eps": 1e-15}] if scales else []
            self._weights |= scales
        self._hints = distill.hints(self._model, target.names) if settings.hint else []
        self._hints = [name for name in self._hints if _alike(name, self._model, teacher)]
        self._optimizer = Soap(groups, settings.rate)
        self._holes: dict[str, Tensor] = {}
        self._masked = sorted(target.names)
        # A draw is one random sum however many streams are in it: many small ones say more.
        few = max(1, settings.streams // 4)
        self._probes = Windows(model, samples, few, settings.window, seed + 2)
        self._signs = torch.Generator().manual_seed(seed)
        self._windows = Windows(model, samples, settings.streams, settings.window, seed)
        self._states: tuple[States, States] | None = None
        self._scales = distill.Scales()
        trained |= _unlike(self._net, self._teacher)
        self._same = self._teacher.independent(trained) & self._net.independent(trained)
        looks = Windows(model, held_out, settings.streams, settings.window, seed + 1)
        self._held_out = self._record(looks)

    def step(self, rate: float) -> float:
        """Learn from the next window; return the loss."""
        window = self._windows.next()
        mine, its = self._carried(window)
        with torch.no_grad():
            wanted, its = self._teacher.run(window.inputs, its, {*self._hints, *self._same})
        same = _only(wanted, self._same)
        made, mine = self._net.run(window.inputs, mine, self._hints, same)
        self._states = ({k: v.detach() for k, v in mine.items()}, its)
        wanted = _only(wanted, made)
        scale = self._scales.see(wanted, window.fresh)
        loss = self._loss(made, wanted, window.inputs, scale)
        if self._hints:
            near = distill.errors(made, _only(wanted, self._hints), scale)
            loss = loss + self._settings.hint * near
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for name, hole in self._holes.items():
            gradient = self._weights[name].grad
            if gradient is not None:
                gradient.masked_fill_(hole, 0)
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _CLIP)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._apply()
        return float(loss.detach())

    def effects(self, draws: int) -> dict[str, npt.NDArray[Any]]:
        """Return `[draws, *shape]` for each masked weight: what it adds to random sums of outputs.

        Each output is divided by its power, as in the loss; the mean of the squared effects of a
        group is then the change of the loss when the group falls, to first order.
        """
        found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in self._masked}
        for _ in range(draws):
            window = self._probes.next()
            made, _ = self._net.run(window.inputs)
            self._optimizer.zero_grad()
            distill.draw(_only(made, self._net.outputs), self._signs).backward()  # type: ignore[no-untyped-call]
            for name, rows in found.items():
                weight = self._weights[name]
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                rows.append((gradient * weight.detach()).numpy())
        return {name: np.stack(rows) for name, rows in found.items()}

    def look(self) -> float:
        """Return the loss of the outputs on the held-out windows."""
        total = 0.0
        states = None
        with torch.no_grad():
            for window, wanted, scale in self._held_out:
                states = None if states is None else _restart(states, window, self._net)
                made, states = self._net.run(window.inputs, states)
                total += float(self._loss(made, wanted, window.inputs, scale))
        return total / len(self._held_out)

    def hold(self, masks: Mapping[str, Mask]) -> None:
        """Prune, and keep the zeros from now on."""
        self._holes = {name: torch.from_numpy(~mask) for name, mask in masks.items()}
        self._apply()

    def weights(self, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
        """Return weights as they are now."""
        return {name: self._weights[name].detach().numpy().copy() for name in names}

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the trained weights."""
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights as `snapshot` gave them."""
        with torch.no_grad():
            for name, weight in weights.items():
                self._weights[name].copy_(weight)

    def write(self) -> ir.Model:
        """Return the model with the weights as they are now, in its own types."""
        for name, weight in self._weights.items():
            if name.startswith(_SCALE):
                continue
            value = self._model.graph.initializers[name]
            array = weight.detach().numpy().astype(value.const_value.numpy().dtype)
            value.const_value = ir.tensor(array, name=name)
        return self._model

    def integers(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the levels and scales of the quantized weights."""
        net = self._net
        if not isinstance(net, FakeQuantized):
            return {}
        return {name: net.stored(name) for name in net.fakes.learnt}

    def scales(self) -> dict[str, float]:
        """Return the scales of activations and states."""
        net = self._net
        if not isinstance(net, FakeQuantized):
            return {}
        activations = net.scales.keys() - net.fakes.weights.keys()
        return {name: float(net.scale(name).detach()) for name in activations}

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "weights": self.snapshot(),
            "optimizer": self._optimizer.state_dict(),
            "windows": self._windows.state(),
            "power": dict(self._scales.streams),
            "probes": self._probes.state(),
            "signs": self._signs.get_state(),
            "states": self._states,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken."""
        self.load(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._windows.restore(state["windows"])
        self._scales.streams = dict(state["power"])
        self._probes.restore(state["probes"])
        self._signs.set_state(state["signs"])
        self._states = state["states"]

    def _loss(self, made: Values, wanted: Values, inputs: Values, scale: distill.Scale) -> Tensor:
        outputs = self._net.outputs
        if self._settings.loss is not None:
            return self._settings.loss(_only(made, outputs), _only(wanted, outputs), inputs)
        return distill.errors(made, _only(wanted, outputs), scale)

    def _apply(self) -> None:
        with torch.no_grad():
            for name, hole in self._holes.items():
                self._weights[name].masked_fill_(hole, 0)

    def _carried(self, window: Window) -> tuple[States, States]:
        if self._states is None:
            count = len(window.fresh)
            return self._net.start(count), self._teacher.start(count)
        mine, its = self._states
        return _restart(mine, window, self._net), _restart(its, window, self._teacher)

    def _record(self, windows: Windows) -> list[tuple[Window, dict[str, Tensor], distill.Scale]]:
        recorded: list[tuple[Window, dict[str, Tensor], distill.Scale]] = []
        scales = distill.Scales()
        states = None
        with torch.no_grad():
            for _ in range(_HELD_OUT_WINDOWS):
                window = windows.next()
                states = None if states is None else _restart(states, window, self._teacher)
                wanted, states = self._teacher.run(window.inputs, states)
                recorded.append((window, wanted, scales.see(wanted, window.fresh)))
        return recorded


def _restart(states: States, window: Window, net: Unrolled) -> States:
    """Put the streams that start anew at rest."""
    rest = net.start(len(window.fresh))
    return {
        name: torch.where(window.fresh.reshape(-1, *[1] * (s.dim() - 1)), rest[name], s)
        for name, s in states.items()
    }


def _alike(name: str, one: ir.Model, other: ir.Model) -> bool:
    """Whether a value has the same shape in both models, or is in one alone."""
    shapes = [
        [value.shape for node in model.graph for value in node.outputs if value.name == name]
        for model in (one, other)
    ]
    return not (shapes[0] and shapes[1]) or shapes[0] == shapes[1]


def _unlike(net: Unrolled, teacher: Unrolled) -> set[str]:
    """Return the constants of a student that its teacher does not have as they are."""
    known = teacher.constants
    return {n for n, v in net.constants.items() if n not in known or not torch.equal(v, known[n])}


def _only(values: Values, names: Collection[str]) -> dict[str, Tensor]:
    return {name: values[name] for name in names if name in values}
