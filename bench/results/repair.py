"""What of a plan's results is damaged, found before anything is built upon it."""

from collections.abc import Iterator

from bench.planning.plan import Plan, Run
from bench.results import Corrupt, Results
from bench.results.files import set_aside, sha256


def mended(plan: Plan, results: Results) -> list[str]:
    """Set aside each damaged record, and teacher's weights, of a plan: a sentence for each.

    What is set aside is missing from then on, so that it is done again.
    """
    found = [error for run in plan.runs.values() for error in _damage(run, results)]
    return [
        f"{error.path}: damaged: {error.why}; set aside as {set_aside(error.path).name}"
        for error in found
    ]


def _damage(run: Run, results: Results) -> Iterator[Corrupt]:
    try:
        record = results.summary(run.id)
    except Corrupt as error:
        yield error
        return
    weights = results.weights(run.id)
    if record is None or record["status"] != "done" or run.kind == "student":
        return  # nothing is built upon a student's weights; whoever reads them verifies them
    if not weights.exists():
        return
    if not weights.is_file():
        yield Corrupt(weights, "not a file")
    elif (digest := sha256(weights)) != record["weights"]:
        yield Corrupt(weights, f"its sha256 is {digest}, not {record['weights']}")
