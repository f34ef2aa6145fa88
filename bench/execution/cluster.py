"""The file of `--cluster`: how cohorts become tasks of Ray or jobs of Slurm."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, Field, StringConstraints

from bench.config import fields, loader
from bench.config.fields import AtLeast0, Count, Natural, Number, Positive, Text, Whole, allowed
from bench.config.text import Problem
from bench.errors import BenchError, ConfigError
from bench.suite.schema import Part

MIN_AMOUNT = 0.0001  # of a resource; Ray's unit


def _countable(amount: float) -> float:
    if 0 < amount < MIN_AMOUNT:
        raise ValueError("less than Ray's unit")
    return amount


def _not_job_name(option: str) -> str:
    """Refuse sbatch's option for the name of a job, also abbreviated."""
    if "job-name".startswith(option.replace("_", "-")):
        raise ValueError(option)
    return option


Engine = Literal["ray", "slurm"]

Address = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|[A-Za-z0-9.\-\[\]:]+:\d{1,5})$"),
    allowed("auto, or host:port of the cluster's head"),
]
Slots = Annotated[Whole, Ge(1), Le(10_000)]
SLOTS = allowed("how many cohorts at a time, 1 to 10,000")
GpuAmount = Annotated[AtLeast0, AfterValidator(_countable)]
GPUS = allowed(f"a number of GPUs, 0 or at least {MIN_AMOUNT}; two cohorts share one at 0.5")
CPUS = allowed(f"a number of CPUs, at least {MIN_AMOUNT}")
Lines = Annotated[tuple[Text, ...], Len(0, 100), allowed("a list of lines of shell")]
SbatchOption = Annotated[str, AfterValidator(_not_job_name)]
SbatchValue = Annotated[str | int | float | bool, allowed("text, a number, or true")]
SBATCH = "a mapping of sbatch's long options to their values, without job-name, which bench sets"


class RayOptions(Part):
    """The section `ray`: a Ray task for each cohort.

    Attributes:
        address: Address of the cluster's head.
        gpus: GPUs of a cohort; None: 1 if the cluster has GPUs.
        cpus: CPUs of a cohort.
        slots: Cohorts at a time; None: as many as fit on the nodes.
        retries: How often a cohort is resubmitted after its node was lost.
    """

    address: Address = "auto"
    gpus: Annotated[GpuAmount | None, GPUS] = None
    cpus: Annotated[Number, Ge(MIN_AMOUNT), CPUS] = 1.0
    slots: Annotated[Slots | None, SLOTS] = None
    retries: Natural = 10


class SlurmOptions(Part):
    """The section `slurm`: a Slurm job for each cohort; jobs that start together are one array.

    Attributes:
        gpus: GPUs of a job.
        cpus: CPUs of a job.
        memory: Memory of a job in GB; None: the cluster's default.
        minutes: Time limit of a job; a longer cohort is requeued.
        partition: Partition; None: the cluster's default.
        slots: Jobs at a time.
        requeues: How often a job is requeued after its time limit.
        warning: Seconds between the signal and the time limit.
        sbatch: Further options of sbatch.
        setup: Lines of shell that run before the job.
    """

    gpus: Natural
    cpus: Count = 1
    memory: Annotated[Positive | None, allowed("a number of GB, above 0")] = None
    minutes: Annotated[Count, allowed("a whole number of minutes, at least 1")] = 60
    partition: Annotated[Text | None, allowed("a name that Slurm knows")] = None
    slots: Annotated[Slots, SLOTS] = 8
    requeues: Natural = 100
    warning: Annotated[Count, allowed("seconds from the signal to the end, at least 1")] = 90
    sbatch: dict[SbatchOption, SbatchValue] = Field(default_factory=dict, description=SBATCH)
    setup: Lines = ()


class ClusterFile(Part):
    """The file; it may hold sections of other executors."""

    ray: Annotated[RayOptions | None, allowed("a mapping, see docs/CLUSTERS.md")] = None
    slurm: Annotated[SlurmOptions | None, allowed("a mapping, see docs/CLUSTERS.md")] = None


def read(path: Path | None, engine: Engine) -> RayOptions | SlurmOptions:
    """Read the section of an executor.

    Args:
        path: The cluster file; None: the defaults, which Slurm does not have.
        engine: The executor.

    Raises:
        ConfigError: Every problem in the file, by line.
        BenchError: No file for Slurm.
    """
    if path is None:
        if engine == "ray":
            return RayOptions()
        raise BenchError(
            "--executor slurm: no --cluster FILE. The shortest file: `slurm: {gpus: 1}`"
        )
    document = loader.load(path)
    file, problems = fields.validate(document.data, ClusterFile)
    if file and (slurm := file.slurm) and slurm.warning >= 60 * slurm.minutes:
        # A job would get the signal when it starts, and be requeued for ever.
        limit = f"Allowed: less than {60 * slurm.minutes}, the seconds of a job"
        message = f"found the number {slurm.warning}. {limit}"
        problems.append(Problem(("slurm", "warning"), message))
    if file is None or problems or document.problems:
        raise ConfigError(document.format([*document.problems, *problems]))
    options: RayOptions | SlurmOptions | None = getattr(file, engine)
    if options is None:
        sections = ", ".join(document.data)
        raise ConfigError([f"{path}:1  {engine}: missing. Found: {sections}. Allowed: a mapping"])
    return options
