"""The search itself: an optuna study that survives a kill and that several machines may share."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from edgeseq.errors import ToolchainError, UsageError
from edgeseq.options import SearchOptions
from edgeseq.search import starts
from edgeseq.search.space import Place
from edgeseq.search.trial import Measured, Point

NAME = "edgeseq"
_POPULATION = 24
_PAUSE = 2.0  # seconds in which another process finishes making a database


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a point must keep to; None: anything.

    Args:
        nbytes: Of the layers that are searched.
        seconds: Of a step of these layers.
        drop: Loss in dB.
    """

    nbytes: float | None = None
    seconds: float | None = None
    drop: float | None = None

    def excess(self, one: Measured) -> dict[str, float]:
        """By how much of each limit a point is beyond it; positive: beyond."""
        limits = dataclasses.asdict(self)
        return {
            name: (getattr(one, name) - most) / max(abs(most), 1e-12)
            for name, most in limits.items()
            if most is not None
        }

    def hold(self, one: Measured) -> bool:
        """Whether a point is within all of them."""
        return all(over <= 0 for over in self.excess(one).values())


@dataclasses.dataclass(frozen=True)
class Tried:
    """A point and what was measured."""

    point: Point
    measured: Measured


class Study:
    """A search over the places of one model.

    Args:
        places: The layers and their choices.
        measure: Measures a point.
        limits: What the points that are looked for keep to.
        storage: A file, or the URL of a database; None: memory.
        fingerprint: What must be equal for a study to go on: model, samples, choices.
        seed: Of what is bred.

    Raises:
        UsageError: the storage cannot be used, or holds the study of another search.
        ToolchainError: the driver of the database is missing.
    """

    def __init__(
        self,
        places: Sequence[Place],
        measure: Callable[[Point], Measured],
        limits: Limits,
        storage: str | None,
        fingerprint: str,
        seed: int,
    ) -> None:
        self._places, self._measure, self._limits = places, measure, limits
        self._space: dict[str, BaseDistribution] = {
            p.name: CategoricalDistribution(list(p.choices)) for p in places
        }
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = open_study(storage)
        known = self._study.user_attrs.get("fingerprint")
        if known not in (None, fingerprint):
            raise UsageError(
                f"'{storage}' holds the study of another search",
                why="the model, the samples, the choices or the edgeseq that made it differ",
                fix="another --storage, or the same command as before",
            )
        self._study.set_user_attr("fingerprint", fingerprint)
        # A search that goes on must not draw the numbers it began with again.
        self._study.sampler = optuna.samplers.NSGAIISampler(
            population_size=_POPULATION,
            seed=seed + len(self._study.get_trials(deepcopy=False)),
        )
        self._seen: dict[str, Measured] = {}

    def run(self, options: SearchOptions, progress: Callable[[Tried], None]) -> None:
        """Search until there are so many trials, or so long."""
        end = time.monotonic() + 60 * (options.minutes or 1e9)
        half = time.monotonic() + 30 * (options.minutes or 1e9)
        trials = options.trials or 10**9

        def goes_on() -> bool:
            return time.monotonic() < end and len(self.tried()) < trials

        for points, most, until in (
            (starts.uniform(self._places), trials, end),
            # At most half goes to looking at the layers alone.
            (starts.single(self._places), trials // 2, half),
            (self._greedy(), trials, end),
        ):
            for point in points:
                if not goes_on() or len(self.tried()) >= most or time.monotonic() >= until:
                    break
                if self.known(point) is None:
                    # What a killed process had begun is still said to be running: begin it again.
                    self._study.enqueue_trial(dict(point))
                    progress(self._step())
        while goes_on():
            progress(self._step())

    def known(self, point: Point) -> Measured | None:
        """What was measured of a point, here or elsewhere."""
        return self._seen.get(_key(point))

    def tried(self) -> list[Tried]:
        """All points that were measured, in their order."""
        found = []
        states = (TrialState.COMPLETE,)
        for trial in self._study.get_trials(deepcopy=False, states=states):
            one = Tried(trial.params, _measured(trial))
            self._seen[_key(one.point)] = one.measured
            found.append(one)
        return found

    def _greedy(self) -> Iterator[Point]:
        yield from starts.greedy(self._places, self.known)

    def _step(self) -> Tried:
        trial = self._study.ask(self._space)
        point = {name: str(text) for name, text in trial.params.items()}
        measured = self.known(point)
        if measured is None:
            measured = self._measured_or_failed(trial, point)
        trial.set_user_attr("measured", dataclasses.asdict(measured))
        for name, over in self._limits.excess(measured).items():
            trial.set_constraint(name, over)
        self._study.tell(trial, (-measured.snr, float(measured.nbytes), measured.seconds))
        self._seen[_key(point)] = measured
        return Tried(point, measured)

    def _measured_or_failed(self, trial: Trial, point: Point) -> Measured:
        """Measure; a trial that ends with an error does not stay open in a shared storage."""
        try:
            return self._measure(point)
        except BaseException:
            self._study.tell(trial, state=TrialState.FAIL)
            raise


def open_study(storage: str | None) -> optuna.Study:
    """Make a study, or join the one in a file or database; None: in memory.

    Raises:
        ToolchainError: The database's driver is not installed.
        UsageError: The storage cannot be used.
    """
    directions = [StudyDirection.MINIMIZE] * 3
    if storage is None:
        return optuna.create_study(directions=directions)
    url = storage if "://" in storage else f"sqlite:///{Path(storage).resolve()}"
    try:
        return _shared(url, directions)
    except ImportError as error:
        raise ToolchainError(
            f"the driver of '{url.partition(':')[0]}' is missing",
            why=str(error),
            fix="install it, or give a file: --storage study.db",
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise UsageError(
            f"cannot use the storage '{storage}'", why=str(error).partition("\n")[0]
        ) from None


def _shared(url: str, directions: list[StudyDirection]) -> optuna.Study:
    """Make or join a study; of several that make its tables at once, all but one fail at first."""
    try:
        return _joined(url, directions)
    except sqlalchemy.exc.SQLAlchemyError:
        time.sleep(_PAUSE)
        return _joined(url, directions)


def _joined(url: str, directions: list[StudyDirection]) -> optuna.Study:
    store = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    return optuna.create_study(
        storage=store, study_name=NAME, directions=directions, load_if_exists=True
    )


def _measured(trial: FrozenTrial) -> Measured:
    return Measured(**trial.user_attrs["measured"])


def _key(point: Point) -> str:
    return json.dumps(dict(point), sort_keys=True)
