"""What there is and how it stands, as data and as text."""

import json
from pathlib import Path
from typing import Any

import pytest

import distillers
from bench import models, suite
from bench.cli import overview, texts
from bench.errors import ConfigError
from bench.execution.protocol import Status, Task
from bench.planning.plan import Plan
from bench.results import Results
from tests import toy

PAIRS = "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: vgg8}]"


@pytest.fixture
def whole(tmp_path: Path) -> Plan:
    options = "{crd: {negatives: 16, width: 8}}"
    methods = "[student, at, crd]"
    return toy.plan(tmp_path, pairs=PAIRS, methods=methods, options=options, seeds="[0, 1]")


@pytest.fixture
def results(whole: Plan, tmp_path: Path) -> Results:
    """The teacher, all of the first pair but one that failed, and nothing of the second."""
    folder, names = Results(tmp_path / "results"), whole.names()
    for run in whole.runs.values():
        if "vgg8" not in names[run.id]:
            failed = names[run.id].endswith("crd seed 1")
            status: Status = "failed" if failed else "done"
            details: dict[str, Any] = {} if failed else {"metrics": {"last": {"top1": 91.234}}}
            task = Task(run.id, names[run.id], run.specification)
            folder.write(task.record(status, "it burnt" if failed else None, **details))
    return folder


PLAN = """\
toy: 12 students (5 done, 1 failed, 4 to do, 2 skipped), 1 teacher (1 done)
to do in 2 cohorts, of runs that share a teacher's passes: {}

done / asked    resnet8          resnet8
                resnet8          vgg8
--------------  ---------------  ---------
teacher         1 / 1            1 / 1
student         2 / 2            0 / 2
at              2 / 2            skipped
crd             1 / 2, 1 failed  0 / 2

networks, and their multiply-adds for one image
network      parameters    multiply-adds
---------  ------------  ---------------
resnet8          78,042          781,952
vgg8          3,918,858        6,013,952

memory banks and other buffers, the most of all pairs
method      bytes
--------  -------
crd         6,024

failed: resnet8/resnet8 crd seed 1: it burnt
skipped: resnet8/vgg8 at seed 0 and 1 more: the student has 4 stages, the teacher 3: they do not \
pair up"""


def test_a_plan_says_what_is_done_what_is_to_do_and_what_it_takes(
    whole: Plan, results: Results
) -> None:
    results.weights(next(iter(whole.runs))).parent.mkdir()
    results.weights(next(iter(whole.runs))).touch()  # else the teacher would be done again
    found = overview.plan(whole, results, None, ["cpu", "cpu"])
    assert json.loads(json.dumps(found)) == found
    text = texts.plan(found)
    assert text == PLAN.format(f"2 at a time on {found['devices'][0]['name']}")
    assert {run["state"] for run in found["runs"]} == {"done", "failed", "skipped", "to do"}
    assert [run["kind"] for run in found["runs"]] == ["teacher"] + 12 * ["student"]


def test_a_plan_counts_the_teacher_whose_weights_are_gone(whole: Plan, results: Results) -> None:
    assert overview.plan(whole, results, None)["cohorts"] == 3


def test_a_plan_without_anything_to_do_says_so(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    found = overview.plan(whole, results, None)
    assert texts.plan(found).splitlines()[:2] == [
        "toy: 2 students (2 done), 1 teacher (1 done)",
        "nothing to do",
    ]
    assert found["memory"] == []


STATUS = """\
toy: 6 done, 1 failed, 6 to do

done / asked    resnet8          resnet8
                resnet8          vgg8
--------------  ---------------  ---------
teacher         1 / 1            1 / 1
student         2 / 2            0 / 2
at              2 / 2            0 / 2
crd             1 / 2, 1 failed  0 / 2

failed: resnet8/resnet8 crd seed 1: it burnt"""


def test_a_status_comes_from_the_records_alone(whole: Plan, results: Results) -> None:
    found = overview.status(whole, results)
    assert texts.status(found) == STATUS
    assert found["counts"] == {"done": 6, "failed": 1, "to do": 6}
    assert len(found["without_result"]) == 7


def test_teachers_have_an_origin_an_accuracy_and_weights(whole: Plan, results: Results) -> None:
    (row,) = overview.teachers(whole, results)
    assert row["from"] == "training"
    assert row["top1"] == 91.234
    assert row["weights"] is None
    assert texts.teachers([row]).splitlines() == [
        "teacher      seed  from      state      top-1",
        "---------  ------  --------  -------  -------",
        "resnet8         0  training  done       91.23",
    ]


def test_a_teacher_that_was_refused_says_why(tmp_path: Path) -> None:
    (tmp_path / "t.pth").write_bytes(b"x")
    lines = "{checkpoints: {resnet8: {path: t.pth, top1: 99}}}"
    whole, results = toy.plan(tmp_path, teachers=lines), Results(tmp_path)
    (run,) = (run for run in whole.runs.values() if run.kind == "teacher")
    assert texts.teachers(overview.teachers(whole, results)).split()[-1] == "99.00"
    results.write(Task(run.id, "t", run.specification).record("failed", "no tensors in it"))
    told = texts.teachers(overview.teachers(whole, results))
    assert str(tmp_path / "t.pth") in told
    assert told.endswith("\n\nresnet8 seed 0: no tensors in it")


def test_lists_hold_all_there_is() -> None:
    assert [row["suite"] for row in overview.listing("suites")] == [
        path.stem for path in suite.shipped()
    ]
    assert [row["method"] for row in overview.listing("methods")] == list(suite.canonical())
    assert {row["distiller"] for row in overview.listing("distillers")} == set(distillers.names())
    assert [row["network"] for row in overview.listing("networks")] == models.names()
    (digits,) = (row for row in overview.listing("datasets") if row["dataset"] == "digits")
    assert digits == {"dataset": "digits", "classes": 10, "size": 8, "train": 897, "test": 900}


@pytest.mark.parametrize("what", ["suites", "methods", "distillers", "networks", "datasets"])
def test_lists_fit_a_terminal(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = overview.listing(what)
    told = texts.listing(what, rows)
    assert max(map(len, told.splitlines())) <= 100
    assert all(str(next(iter(row.values()))) in told for row in rows)


def test_a_list_that_is_none() -> None:
    with pytest.raises(ConfigError, match="no list 'method'. Did you mean 'methods'?"):
        overview.listing("method")


def test_a_table_of_nothing() -> None:
    assert texts.table([]) == ""
    assert [texts.counted(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
