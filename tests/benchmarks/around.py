"""Parts about what surrounds the training: the command line, large plans and reports, tracking."""

import json
import math
import tempfile
from functools import partial
from pathlib import Path

import safetensors.torch

from bench import api, models
from bench.callbacks.mlflow import MLflow
from bench.execution.protocol import Job
from bench.results import Record, Results, sha256
from tests.benchmarks import records
from tests.benchmarks.ours import Cohort
from tests.benchmarks.rounds import command, interleaved, timed
from tests.benchmarks.table import Row
from tests.benchmarks.workload import Workload

LARGE = "cifar100_same_arch"


def verbs(load: Workload) -> list[Row]:
    """`bench --help`; `bench plan` of many runs; `bench report` over a record of each."""
    asked = api.load_plan(LARGE).suite
    count = math.ceil(load.runs / (len(asked.pairs) * len(asked.methods)))
    whole = api.load_plan(LARGE, [f"seeds=0-{count - 1}"])
    with tempfile.TemporaryDirectory() as folder:
        of = [LARGE, "--seeds", f"0-{count - 1}", "--results", folder]
        helped = command(["bench", "--help"], load)
        alone = partial(api.load_plan, LARGE, [f"seeds=0-{count - 1}"])
        made = [timed(alone, load) for _ in range(load.rounds)]
        planned = command(["bench", "plan", *of], load)
        (Path(folder) / "runs").mkdir()
        for run, text in records.texts(whole):
            (Path(folder) / "runs" / f"{run}.json").write_text(text)
        reported = command(["bench", "report", *of], load)
    runs, epochs = len(whole.runs), asked.pairs[0].recipe.epochs
    return [
        Row("around", "bench --help", helped, "s", target="≤ 0.5"),
        Row("around", f"the plan of {runs} runs, made", made, "s", target="≤ 2"),
        Row("around", "`bench plan` of it, with torch's import", planned, "s", target="≤ 2"),
        Row("around", f"bench report, {runs} records of {epochs} epochs", reported, "s",
            target="≤ 5"),
    ]  # fmt: skip


def start(load: Workload) -> list[Row]:
    """A cohort of all methods: from the start of its process to the end of its first step."""
    all_of_it = "dataset.test_per_class=null"
    whole, tasks, facts = load.plan(all_of_it), load.tasks(all_of_it), load.data.facts
    net = models.build(load.teacher, facts.classes, facts.size)
    with tempfile.TemporaryDirectory() as folder:
        teacher = next(run.id for run in whole.runs.values() if run.kind == "teacher")
        weights = Results(Path(folder)).weights(teacher)
        weights.parent.mkdir()
        safetensors.torch.save_file(net.state_dict(), weights)
        job = Job(
            id="start",
            tasks=tuple(tasks.values()),
            teacher={"id": teacher, "network": load.teacher, "sha256": sha256(weights)},
            device=str(load.device),
            threads=load.threads,
            results=folder,
            dataset=whole.suite.data.name,
            data_root=None,
            plugins=tuple(map(str, whole.suite.plugins)),
        )
        samples = command(["tests.benchmarks.first_step"], load, job.to_json())
    what = f"start of a cohort of {len(tasks)}, to the end of its first step"
    return [Row("around", what, samples, "s", target="≤ 10")]


def tracking(load: Workload) -> list[Row]:
    """The share of a run's time that logging it takes; the run's is KD's step times its steps."""
    whole, recipe = load.plan(), load.tasks()["kd"].specification["recipe"]
    batches = math.ceil(len(load.data.train_labels) / recipe["batch_size"])
    step = interleaved({"kd": Cohort(load, ["kd"])}, load)["kd"]
    found = [json.loads(text) for _, text in records.texts(whole)][: 1 + load.rounds]
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        tracker = MLflow(whole, Results(Path(folder)), f"sqlite:///{folder}/mlflow.db")

        def logged(record: Record) -> None:
            tracker.record(record)
            tracker.log_missing()  # waits for the thread that logs

        for record in found:
            taken.append(1000 * timed(partial(logged, record), load))
    if tracker.warnings:
        raise RuntimeError(tracker.warnings[0])
    first, *others = taken
    run = [recipe["epochs"] * batches * one for one in step]
    share = [100 * a / b for a, b in zip(others, run, strict=False)]
    return [
        Row("around", "tracking: the store opened, the first record logged", [first]),
        Row("around", f"tracking: a record of {recipe['epochs']} epochs logged", others),
        Row("around", "tracking: that record, of a run of kd", share, "%", target="≤ 1"),
    ]
