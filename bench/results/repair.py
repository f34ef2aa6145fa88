"""Quarantine of corrupt files, before a plan's runs are built on them."""

from bench.planning.plan import Plan, Run
from bench.results.files import quarantine, sha256
from bench.results.store import Corrupt, Results


def quarantine_corrupt(plan: Plan, results: Results) -> list[str]:
    """Quarantine the corrupt records and teachers' weights of a plan, so that they are redone.

    Students' weights are not checked: no run depends on them, and their readers verify them.

    Args:
        plan: The plan.
        results: The results folder, locked.

    Returns:
        One message for each quarantined file.
    """
    errors = (_corruption(run, results) for run in plan.runs.values())
    return [
        f"{error.path}: corrupt: {error.why}; quarantined as {quarantine(error.path).name}"
        for error in errors
        if error is not None
    ]


def _corruption(run: Run, results: Results) -> Corrupt | None:
    """Return the error of a run's corrupt record or weights."""
    try:
        record = results.summary(run.id)
    except Corrupt as error:
        return error
    path = results.weights(run.id)
    if record is None or record.status != "done" or run.kind == "student" or not path.exists():
        return None
    if not path.is_file():
        return Corrupt(path, "not a file")
    if (digest := sha256(path)) != record.weights:
        return Corrupt(path, f"its sha256 is {digest}, expected {record.weights}")
    return None
