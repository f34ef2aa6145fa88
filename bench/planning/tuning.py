"""The trials of a suite with `tune`: their runs, and the suite with the settings they choose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.planning.plan import Cell, Plan, Runs, first_runs, ordered, with_needed
from bench.planning.search import Outcome, Search, Trial, key_of, search
from bench.plugins import Registry
from bench.spec import Recipe, TermSpec
from bench.suite import Method, Pair, Suite
from bench.suite.checks import default_options
from bench.suite.resolution import recorded_options
from bench.suite.tuning import WEIGHT, Tune

Read = Callable[[str, str], tuple[bool, float | None]]
"""Of the ids of a run and its teacher: whether the run has ended, and its top-1 accuracy."""

Recorded = Mapping[tuple[str, str, str], Sequence[Trial]]  # by method, pair and `Search.key`


@dataclass(frozen=True)
class Tuned:
    """A suite after the trials that have ended so far.

    Attributes:
        suite: The suite with the chosen settings; methods with open trials are undecided.
        searches: The search of each tuned method; one for each pair that is tuned.
        trials: The plan of all trials that can start or have ended; None without `tune`.
    """

    suite: Suite
    searches: tuple[Search, ...] = ()
    trials: Plan | None = None


def tuned(suite: Suite, root: Path | None, read: Read, recorded: Recorded) -> Tuned:
    """Return a suite with the settings that its trials chose, and the trials.

    Args:
        suite: The suite.
        root: Folder of data sets; None: as in `bench.planning.plan.plan`.
        read: Function that reads the result of a run.
        recorded: The trials in the file of an earlier search.

    Raises:
        BenchError: The data set does not have the held-out images, or Optuna is not installed.
        MissingData: A folder of images is missing.
    """
    if suite.tune is None:
        return Tuned(suite)
    runs, facts, teacher_facts = first_runs(_suite_of_trials(suite, suite.tune), root)
    methods = {method.name: method for method in suite.methods}
    pairs = runs.suite.pairs if suite.tune.on == "each" else runs.suite.pairs[:1]
    searches: list[Search] = []
    cells: list[Cell] = []
    for name, space in suite.tune.methods.items():
        for pair in pairs:
            evaluate = partial(_outcome, runs, pair, methods[name], suite.tune, read)
            key, every = key_of(suite.tune, space), suite.tune.on == "first"
            earlier = recorded.get((name, pair.name, key), ())
            trials = search(suite.tune, space, pair.recipe.epochs, evaluate, earlier)
            searches.append(Search(name, pair.name, every, trials, suite.tune.trials, key))
            cells += _cells(searches[-1], pair, methods[name], runs, suite.tune.seeds)
    by_id = ordered(with_needed((cell.run for cell in cells), runs.by_id))
    plan = Plan(runs.suite, by_id, tuple(cells), facts, teacher_facts=teacher_facts)
    changed = tuple(_applied(suite, method, searches) for method in suite.methods)
    return Tuned(replace(suite, methods=changed), tuple(searches), plan)


def _suite_of_trials(suite: Suite, tune: Tune) -> Suite:
    """Return the suite of trials: without the held-out images, and evaluated on these.

    Its teachers do not learn from the held-out images either.
    """
    data = replace(suite.data, held_out=tune.images, test_per_class=None)
    teachers = suite.teacher_data and replace(
        suite.teacher_data,
        held_out=tune.images,
        test_per_class=None,
        validation=suite.data.validation,
    )
    return replace(
        suite,
        name=f"{suite.name}-trials",
        data=data,
        teacher_data=teachers,
        teacher_seed="same" if suite.teacher_seed == "same" else tune.seeds[0],
        pairs=tuple(map(_without_promise, suite.pairs)),
        probes=(),
        evaluate={},
        tune=None,
    )


def _without_promise(pair: Pair) -> Pair:
    """Return a pair whose checkpoint may have any accuracy: that on held-out images is another."""
    checkpoint = pair.teacher.checkpoint
    if checkpoint is None:
        return pair
    return replace(pair, teacher=replace(pair.teacher, checkpoint=replace(checkpoint, top1=None)))


def _outcome(
    runs: Runs,
    pair: Pair,
    method: Method,
    tune: Tune,
    read: Read,
    values: Mapping[str, Any],
    epochs: int,
) -> Outcome:
    """Add the runs of a trial; return their mean accuracy if they have ended."""
    short = replace(pair, recipe=shortened(pair.recipe, epochs))
    changed = with_values(runs.suite.registry, method, values)
    ids = [runs.student(short, changed, seed) for seed in tune.seeds]
    results = [read(id, runs.teacher(pair, seed)) for id, seed in zip(ids, tune.seeds, strict=True)]
    accuracies = [value for _, value in results if value is not None]
    ended = all(has_ended for has_ended, _ in results)
    is_complete = ended and len(accuracies) == len(ids)
    return Outcome(tuple(ids), ended, sum(accuracies) / len(ids) if is_complete else None)


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe with fewer epochs; milestones and warmup shrink in proportion."""
    if epochs == recipe.epochs:
        return recipe
    share = epochs / recipe.epochs
    milestones = sorted({max(1, round(milestone * share)) for milestone in recipe.milestones})
    changes = {"epochs": epochs, "milestones": milestones, "warmup": int(recipe.warmup * share)}
    return recipe.changed(changes)


def with_values(
    registry: Registry, method: Method, values: Mapping[str, Any], pair: Pair | None = None
) -> Method:
    """Return a method with other weights and options.

    Args:
        registry: The distillers.
        method: The method.
        values: The new weights and options, by place such as `kd.weight`.
        pair: The only pair that they are for; None: all pairs.
    """

    def changed(terms: Mapping[str, TermSpec]) -> dict[str, TermSpec]:
        new = dict(terms)
        for place, value in values.items():
            name, _, option = place.partition(".")
            if option == WEIGHT:
                new[name] = new[name].model_copy(update={"weight": value})
                continue
            distiller = registry.declaration(name)
            settings = {**default_options(distiller), **new[name].options, option: value}
            update = {"options": recorded_options(distiller, settings)}
            new[name] = new[name].model_copy(update=update)
        return new

    if pair is not None:
        return replace(method, pairs={**method.pairs, pair.name: changed(method.terms_of(pair))})
    pairs = {name: changed(terms) for name, terms in method.pairs.items()}
    return replace(method, terms=changed(method.terms), pairs=pairs)


def _cells(
    trials: Search, pair: Pair, method: Method, runs: Runs, seeds: Sequence[int]
) -> Iterator[Cell]:
    """Yield a cell for each run of the trials of a method; its method's name has the number."""
    for trial in trials.trials:
        named = replace(method, name=f"{method.name} trial {trial.number}")
        for i, run in enumerate(trial.runs):
            teacher = runs.by_id[run].teacher or ""
            yield Cell(pair, named, seeds[i % len(seeds)], run, teacher)


def _applied(suite: Suite, method: Method, searches: Sequence[Search]) -> Method:
    """Return a method with the choices of its trials; undecided if a trial has not ended."""
    notes = [method.note] if method.note else []
    pairs = {pair.name: pair for pair in suite.pairs}
    for each in (each for each in searches if each.method == method.name):
        if not each.ended:
            return replace(method, undecided=True)
        place = "" if each.every_pair else f" for {each.pair}"
        if each.chosen is None:
            notes.append(f"not tuned{place}: no trial has a result")
            continue
        pair = None if each.every_pair else pairs[each.pair]
        method = with_values(suite.registry, method, each.chosen.values, pair)
        notes.append(f"tuned{place}: {each.chosen.text}")
    return replace(method, note="; ".join(notes) or None)
