"""Parts `verbs`, `start` and `tracking`: the command line, a cohort's start, and MLflow."""

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
from bench.results.record import TeacherInfo
from tests.benchmarks import records
from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.table import Row
from tests.benchmarks.timing import time_call, time_command, time_subjects
from tests.benchmarks.workload import Workload

LARGE = "cifar100_same_arch"


def verbs(load: Workload) -> list[Row]:
    """Time `bench --help`, `bench plan` of many runs, and `bench report` over their records."""
    suite = api.load_plan(LARGE).suite
    count = math.ceil(load.runs / (len(suite.pairs) * len(suite.methods)))
    make_plan = partial(api.load_plan, LARGE, [f"seeds=0-{count - 1}"])
    plan = make_plan()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [LARGE, "--seeds", f"0-{count - 1}", "--results", folder]
        help_times = time_command(["bench", "--help"], load)
        plan_times = [time_call(make_plan, load) for _ in range(load.rounds)]
        bench_plan_times = time_command(["bench", "plan", *arguments], load)
        (Path(folder) / "runs").mkdir()
        for run, text in records.record_texts(plan):
            (Path(folder) / "runs" / f"{run}.json").write_text(text)
        report_times = time_command(["bench", "report", *arguments], load)
    runs, epochs = len(plan.runs), suite.pairs[0].recipe.epochs
    return [
        Row("commands", "bench --help", help_times, "s", target="≤ 0.5"),
        Row("commands", f"plan of {runs} runs, in Python", plan_times, "s", target="≤ 2"),
        Row("commands", f"bench plan, {runs} runs", bench_plan_times, "s", target="≤ 2"),
        Row("commands", f"bench report, {runs} records of {epochs} epochs", report_times, "s",
            target="≤ 5"),
    ]  # fmt: skip


def start(load: Workload) -> list[Row]:
    """Time a cohort of all methods from its process's start to the end of its first step."""
    full_test_set = "dataset.test_per_class=null"
    plan, tasks, facts = load.plan(full_test_set), load.tasks(full_test_set), load.data.facts
    network = models.build(load.teacher, facts.classes, facts.size)
    with tempfile.TemporaryDirectory() as folder:
        teacher = next(run.id for run in plan.runs.values() if run.kind == "teacher")
        weights = Results(Path(folder)).weights(teacher)
        weights.parent.mkdir()
        safetensors.torch.save_file(network.state_dict(), weights)
        job = Job(
            id="start",
            tasks=tuple(tasks.values()),
            teacher=TeacherInfo(id=teacher, network=load.teacher, sha256=sha256(weights), top1=0.0),
            device=str(load.device),
            threads=load.threads,
            results=folder,
            dataset=plan.suite.data.name,
            data_root=None,
            plugins=tuple(map(str, plan.suite.plugins)),
        )
        samples = time_command(["tests.benchmarks.first_step"], load, job.to_json())
    what = f"start of a cohort of {len(tasks)} methods, to the end of its first step"
    return [Row("commands", what, samples, "s", target="≤ 10")]


def tracking(load: Workload) -> list[Row]:
    """Time the logging of records, and its share of a run: KD's step times the run's steps."""
    plan, recipe = load.plan(), load.tasks()["kd"].specification.recipe
    batches = math.ceil(len(load.data.train_labels) / recipe.batch_size)
    step = time_subjects({"kd": CohortSteps(load, ["kd"])}, load)["kd"]
    texts = [text for _, text in records.record_texts(plan)][: 1 + load.rounds]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        tracker = MLflow(plan, Results(Path(folder)), f"sqlite:///{folder}/mlflow.db")

        def log(record: Record) -> None:
            tracker.record(record)
            tracker.log_missing()  # waits for the thread that logs

        for record in map(json.loads, texts):
            times.append(1000 * time_call(partial(log, record), load))
    if tracker.warnings:
        raise RuntimeError(tracker.warnings[0])
    first, *others = times
    run_times = [recipe.epochs * batches * ms for ms in step]
    share = [100 * a / b for a, b in zip(others, run_times, strict=False)]
    return [
        Row("commands", "MLflow: open the store and log the first record", [first]),
        Row("commands", f"MLflow: log a record of {recipe.epochs} epochs", others),
        Row("commands", "MLflow: that time as a share of a KD run", share, "%", target="≤ 1"),
    ]
