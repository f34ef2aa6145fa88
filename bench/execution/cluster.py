"""The file given with `--cluster`: options for running cohorts as Ray tasks or Slurm jobs.

A cohort is a group of runs that train together in one process.
"""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator, Field, StringConstraints

from bench.config import fields, loader
from bench.config.fields import AtLeast0, Count, Natural, Number, Positive, Text, Whole, allowed
from bench.config.text import Problem
from bench.errors import BenchError, ConfigError
from bench.suite.parts import Part

MIN_AMOUNT = 0.0001  # smallest amount of a resource that Ray can count


def _countable(amount: float) -> float:
    if 0 < amount < MIN_AMOUNT:
        raise ValueError("less than Ray's unit")
    return amount


def _not_job_name(option: str) -> str:
    """Return the option; raise ValueError for sbatch's `job-name` or an abbreviation."""
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
SLOTS = allowed("the number of cohorts at a time, 1 to 10,000")
GpuAmount = Annotated[AtLeast0, AfterValidator(_countable)]
GPUS = allowed(f"a number of GPUs, 0 or at least {MIN_AMOUNT}; with 0.5, two cohorts share a GPU")
CPUS = allowed(f"a number of CPUs, at least {MIN_AMOUNT}")
Lines = Annotated[
    tuple[Text, ...], Len(0, 100), allowed("a list of shell commands", ["module load cuda"])
]
SbatchOption = Annotated[str, AfterValidator(_not_job_name)]
SbatchValue = Annotated[str | int | float | bool, allowed("text, a number, or true")]
SBATCH = "a mapping of sbatch's long options to their values, without job-name, which bench sets"


class RayOptions(Part):
    """The section `ray` of the cluster file: each cohort runs as one Ray task.

    Attributes:
        address: Address of the cluster's head node; `auto`: Ray finds the address.
        gpus: Number of GPUs for each cohort; None: 1 if the cluster has GPUs, otherwise 0.
        cpus: Number of CPUs for each cohort.
        slots: Number of cohorts that train at the same time; None: as many as fit on the nodes.
        retries: How often a cohort is submitted again after its node was lost.
    """

    address: Address = "auto"
    gpus: Annotated[GpuAmount | None, GPUS, fields.examples(1)] = None
    cpus: Annotated[Number, Ge(MIN_AMOUNT), CPUS] = 1.0
    slots: Annotated[Slots | None, SLOTS, fields.examples(8)] = None
    retries: Natural = 10


class SlurmOptions(Part):
    """The section `slurm` of the cluster file: each cohort runs as one Slurm job.

    Jobs that start together are submitted as one job array.

    Attributes:
        gpus: Number of GPUs for each job.
        cpus: Number of CPUs for each job.
        memory: Memory for each job in GB; None: the cluster's default.
        minutes: Time limit of a job in minutes; a job that reaches the limit is requeued.
        partition: Partition; None: the cluster's default.
        slots: Number of jobs that run at the same time.
        requeues: How often a job may be requeued at its time limit.
        warning: Seconds before the time limit at which Slurm signals a job to stop.
        sbatch: Further options for sbatch, by their long names.
        setup: Shell commands that each job runs before its worker starts.
    """

    gpus: Annotated[Natural, fields.examples(1)]
    cpus: Count = 1
    memory: Annotated[Positive | None, allowed("a number of GB, above 0", 16)] = None
    minutes: Annotated[Count, allowed("a whole number of minutes, at least 1")] = 60
    partition: Annotated[Text | None, allowed("a name that Slurm knows", "gpu")] = None
    slots: Annotated[Slots, SLOTS] = 8
    requeues: Natural = 100
    warning: Annotated[Count, allowed("seconds from the signal to the time limit, at least 1")] = 90
    sbatch: dict[SbatchOption, SbatchValue] = Field(
        default_factory=dict, description=SBATCH, examples=[{"account": "vision"}]
    )
    setup: Lines = ()


class ClusterFile(Part):
    """The content of a cluster file: an optional section for each executor.

    Attributes:
        ray: Options of `--executor ray`: each cohort runs as one Ray task.
        slurm: Options of `--executor slurm`: each cohort runs as one Slurm job.
    """

    ray: Annotated[
        RayOptions | None,
        allowed("a mapping, see docs/CLUSTERS.md", {"address": "auto", "gpus": 1}),
    ] = None
    slurm: Annotated[
        SlurmOptions | None,
        allowed("a mapping, see docs/CLUSTERS.md", {"gpus": 1, "minutes": 240}),
    ] = None


def read(path: Path | None, engine: Engine) -> RayOptions | SlurmOptions:
    """Read the options of one executor from the cluster file.

    Args:
        path: The cluster file; None: use the default options, which only Ray has.
        engine: Name of the executor, and of its section in the file.

    Raises:
        ConfigError: The file is invalid; the message lists all problems with their lines.
        BenchError: The executor is Slurm, and no file is given.
    """
    if path is None:
        if engine == "ray":
            return RayOptions()
        raise BenchError(
            "--executor slurm needs --cluster FILE. The shortest file: `slurm: {gpus: 1}`"
        )
    document = loader.load(path)
    file, problems = fields.validate(document.data, ClusterFile)
    if file and (slurm := file.slurm) and slurm.warning >= 60 * slurm.minutes:
        # Each job would get such a signal at its start, and would be requeued endlessly.
        limit = f"Allowed: less than {60 * slurm.minutes}, a job's time limit in seconds"
        message = f"found the number {slurm.warning}. {limit}"
        problems.append(Problem(("slurm", "warning"), message))
    if file is None or problems or document.problems:
        raise ConfigError(document.format([*document.problems, *problems]))
    options: RayOptions | SlurmOptions | None = getattr(file, engine)
    if options is None:
        sections = ", ".join(document.data)
        raise ConfigError([f"{path}:1  {engine}: missing. Found: {sections}. Allowed: a mapping"])
    return options
