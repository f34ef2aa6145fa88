"""What `--cluster FILE` says: how cohorts become tasks of Ray, or jobs of Slurm."""

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, Field, StringConstraints

from bench.config import loader
from bench.config.errors import Problem, validate
from bench.config.fields import AtLeast0, Count, Natural, Number, Positive, Text, Whole, allowed
from bench.errors import BenchError, ConfigError
from bench.suite.schema import Part

LEAST = 0.0001  # of a resource; Ray counts in this unit


def _shared(number: float) -> float:
    if 0 < number < LEAST:
        raise ValueError("less than Ray counts")
    return number


Engine = Literal["ray", "slurm"]

Address = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|[A-Za-z0-9.\-\[\]:]+:\d{1,5})$"),
    allowed("auto, or host:port of the cluster's head"),
]
Slots = Annotated[Whole, Ge(1), Le(10_000)]
SLOTS = allowed("how many cohorts at a time, 1 to 10,000")
Share = Annotated[AtLeast0, AfterValidator(_shared)]
GPUS = allowed(f"a number of GPUs, 0 or at least {LEAST}; two cohorts share one at 0.5")
CPUS = allowed(f"a number of CPUs, at least {LEAST}")
Directory = Annotated[Text | None, allowed("a folder that every node has")]
Lines = Annotated[tuple[Text, ...], Len(0, 100), allowed("a list of lines of shell")]
FLAGS = "a mapping of sbatch's long options to their values; the name of jobs is the command's own"


def _no_name(flag: str) -> str:
    """An option of sbatch, but not that of a job's name, nor one of its short forms."""
    if "job-name".startswith(flag.replace("_", "-")):
        raise ValueError(flag)
    return flag


Flag = Annotated[str, AfterValidator(_no_name)]
Given = Annotated[str | int | float | bool, allowed("text, a number, or true")]


class Ray(Part):
    """A task of Ray for each cohort."""

    address: Address = "auto"
    gpus: Annotated[Share | None, GPUS] = None  # None: 1 where the cluster has any
    cpus: Annotated[Number, Ge(LEAST), CPUS] = 1.0
    slots: Annotated[Slots | None, SLOTS] = None  # None: all that there is room for
    retries: Natural = 10  # of a cohort whose node is lost, before it counts as a crash
    data: Directory = None  # the data root on the nodes; None: the data set is sent to them
    cache: Directory = None  # where nodes keep what they were sent; None: ~/.cache


class Slurm(Part):
    """A job of Slurm for each cohort; those that start together are one array."""

    gpus: Natural
    cpus: Count = 1
    memory: Annotated[Positive | None, allowed("a number of GB, above 0")] = None
    minutes: Annotated[Count, allowed("a whole number of minutes, at least 1")] = 60
    partition: Annotated[Text | None, allowed("a name that Slurm knows")] = None
    slots: Annotated[Slots, SLOTS] = 8
    requeues: Natural = 100  # of a job whose time is over, before it counts as a crash
    warning: Annotated[Count, allowed("seconds from the signal to the end, at least 1")] = 90
    sbatch: dict[Flag, Given] = Field(default_factory=dict, description=FLAGS)
    setup: Lines = ()


class File(Part):
    """The whole file; a section that is not asked for may be there."""

    ray: Annotated[Ray | None, allowed("a mapping, see docs/CLUSTERS.md")] = None
    slurm: Annotated[Slurm | None, allowed("a mapping, see docs/CLUSTERS.md")] = None


def read(path: Path | None, engine: Engine) -> Ray | Slurm:
    """What the file says of this engine; raises `ConfigError`, with every problem of the file."""
    if path is None:
        if engine == "ray":
            return Ray()
        raise BenchError("--executor slurm: no --cluster FILE. The least: `slurm: {gpus: 1}`")
    document = loader.load(path)
    file, invalid = validate(document.data, File)
    unending = _unending(file.slurm) if file and file.slurm else []
    problems = [*document.problems, *invalid, *unending]
    if file is None or problems:
        raise ConfigError(document.format(problems))
    asked: Any = getattr(file, engine)
    if asked is None:
        others = ", ".join(document.data)
        raise ConfigError([f"{path}:1  {engine}: missing, beside {others}. Allowed: a mapping"])
    return asked  # type: ignore[no-any-return]


def _unending(asked: Slurm) -> list[Problem]:
    """A job that is warned before it begins would go back into the queue for ever."""
    seconds = 60 * asked.minutes
    if asked.warning < seconds:
        return []
    said = f"found the number {asked.warning}, and jobs of {seconds} seconds. Allowed: fewer"
    return [Problem(("slurm", "warning"), said)]
