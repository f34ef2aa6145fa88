"""The verbs plan, status, teachers and list: their data and their text."""

import json
from pathlib import Path
from typing import Any

import pytest

import distillers
from bench import api, models, suite
from bench.api import Machine
from bench.cli.formatting import table
from bench.cli.list import list_rows, list_text
from bench.cli.plan import plan_text
from bench.cli.status import status_text
from bench.cli.teachers import teacher_rows, teachers_text
from bench.config.text import count
from bench.errors import ConfigError
from bench.execution.protocol import Status, Task
from bench.overview import describe_plan, describe_status
from bench.planning.plan import Plan
from bench.results import Results
from tests import toy

PAIRS = "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: vgg8}]"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    options = "{crd: {negatives: 16, width: 8}}"
    methods = "[student, at, crd]"
    return toy.plan(tmp_path, pairs=PAIRS, methods=methods, options=options, seeds="[0, 1]")


@pytest.fixture
def results(plan: Plan, tmp_path: Path) -> Results:
    """The teacher, all of the first pair but one that failed, and nothing of the second."""
    folder, names = Results(tmp_path / "results"), plan.names()
    for run in plan.runs.values():
        if "vgg8" not in names[run.id]:
            failed = names[run.id].endswith("crd seed 1")
            status: Status = "failed" if failed else "done"
            details: dict[str, Any] = {} if failed else {"metrics": {"last": {"top1": 91.234}}}
            task = Task(run.id, names[run.id], run.specification)
            folder.write(task.record(status, "out of memory" if failed else None, **details))
    return folder


PLAN = """\
toy: 12 students (5 done, 1 failed, 4 to do, 2 skipped), 1 teacher (1 done)
to do: 2 cohorts (runs that share the teacher's passes), {}
time: unknown; `bench plan --measure` finds it. 95.0 MB of memory for the largest cohort, \
without activations; 63.0 MB of disk (0.1 MB more with --keep-teacher)

done / total    resnet8          resnet8
                resnet8          vgg8
--------------  ---------------  ---------
teacher         1 / 1            1 / 1
student         2 / 2            0 / 2
at              2 / 2            skipped
crd             1 / 2, 1 failed  0 / 2

networks, with multiply-adds per image
network      parameters    multiply-adds
---------  ------------  ---------------
resnet8          78,042          781,952
vgg8          3,918,858        6,013,952

memory banks and other buffers, the maximum over all pairs
method      bytes
--------  -------
crd         6,024

failed: resnet8/resnet8 crd seed 1: out of memory
skipped: resnet8/vgg8 at seed 0 and 1 more: the student has 4 stages, the teacher 3. Allowed: \
equal numbers"""


def test_plan_shows_states_devices_networks_and_memory(
    plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.weights(next(iter(plan.runs))).parent.mkdir()
    results.weights(next(iter(plan.runs))).touch()  # else the teacher would be done again
    content = describe_plan(plan, results, Machine(gpus=(), workers=2))
    assert json.loads(json.dumps(content)) == content
    monkeypatch.setenv("COLUMNS", "300")
    text = plan_text(content)
    assert text == PLAN.format(f"2 at a time on {content['devices'][0]['name']}")
    assert {run["state"] for run in content["runs"]} == {"done", "failed", "skipped", "to do"}
    assert [run["kind"] for run in content["runs"]] == ["teacher"] + 12 * ["student"]


def test_plan_counts_a_teacher_with_missing_weights(plan: Plan, results: Results) -> None:
    assert describe_plan(plan, results, Machine(gpus=()))["cohorts"] == 3


def test_plan_names_missing_images_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = api.load_plan("imagenet_torchdistill", filters="method=student|kd")
    results, machine = Results(tmp_path / "results"), Machine(gpus=())
    content = describe_plan(plan, results, machine, data_root=tmp_path)
    images, weights = content["missing"]
    assert images.startswith(f"imagenet: no folder {tmp_path}/imagenet. To prepare the folder")
    assert weights.startswith(f"torchvision:resnet34: no file {tmp_path}/.cache/torch/hub/check")
    assert "missing: torchvision:resnet34: no file" in plan_text(content)


def test_plan_without_open_runs_says_nothing_to_do(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    content = describe_plan(plan, results, Machine(gpus=()))
    assert plan_text(content).splitlines()[:2] == [
        "toy: 2 students (2 done), 1 teacher (1 done)",
        "nothing to do",
    ]
    assert content["memory"] == []


STATUS = """\
toy: 6 done, 1 failed, 6 to do

done / total    resnet8          resnet8
                resnet8          vgg8
--------------  ---------------  ---------
teacher         1 / 1            1 / 1
student         2 / 2            0 / 2
at              2 / 2            0 / 2
crd             1 / 2, 1 failed  0 / 2

failed: resnet8/resnet8 crd seed 1: out of memory"""


def test_status_reads_only_records(plan: Plan, results: Results) -> None:
    content = describe_status(plan, results)
    assert status_text(content) == STATUS
    assert content["counts"] == {"done": 6, "failed": 1, "to do": 6}
    assert len(content["without_result"]) == 7


def test_teachers_show_origin_accuracy_and_weights(plan: Plan, results: Results) -> None:
    (row,) = teacher_rows(plan, results)
    assert row["from"] == "training"
    assert row["top1"] == 91.234
    assert row["weights"] is None
    assert teachers_text([row]).splitlines() == [
        "teacher      seed  from      state      top-1",
        "---------  ------  --------  -------  -------",
        "resnet8         0  training  done       91.23",
    ]


def test_refused_teacher_shows_the_reason(tmp_path: Path) -> None:
    (tmp_path / "t.pth").write_bytes(b"x")
    lines = "{checkpoints: {resnet8: {path: t.pth, top1: 99}}}"
    plan, results = toy.plan(tmp_path, teachers=lines), Results(tmp_path)
    (run,) = (run for run in plan.runs.values() if run.kind == "teacher")
    assert teachers_text(teacher_rows(plan, results)).split()[-1] == "99.00"
    results.write(Task(run.id, "t", run.specification).record("failed", "no tensors in it"))
    text = teachers_text(teacher_rows(plan, results))
    assert str(tmp_path / "t.pth") in text
    assert text.endswith("\n\nresnet8 seed 0: no tensors in it")


def test_lists_are_complete() -> None:
    assert [row["suite"] for row in list_rows("suites")] == [path.stem for path in suite.shipped()]
    assert [row["method"] for row in list_rows("methods")] == list(suite.canonical())
    assert {row["distiller"] for row in list_rows("distillers")} == set(distillers.names())
    assert [row["network"] for row in list_rows("networks")] == models.names()
    (digits,) = (row for row in list_rows("datasets") if row["dataset"] == "digits")
    assert digits == {"dataset": "digits", "classes": 10, "size": 8, "train": 897, "test": 900}


@pytest.mark.parametrize("what", ["suites", "methods", "distillers", "networks", "datasets"])
def test_lists_fit_the_terminal(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = list_rows(what)
    text = list_text(what, rows)
    assert max(map(len, text.splitlines())) <= 100
    assert all(str(next(iter(row.values()))) in text for row in rows)


def test_unknown_list_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no list 'method'. Did you mean 'methods'?"):
        list_rows("method")


def test_table_without_rows_is_empty() -> None:
    assert table([]) == ""
    assert [count(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
