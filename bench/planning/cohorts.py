"""Group runs into cohorts, which train together in one process."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from bench.planning.plan import Run
from bench.spec import content_hash

SHARED = (
    "epochs", "batch_size", "crop", "flip", "resized_crop", "precision", "evaluate_every",
    "randaugment", "erasing", "mixup", "cutmix", "smoothing",
)  # fmt: skip


@dataclass(frozen=True)
class Cohort:
    """Runs that train on the same batches: equal data, teacher, seed, view, `SHARED` settings."""

    runs: tuple[Run, ...]

    @property
    def teacher(self) -> str | None:
        """The id of the teacher's run that all runs share; None if no network teaches."""
        return self.runs[0].teacher

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the runs that must end before this cohort can start."""
        return tuple(dict.fromkeys(id for run in self.runs for id in run.needs))

    @property
    def id(self) -> str:
        """The hash of the runs' ids."""
        return content_hash([run.id for run in self.runs])


def cohorts(runs: Iterable[Run]) -> list[Cohort]:
    """Group runs that one worker executes together.

    Each teacher is alone, so that teachers train in parallel. Students that learn from one teacher
    with one seed are together, and so are the probes of these students on one data set.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_cohort_key(run)].append(run)
    return [Cohort(tuple(group)) for group in groups.values()]


def _cohort_key(run: Run) -> str:
    spec = run.specification
    if run.kind in ("teacher", "ensemble"):
        return run.id
    if run.kind == "probe":
        precision = spec.recipe.precision
        return content_hash([spec.data.content, spec.teacher, spec.seed, precision, "probe"])
    recipe = spec.recipe.model_dump(mode="json")
    shared = [recipe[name] for name in SHARED]
    return content_hash([spec.data.content, spec.teacher, spec.seed, spec.view, shared])
