"""Find the results folders and the suites of a site."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import api, suite
from bench.errors import BenchError
from bench.planning import saved
from bench.planning.plan import Plan
from bench.results import Results
from bench.results.pool import Pool


@dataclass
class Sources:
    """The input of a site.

    Attributes:
        pool: The records of all folders.
        plans: The plan of each suite, with the names of its results folders.
        problems: Sentences about files that cannot be read and about folders without a suite.
    """

    pool: Pool
    plans: list[tuple[Plan, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_sources(
    paths: Sequence[Path], suites: Sequence[str] = (), *, plugins: bool = True
) -> Sources:
    """Return the records and the suites of results folders.

    A folder's suites are the plans that `bench run` saved in it. If the folder's name is the name
    of a shipped suite without a saved plan, that suite is added.

    Args:
        paths: Results folders, or folders that contain results folders.
        suites: Further suites, as files or names of shipped suites; a suite belongs to each folder
            that has one of its records.
        plugins: Whether to load plugins of these suites.

    Raises:
        BenchError: A path has no records, or a suite is not valid or has no record.
    """
    folders = list(dict.fromkeys(folder for path in paths for folder in _folders(path)))
    sources = Sources(Pool(folders))
    sources.problems += [f"damaged and left out: {error}" for error in sources.pool.damaged]
    for folder, name in zip(folders, sources.pool.names, strict=True):
        before = len(sources.plans)
        for plan in _plans(folder, suites, sources, plugins):
            if any(run in sources.pool.copies for run in plan.runs):
                _add(sources, plan, name)
        if len(sources.plans) == before and not any(name in names for _, names in sources.plans):
            sources.problems.append(
                f"{folder}: no suite for its records; name the suite with --suite"
            )
    used = {plan.suite.name for plan, _ in sources.plans}
    if absent := [name for name in suites if Path(name).stem not in used]:
        raise BenchError(f"--suite {absent[0]}: none of its runs has a record in these folders")
    return sources


def _folders(path: Path) -> list[Path]:
    """Return a results folder, or the results folders in a folder."""
    if (path / "runs").is_dir():
        return [path]
    inside = sorted(path.iterdir()) if path.is_dir() else []
    folders = [each for each in inside if (each / "runs").is_dir()]
    if not folders:
        allowed = "a folder that `bench run` wrote to, or a folder of such folders"
        raise BenchError(f"{path}: no records. Allowed: {allowed}")
    return folders


def _plans(folder: Path, suites: Iterable[str], sources: Sources, plugins: bool) -> Iterator[Plan]:
    """Yield the plans of the suites that may have records in a folder."""
    names = []
    for path in sorted((folder / saved.FOLDER).glob("*.json")):
        try:
            plan, _ = saved.load(path)
        except BenchError as error:
            sources.problems.append(str(error))
            continue
        names.append(plan.suite.name)
        yield plan
    if folder.name not in names and folder.name in {path.stem for path in suite.shipped()}:
        suites = [folder.name, *suites]
    for name in dict.fromkeys(suites):
        yield api.load_plan_or_saved(name, Results(folder), plugins=plugins)[0]


def _add(sources: Sources, plan: Plan, folder: str) -> None:
    """Add a plan, or add the folder to the plan with the same cells."""
    for other, names in sources.plans:
        if _identity(other) == _identity(plan):
            names.append(folder)
            return
    sources.plans.append((plan, [folder]))


def _identity(plan: Plan) -> tuple[object, ...]:
    cells = [(cell.pair.name, cell.method.name, cell.seed, cell.run) for cell in plan.cells]
    return plan.suite.name, plan.suite.changes, cells
