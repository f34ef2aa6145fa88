"""Propose the trials of a method: weights and options from its space, by random, TPE or grid.

A search is a function of the space, the settings and the results so far. A repeated call with the
same results proposes the same trials, so an interrupted search continues as if it had not stopped.
This module is the only one that imports Optuna, and only for `random` and `tpe`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, Protocol

from bench.errors import BenchError
from bench.spec import content_hash
from bench.suite.tuning import Range, Space, Tune

TPE_BATCH = 4  # trials that TPE proposes at once; the first batch is random
FACTOR = 3  # with pruning, one in three trials continues, with three times as many epochs
RUNGS = 3
DIGITS = 4  # significant digits of a proposed number

State = Literal["open", "done", "pruned", "failed"]


@dataclass(frozen=True)
class Outcome:
    """The result of the runs of one trial with one number of epochs.

    Attributes:
        runs: Their ids, one for each seed of the trials.
        ended: Whether all of them have ended.
        value: The mean top-1 accuracy on the held-out images in percent; None: no result, because a
            run diverged or its loss does not fit the networks.
    """

    runs: tuple[str, ...]
    ended: bool
    value: float | None


@dataclass(frozen=True)
class Trial:
    """One choice of weights and options, and its results.

    Attributes:
        number: Its number, from 1.
        values: The weights and options by place, such as `kd.weight`.
        epochs: Epochs of its longest runs.
        runs: Ids of its runs, the shortest first.
        state: `done`: trained for all epochs. `pruned`: ended early. `failed`: without a result.
            `open`: a run has not ended.
        value: The mean top-1 accuracy of its longest runs on the held-out images in percent.
    """

    number: int
    values: Mapping[str, Any]
    epochs: int = 0
    runs: tuple[str, ...] = ()
    state: State = "open"
    value: float | None = None

    @property
    def text(self) -> str:
        """The values as text: `kd.temperature 4, kd.weight 2.3`."""
        parts = (
            f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.values.items()
        )
        return ", ".join(parts)


@dataclass(frozen=True)
class Search:
    """All trials so far of one method.

    Attributes:
        method: Name of the method.
        pair: Name of the pair on which it is tuned.
        every_pair: Whether the choice is for all pairs of the suite.
        trials: The trials, in the order of their proposals.
        wanted: Number of trials when the search ends.
        key: Hash of the space and of the settings that proposals depend on.
    """

    method: str
    pair: str
    every_pair: bool
    trials: tuple[Trial, ...]
    wanted: int
    key: str = ""

    @property
    def ended(self) -> bool:
        """Whether all trials have ended."""
        return self.ended_trials == self.wanted

    @property
    def chosen(self) -> Trial | None:
        """The best trial, of equal ones the first; None: not ended, or no trial has a result."""
        complete = [trial for trial in self.trials if trial.state == "done"]
        return min(complete, key=_rank) if self.ended and complete else None

    @property
    def ended_trials(self) -> int:
        """The number of trials that have ended."""
        return sum(trial.state != "open" for trial in self.trials)

    @property
    def text(self) -> str:
        """The state of the search: `8 of 8 trials have ended; chosen: kd.weight 2.3 (71.20 %)`."""
        number = f"{self.ended_trials} of {self.wanted} trials have ended"
        if not self.ended:
            return number
        if self.chosen is None:
            return f"{number}; no trial has a result, so the suite's settings are used"
        return f"{number}; chosen: {self.chosen.text} ({self.chosen.value:.2f} %)"

    @property
    def best(self) -> list[float | None]:
        """The best value so far after each trial, of trials with all epochs."""
        values: list[float | None] = []
        for trial in self.trials:
            before = values[-1:] if values else [None]
            done = [trial.value] if trial.state == "done" else []
            values.append(max((v for v in before + done if v is not None), default=None))
        return values


Evaluate = Callable[[Mapping[str, Any], int], Outcome]  # of values of a trial, and epochs


class Proposals(Protocol):
    """A source of trials."""

    def ask(self, count: int) -> list[Mapping[str, Any]]:
        """Return the values of the next trials."""

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn from the trials of the last call of `ask`."""


def search(
    tune: Tune, space: Space, epochs: int, evaluate: Evaluate, recorded: Sequence[Trial] = ()
) -> tuple[Trial, ...]:
    """Return all trials that can be proposed now; the last ones are open unless all have ended.

    Args:
        tune: The settings of the search.
        space: The domains of the method's weights and options.
        epochs: Epochs of a complete trial.
        evaluate: Function that returns the results of a trial with a number of epochs.
        recorded: The trials of an earlier search with the same space and settings. If all
            trials are recorded, and their values still lead to the same run ids, these values are
            used without Optuna, because another version of Optuna might propose other values.

    Raises:
        BenchError: Optuna is not installed.
    """
    if len(recorded) == tune.trials:
        trials = _search(tune, Recorded(recorded), epochs, evaluate)
        pairs = zip(trials, recorded, strict=False)
        if all(now.runs[: len(then.runs)] == then.runs for now, then in pairs):
            return trials
    proposals: Proposals = Grid(space) if tune.search == "grid" else Sampler(tune, space)
    return _search(tune, proposals, epochs, evaluate)


def key_of(tune: Tune, space: Space) -> str:
    """Return a hash of a space and of the settings that proposals depend on."""
    return content_hash([_domains(space), tune.search, tune.pruning, tune.trials])


def _domains(space: Space) -> dict[str, Any]:
    return {k: vars(v) if isinstance(v, Range) else v for k, v in space.items()}


def _search(
    tune: Tune, proposals: "Proposals", epochs: int, evaluate: Evaluate
) -> tuple[Trial, ...]:
    size = TPE_BATCH if tune.search == "tpe" else tune.trials
    rungs = rungs_of(epochs) if tune.pruning == "halving" else (epochs,)
    trials: list[Trial] = []
    while len(trials) < tune.trials:
        values = proposals.ask(min(size, tune.trials - len(trials)))
        batch = [Trial(len(trials) + i, each) for i, each in enumerate(values, 1)]
        batch = _race(batch, rungs, evaluate)
        trials += batch
        if any(trial.state == "open" for trial in batch):
            break
        proposals.tell(batch)
    return tuple(trials)


def rungs_of(epochs: int) -> tuple[int, ...]:
    """Return the numbers of epochs of the rungs, such as (26, 80, 240) for 240 epochs."""
    rungs = {max(1, epochs // FACTOR**i) for i in range(RUNGS)}
    return tuple(sorted(rungs))


def _race(trials: Sequence[Trial], rungs: Sequence[int], evaluate: Evaluate) -> list[Trial]:
    """Train trials for the epochs of each rung; after each rung, the best third continues.

    This is synchronous successive halving: a rung waits for all of its trials. Therefore the order
    in which runs end changes nothing. (ASHA, Li et al., MLSys 2020, does not wait.)
    """
    trials = list(trials)
    for epochs in rungs:
        running = [i for i, trial in enumerate(trials) if trial.state == "open"]
        ended = True
        for i in running:
            outcome, trial = evaluate(trials[i].values, epochs), trials[i]
            ended = ended and outcome.ended
            runs = (*trial.runs, *outcome.runs)
            trials[i] = replace(trial, epochs=epochs, runs=runs, value=outcome.value)
        if not ended:
            return trials
        last = epochs == rungs[-1]
        valid = sorted(
            (i for i in running if trials[i].value is not None), key=lambda i: _rank(trials[i])
        )
        kept = [] if last else valid[: max(1, len(running) // FACTOR)]
        for i in running:
            state: State = "failed" if i not in valid else "done" if last else "pruned"
            if i not in kept:
                trials[i] = replace(trials[i], state=state)
    return trials


def _rank(trial: Trial) -> tuple[float, int]:
    """Return a key that sorts trials with a value: the best first, of equal ones the earliest."""
    return -(trial.value or 0.0), trial.number


class Recorded:
    """The values of recorded trials, in their order.

    Args:
        trials: The trials.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._rest = [trial.values for trial in trials]

    def ask(self, count: int) -> list[Mapping[str, Any]]:
        """Return the next values."""
        values, self._rest = self._rest[:count], self._rest[count:]
        return values

    def tell(self, trials: Sequence[Trial]) -> None:
        """Do nothing: the values are recorded."""


class Grid(Recorded):
    """All combinations of the values of a space, in the order of the suite.

    Args:
        space: The space; each domain is a list of values.
    """

    def __init__(self, space: Space) -> None:
        lists = [domain for domain in space.values() if not isinstance(domain, Range)]
        combinations = (dict(zip(space, values, strict=True)) for values in product(*lists))
        super().__init__([Trial(i, values) for i, values in enumerate(combinations, 1)])


class Sampler:
    """Optuna's random or TPE sampler, with a seed that is a hash of the space.

    Therefore the proposals depend neither on other methods nor on the suite's name or folder.

    Args:
        tune: The settings of the search.
        space: The space.
    """

    def __init__(self, tune: Tune, space: Space) -> None:
        try:
            import optuna
        except ImportError as error:
            fix = "pip install 'distillbench[tune]'. Allowed without it: search: grid"
            raise BenchError(f"tune.search: {tune.search} needs Optuna: {fix}") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = {place: space[place] for place in sorted(space)}
        seed = int(content_hash(_domains(space))[:8], 16)
        samplers = optuna.samplers
        sampler = (
            samplers.TPESampler(seed=seed, n_startup_trials=TPE_BATCH)
            if tune.search == "tpe"
            else samplers.RandomSampler(seed)
        )
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._asked: list[optuna.Trial] = []

    def ask(self, count: int) -> list[Mapping[str, Any]]:
        """Return the values of the sampler's next trials."""
        from optuna import distributions

        kinds: dict[str, distributions.BaseDistribution] = {}
        for place, domain in self._space.items():
            if not isinstance(domain, Range):
                kinds[place] = distributions.CategoricalDistribution(range(len(domain)))
            elif domain.integer:
                low, high = int(domain.low), int(domain.high)
                kinds[place] = distributions.IntDistribution(low, high, log=domain.log)
            else:
                numbers = distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
                kinds[place] = numbers
        self._asked = [self._study.ask(kinds) for _ in range(count)]
        return [
            {place: _value(domain, trial.params[place]) for place, domain in self._space.items()}
            for trial in self._asked
        ]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tell the sampler the values of the last trials."""
        from optuna.trial import TrialState

        states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        for proposal, trial in zip(self._asked, trials, strict=True):
            if trial.state == "done":
                self._study.tell(proposal, trial.value)
                continue
            if trial.value is not None:
                proposal.report(trial.value, trial.epochs)
            self._study.tell(proposal, state=states[trial.state])


def _value(domain: Range | tuple[Any, ...], proposal: Any) -> Any:
    """Return a proposed value: an entry of a list, or a number with few digits inside a range."""
    if not isinstance(domain, Range):
        return domain[proposal]
    if domain.integer:
        return proposal
    return min(max(float(f"{proposal:.{DIGITS}g}"), domain.low), domain.high)
