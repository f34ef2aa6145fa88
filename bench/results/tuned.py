"""Tuning: read the results of trials, and write the file with the choice of each method."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bench.planning import saved
from bench.planning.search import Trial
from bench.results.store import Corrupt, Results

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.planning.search import Search
    from bench.suite import Suite

_trials: TypeAdapter[tuple[Trial, ...]] = TypeAdapter(tuple[Trial, ...])
FOLDER = "tuned"  # name of the folder in the results folder


def outcome(results: Results, run: str, teacher: str) -> tuple[bool, float | None]:
    """Return whether a run of a trial has ended, and its top-1 accuracy on the held-out images.

    A run that diverged has ended without an accuracy, and so has a run whose loss does not fit the
    networks. A failed run has not ended: `bench run` repeats it.

    Args:
        results: Folder of the records.
        run: Id of the run.
        teacher: Id of its teacher's run.
    """
    try:
        record = results.summary(run)
    except Corrupt:  # `bench run` quarantines the record and repeats the run
        return False, None
    if record is None or record.status == "failed":
        return False, None
    if record.status == "skipped":  # perhaps only because the teacher failed
        source = results.summary(teacher)
        return source is not None and source.status == "done", None
    return True, record.top1 if record.status == "done" else None


def save(results: Results, plan: "Plan") -> None:
    """Write the trials and the choices of a suite to `tuned/`, unless it tunes no method.

    The records and the suite determine the content of the file.
    """
    plan = plan.complete or plan
    tune = plan.suite.tune
    if tune is None:
        return
    content = {
        "suite": plan.suite.name,
        "changes": plan.suite.changes,
        "images": tune.images,
        "seeds": tune.seeds,
        "search": tune.search,
        "pruning": tune.pruning,
        "methods": [_method(each) for each in plan.searches],
    }
    results.save_plan(_path(results, plan.suite), json.dumps(content, indent=1) + "\n")


def recorded(results: Results, suite: "Suite") -> dict[tuple[str, str, str], tuple[Trial, ...]]:
    """Return the trials in the file of a suite by method, pair and key; {} without a usable file.

    Args:
        results: Folder of the file.
        suite: The suite.
    """
    searches = {}
    with suppress(OSError, ValueError, KeyError, TypeError):
        for entry in json.loads(_path(results, suite).read_text("utf-8"))["methods"]:
            trials = _trials.validate_python(entry["trials"])
            searches[entry["method"], entry["pair"], entry["key"]] = trials
    return searches


def _path(results: Results, suite: "Suite") -> Path:
    """Return the path of the file of a suite; each list of changes has its own."""
    return results.folder / FOLDER / saved.path_of(results.folder, suite.name, suite.changes).name


def _method(search: "Search") -> dict[str, Any]:
    chosen = search.chosen
    return {
        "method": search.method,
        "pair": search.pair,
        "all_pairs": search.every_pair,
        "key": search.key,
        "ended": search.ended,
        "chosen": chosen and {"trial": chosen.number, **chosen.values, "top1": chosen.value},
        "trials": [
            {**vars(trial), "best": best}
            for trial, best in zip(search.trials, search.best, strict=True)
        ],
    }
