"""Tuning: read the results of trials, and write the file with the choice of each method."""

import json
from typing import TYPE_CHECKING, Any

from bench.results.store import Corrupt, Results

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.planning.search import Search

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
    """Write the trials and the choices of a plan to `tuned/<suite>.json`, unless it has none.

    The records determine the content of the file.
    """
    tune = plan.suite.tune
    if tune is None:
        return
    content = {
        "suite": plan.suite.name,
        "images": tune.images,
        "seeds": tune.seeds,
        "search": tune.search,
        "pruning": tune.pruning,
        "methods": [_method(each) for each in plan.searches],
    }
    path = results.folder / FOLDER / f"{plan.stem}.json"
    text = json.dumps(content, indent=1) + "\n"
    if not path.is_file() or path.read_text("utf-8") != text:
        results.save_plan(path, text)


def _method(search: "Search") -> dict[str, Any]:
    chosen = search.chosen
    return {
        "method": search.method,
        "pair": search.pair,
        "all_pairs": search.every_pair,
        "ended": search.ended,
        "chosen": chosen and {"trial": chosen.number, **chosen.values, "top1": chosen.value},
        "trials": [
            {**vars(trial), "best": best}
            for trial, best in zip(search.trials, search.best, strict=True)
        ],
    }
