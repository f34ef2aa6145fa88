"""Views of a running suite: exact lines, a table that fits the terminal, a plausible time left."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.callbacks.console import Json, Live, Plain, Progress, duration
from bench.callbacks.console import view as make_view
from bench.errors import BenchError
from bench.execution.protocol import Status, Task
from bench.models import Cost
from bench.planning.cohorts import Cohort, cohorts
from bench.planning.estimate import Estimate
from bench.planning.plan import Plan
from tests import toy

METHODS = ["student", "kd", "at", "sp"]
RECIPE = "{epochs: 10, batch_size: 16, lr: 0.05, milestones: [1], crop: 1, flip: false}"


class Scene:
    """A session that a test plays, second by second."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 1000.0
        self.out = io.StringIO()
        self.teachers, self.students = (
            [c for c in cohorts(plan.runs.values()) if (c.teacher is None) == taught]
            for taught in (True, False)
        )

    def progress(self, **details: Any) -> Progress:
        todo = details.pop("todo", tuple(self.plan.runs.values()))
        return Progress(self.plan, todo, clock=lambda: self.now, **details)

    def epochs(self, view: Any, cohort: Cohort, epoch: int, seconds: float, top1: float) -> None:
        """One epoch of every run of a cohort; it takes the sum of their seconds."""
        self.now += seconds * len(cohort.runs)
        for run in cohort.runs:
            view.epoch(run.id, {"epoch": epoch, "seconds": seconds, "test": {"top1": top1}})

    def end(self, view: Any, run: str, status: Status = "done", **details: Any) -> None:
        reason = None if status == "done" else "a reason"
        name = self.plan.names()[run]
        task = Task(run, name, self.plan.runs[run].specification)
        view.record(task.record(status, reason, **details))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("suite")
    methods = f"[{', '.join(METHODS)}]"
    return toy.plan(folder, methods=methods, recipe=RECIPE, teachers="{recipe: {epochs: 4}}")


@pytest.fixture
def scene(plan: Plan) -> Scene:
    return Scene(plan)


def play(scene: Scene, view: Any) -> None:
    """A teacher, then four students: one diverges, one fails, one is not finished."""
    (teacher,), (students,) = scene.teachers, scene.students
    student, kd, at, _ = (run.id for run in students.runs)
    view.started(teacher, "cpu")
    for epoch in range(1, 5):
        scene.epochs(view, teacher, epoch, 4.0, 10.0 * epoch)
    scene.end(view, teacher.runs[0].id, metrics={"last": {"top1": 75.125}}, seconds=16.0)
    view.started(students, "cpu")
    for epoch in range(1, 4):
        scene.epochs(view, students, epoch, 1.0, 20.0)
    scene.end(view, kd, "diverged")
    scene.end(view, student, metrics={"last": {"top1": 61.5}}, seconds=75.0)
    scene.end(view, at, "failed")
    view.closed()


def test_plain_view_writes_lines(scene: Scene) -> None:
    play(scene, Plain(scene.progress(), scene.out))
    assert scene.out.getvalue().splitlines() == [
        "started   teacher resnet8 seed 0 on cpu",
        "epoch     3/4 of teacher resnet8 seed 0; 0 of 5 runs, about 2 min 44 s left",
        "done      resnet8 seed 0: top-1 75.12 %, 16 s",
        "started   resnet8/resnet8 seed 0 on cpu: student, kd, at, sp",
        "epoch     3/10 of resnet8/resnet8 seed 0; 1 of 5 runs, about 49 s left",
        "diverged  resnet8/resnet8 kd seed 0: a reason",
        "done      resnet8/resnet8 student seed 0: top-1 61.50 %, 1 min 15 s",
        "failed    resnet8/resnet8 at seed 0: a reason",
        "toy: 2 done, 1 failed, 1 diverged, 1 not finished, after 28 s",
    ]


def test_json_view_writes_lines(scene: Scene) -> None:
    play(scene, Json(scene.progress(), scene.out))
    events = [json.loads(line) for line in scene.out.getvalue().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["started", *["epoch"] * 4, "record", "started"] + ["epoch"] * 12 + [
        *["record"] * 3,
        "closed",
    ]
    teacher = scene.teachers[0].runs[0].id
    named = {"id": teacher, "name": "resnet8 seed 0"}
    cohort = scene.teachers[0].id
    assert events[0] == {"event": "started", "cohort": cohort, "device": "cpu", "runs": [named]}
    entry = {"epoch": 1, "seconds": 4.0, "test": {"top1": 10.0}}
    assert events[1] == {"event": "epoch", **named, "entry": entry}
    metrics = {"last": {"top1": 75.125}}
    ended = {"status": "done", "reason": None, "metrics": metrics, "seconds": 16.0}
    assert events[5] == {"event": "record", **named, **ended}
    counts = {"done": 2, "failed": 1, "diverged": 1}
    assert events[-1] == {"event": "closed", "runs": 5, "counts": counts, "seconds": 28.0}


def console(scene: Scene, width: int = 80) -> Console:
    return Console(file=scene.out, width=width, height=24, force_terminal=True, color_system=None)


def shown(view: Live, width: int = 80) -> list[str]:
    """The lines of the view at this moment."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(view.draw())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_live_shows_cohorts_and_lost_runs(scene: Scene) -> None:
    view = Live(scene.progress(), scene.out, console(scene))
    (teacher,), (students,) = scene.teachers, scene.students
    try:
        view.started(teacher, "cpu")
        scene.epochs(view, teacher, 1, 4.0, 12.34)
        assert shown(view)[1:] == [
            "0 of 5 runs, about 2 min 52 s left",
            "cpu  teacher resnet8 seed 0  epoch 1/4",
            "  top-1 12.3",
        ]
        scene.end(view, teacher.runs[0].id)
        view.started(students, "cuda:1")
        scene.epochs(view, students, 1, 1.0, 20.0)
        scene.end(view, students.runs[1].id, "diverged")
        assert shown(view)[1:] == [
            "2 of 5 runs, 1 diverged, about 43 s left",
            "diverged  resnet8/resnet8 kd seed 0: a reason",
            "cuda:1  resnet8/resnet8 seed 0  epoch 1/10  3 training  1 diverged",
            "  student 20.0  kd diverged  at 20.0  sp 20.0",
        ]
    finally:
        view.closed()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_live_fits_the_terminal(scene: Scene, width: int) -> None:
    view = Live(scene.progress(), scene.out, console(scene, width))
    try:
        view.started(scene.students[0], "cuda:0")
        scene.epochs(view, scene.students[0], 1, 1.0, 20.0)
        for run in scene.students[0].runs[:2]:
            scene.end(view, run.id, "failed")
        lines = shown(view, width)
    finally:
        view.closed()
    assert max(len(line) for line in lines) <= width
    assert all(method in " ".join(lines) for method in METHODS)


def test_live_leaves_a_short_summary(scene: Scene) -> None:
    play(scene, Live(scene.progress(), scene.out, console(scene)))
    left = scene.out.getvalue().rsplit("\x1b[2K", 1)[-1]  # all before is taken back
    assert left.splitlines() == [
        "toy: 2 done, 1 failed, 1 diverged, 1 not finished, after 28 s",
        "  diverged  resnet8/resnet8 kd seed 0: a reason",
        "  failed    resnet8/resnet8 at seed 0: a reason",
    ]


def test_live_prints_a_notice_above_the_table(scene: Scene) -> None:
    view = Live(scene.progress(), scene.out, console(scene))
    view.started(scene.students[0], "cpu")
    view.notice("something went wrong [and] was dealt with")
    view.closed()
    left = scene.out.getvalue()
    assert "something went wrong [and] was dealt with" in left
    assert left.index("something went wrong") < left.rindex("toy: 5 not finished")


def test_plain_and_json_print_a_notice_as_a_line(scene: Scene) -> None:
    Plain(scene.progress(), scene.out).notice("all is well")
    assert scene.out.getvalue() == "notice    all is well\n"
    Json(scene.progress(), scene.out).notice("all is well")
    assert json.loads(scene.out.getvalue().splitlines()[1]) == {
        "event": "notice", "text": "all is well"
    }  # fmt: skip


def test_live_shows_the_parts_of_a_split_cohort(scene: Scene) -> None:
    view = Live(scene.progress(), scene.out, console(scene))
    runs = scene.students[0].runs
    try:
        view.started(scene.students[0], "cpu")
        scene.epochs(view, scene.students[0], 1, 1.0, 20.0)
        for device, part in (("cuda:0", Cohort(runs[:2])), ("cuda:1", Cohort(runs[2:]))):
            view.started(part, device)
            scene.epochs(view, part, 2, 1.0, 30.0)
        assert shown(view)[2:] == [
            "cuda:0  resnet8/resnet8 seed 0  epoch 2/10  2 training",
            "  student 30.0  kd 30.0",
            "cuda:1  resnet8/resnet8 seed 0  epoch 2/10  2 training",
            "  at 30.0  sp 30.0",
        ]
    finally:
        view.closed()


def test_live_without_events_prints_a_summary(scene: Scene) -> None:
    Live(scene.progress(), scene.out, console(scene)).closed()
    assert scene.out.getvalue() == "toy: 5 not finished, after 0 s\n"


def test_summary_groups_runs_by_reason(scene: Scene) -> None:
    view = Live(scene.progress(), scene.out, console(scene))
    for run in scene.students[0].runs:
        scene.end(view, run.id, "skipped")
    view.closed()
    assert scene.out.getvalue().splitlines() == [
        "toy: 4 skipped, 1 not finished, after 0 s",
        "  skipped   resnet8/resnet8 student seed 0 and 3 more: a reason",
    ]


def test_time_left_is_remaining_work_over_rate(scene: Scene) -> None:
    progress = scene.progress()
    teacher = scene.teachers[0]
    progress.start(teacher, "cpu")
    assert progress.time_left is None, "before the first epoch"
    scene.now += 5.0
    progress.advance(teacher.runs[0].id, {"epoch": 1, "seconds": 5.0})
    assert progress.time_left == pytest.approx((3 + 4 * 10) * 5.0, abs=1)


def test_time_left_drops_with_a_run_that_is_lost(scene: Scene) -> None:
    """Its remaining epochs leave the total, and the rate stays that of the others."""
    lost, *others = scene.students[0].runs
    progress = scene.progress(todo=(lost, *others))
    progress.start(scene.students[0], "cpu")
    for epoch, runs in ((1, [lost, *others]), (2, others)):
        scene.now += len(runs)
        for run in runs:
            progress.advance(run.id, {"epoch": epoch, "seconds": 1.0})
    progress.end(Task(lost.id, "", lost.specification).record("diverged", "a reason"))
    assert progress.time_left == pytest.approx(3 * 8, abs=1)


def test_time_left_of_a_resumed_run_counts_only_new_epochs(scene: Scene) -> None:
    teacher = scene.teachers[0]
    progress = scene.progress(todo=teacher.runs)
    progress.start(teacher, "cpu")
    scene.now += 6.0
    progress.advance(teacher.runs[0].id, {"epoch": 3, "seconds": 6.0})
    assert progress.time_left == pytest.approx(6.0, abs=1)  # one of four epochs is left


def test_time_left_weighs_networks_by_their_multiply_adds(scene: Scene) -> None:
    teacher, students = scene.teachers[0], scene.students[0]
    estimates = {run.id: Estimate(None, Cost(1, 100)) for run in students.runs}
    estimates[teacher.runs[0].id] = Estimate(None, Cost(1, 1000))
    progress = scene.progress(estimates=estimates)
    progress.start(teacher, "cpu")
    scene.now += 20.0
    progress.advance(teacher.runs[0].id, {"epoch": 1, "seconds": 20.0})
    assert progress.time_left == pytest.approx(3 * 20.0 + 4 * 10 * 2.0, abs=1)


def test_time_left_counts_measures(tmp_path: Path) -> None:
    probes = "{near: {dataset: digits, kind: knn}}"
    scene = Scene(
        toy.plan(tmp_path, methods="[kd]", teachers="{recipe: {epochs: 4}}", probes=probes)
    )
    measures = [run for run in scene.plan.runs.values() if run.kind == "probe"]
    estimates = {
        run.id: Estimate(None, Cost(1, 100), measured=1200.0 if run in measures else 0.0)
        for run in scene.plan.runs.values()
    }
    progress = scene.progress(estimates=estimates)
    teacher, student = scene.teachers[0].runs[0], scene.students[0].runs[0]
    for cohort in (scene.teachers[0], scene.students[0]):
        progress.start(cohort, "cpu")
    scene.now += 1.0
    progress.advance(teacher.id, {"epoch": 1, "seconds": 1.0})  # 1 s for 300 multiply-adds
    assert progress.time_left == pytest.approx(3 + 2 + 2 * 4)
    for run, epoch in ((teacher, 4), (student, 1), (student, 2)):
        scene.now += 3.0 if run is teacher else 1.0
        progress.advance(run.id, {"epoch": epoch, "seconds": 1.0})
    assert progress.time_left == pytest.approx(2 * 4)
    done = Task(measures[0].id, "", measures[0].specification).record("done", None, seconds=4.0)
    for left in (4.0, 0.0):
        scene.now += 4.0
        progress.end(done)
        assert progress.time_left == pytest.approx(left)
        done = done.model_copy(update={"id": measures[1].id})
    alone = scene.progress(todo=measures, estimates=estimates)
    scene.now += 5.0
    alone.end(done)
    assert alone.time_left == pytest.approx(4.0), (
        "the time until the first measure starts is left out"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (10.0, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (274000, "3 d 4 h"),
    ],
)
def test_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_view_is_live_only_on_a_terminal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_view("auto", scene.progress(), Terminal()), Live)
    assert isinstance(make_view("auto", scene.progress(), scene.out), Plain)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_view("auto", scene.progress(), Terminal()), Plain)
    assert isinstance(make_view("json", scene.progress(), Terminal()), Json)
    assert isinstance(make_view("plain", scene.progress(), Terminal()), Plain)
    with pytest.raises(BenchError, match="no view 'jason'. Did you mean 'json'"):
        make_view("jason", scene.progress(), scene.out)
