"""`seeds: {first, most, until: settled}`: looks at complete numbers of seeds decide about seeds."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import api, suite
from bench.api import Machine
from bench.cli.options import SuiteOptions
from bench.cli.plan import plan_text
from bench.cli.run import open_searches
from bench.cli.show import choices
from bench.cli.status import status_text
from bench.errors import ConfigError
from bench.overview import describe_plan, describe_status
from bench.planning import saved
from bench.planning.cohorts import cohorts
from bench.planning.plan import Plan
from bench.report import ReportOptions, build
from bench.report.model import Row
from bench.results import Results
from tests import toy

SEEDS = "{first: 2, most: 4, until: settled}"
METHODS = "[student, kd, at]"
TOP1 = {"student": 30.0, "kd": 70.0, "at": 70.2}  # of synthetic records: student settles at once


def write(folder: Path, seeds: str = SEEDS, **lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    return toy.write(folder, **({"seeds": seeds, "methods": METHODS} | lines))


def load(path: Path, **how: Any) -> Plan:
    return api.load_plan(path, results=Results(path.parent / "results"), **how)


def counts(plan: Plan) -> dict[str, int]:
    """The number of seeds of each method of a plan."""
    names = [cell.method.name for cell in plan.cells]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def finish(plan: Plan, results: Results, order: random.Random | None = None, **top1: float) -> None:
    """Write a record for each run of a plan that has none; values scatter with the seed."""
    cells = list(plan.cells)
    if order:
        order.shuffle(cells)
    teachers = {cell.teacher for cell in cells}
    for id in teachers:
        results.write(toy.record(id, kind="teacher", metrics={"last": {"top1": 80.0}}))
    for cell in cells:
        if results.summary(cell.run) is None:
            level = (TOP1 | top1)[cell.method.name]
            value = level + 0.3 * random.Random(f"{cell.method.name} {cell.seed}").gauss(0, 1)
            metrics = {"last": {"top1": value}}
            spec = plan.runs[cell.run].specification.content
            results.write(toy.record(cell.run, specification=spec, seed=cell.seed, metrics=metrics))


def settle(path: Path, order: random.Random | None = None, **top1: float) -> list[Plan]:
    """Write records round by round; return the plan of each round."""
    plans = [load(path)]
    while True:
        finish(plans[-1], Results(path.parent / "results"), order, **top1)
        plan = load(path)
        if plan.runs.keys() == plans[-1].runs.keys():
            return [*plans, plan]
        plans.append(plan)


def rows(plan: Plan, path: Path, **options: Any) -> dict[str, Row]:
    results = Results(path.parent / "results")
    report = build.assemble(plan, results, ReportOptions(**options))
    return {row.name: row for row in report.tables[0].rows}


def test_only_open_methods_and_their_reference_get_more_seeds(tmp_path: Path) -> None:
    path = write(tmp_path)
    plans = settle(path)
    assert [counts(plan) for plan in plans] == [
        {"student": 2, "kd": 2, "at": 2},
        {"student": 2, "kd": 3, "at": 3},
        {"student": 2, "kd": 4, "at": 4},
        {"student": 2, "kd": 4, "at": 4},
    ]
    assert [plan.looks[0].complete for plan in plans] == [0, 2, 3, 4]
    assert [plan.looks[0].open for plan in plans][1:3] == [(("resnet8/resnet8", "at"),)] * 2
    assert plans[-1].looks[0].open == ()
    assert plans[-1].later is None
    assert plans[0].later is not None
    assert counts(plans[0].later) == dict.fromkeys(TOP1, 4)
    assert plans[1].later is not None
    assert counts(plans[1].later) == {"student": 2, "kd": 4, "at": 4}


def test_seeds_stop_when_all_verdicts_are_settled(tmp_path: Path) -> None:
    [*_, last] = settle(write(tmp_path), at=20.0)
    assert counts(last) == {"student": 2, "kd": 2, "at": 2}
    assert last.later is None


def test_the_order_in_which_runs_end_changes_nothing(tmp_path: Path) -> None:
    plans = []
    for i in range(3):
        path = write(tmp_path / str(i), "{first: 2, most: 6}")
        plans.append(settle(path, random.Random(i))[-1])
    assert all(plan.cells == plans[0].cells for plan in plans)
    assert all(plan.looks == plans[0].looks for plan in plans)


def test_a_look_waits_for_all_its_runs(tmp_path: Path) -> None:
    path = write(tmp_path)
    results = Results(tmp_path / "results")
    plan = load(path)
    finish(plan, results)
    grown = load(path)
    last = [cell for cell in plan.cells if cell.method.name == "at"][-1].run
    done = results.summary(last)
    for status in ("failed", "running"):
        results.delete_run(last)
        if status == "failed":
            results.write(toy.record(last, status="failed"))
        again = load(path)
        assert again.cells == plan.cells
        assert again.looks[0].complete == 0
    assert done is not None
    results.write(done)
    assert load(path).cells == grown.cells


def test_a_diverged_seed_ends_its_method_and_not_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, methods="[student, kd, at, dcd]")
    results = Results(tmp_path / "results")
    plan = load(path)
    [run] = [c.run for c in plan.cells if c.method.name == "dcd" and c.seed == 1]
    results.write(toy.record(run, status="diverged", reason="diverged at epoch 1"))
    last = settle(path, dcd=70.1)[-1]
    assert counts(last) == {"student": 2, "kd": 4, "at": 4, "dcd": 2}
    assert last.looks[0].ended == 3
    table = rows(last, path)
    assert table["dcd"].cells[0].comparison is None
    assert table["dcd"].cells[0].status == "partial"
    assert table["at"].cells[0].comparison is not None


def test_a_reference_that_diverges_ends_its_pair(tmp_path: Path) -> None:
    path = write(tmp_path)
    results = Results(tmp_path / "results")
    plan = load(path)
    [run] = [c.run for c in plan.cells if c.method.name == "kd" and c.seed == 0]
    results.write(toy.record(run, status="diverged", reason="diverged at epoch 1"))
    last = settle(path)[-1]
    assert counts(last) == {"student": 2, "kd": 2, "at": 2}
    assert last.later is None


def test_the_table_keeps_the_verdict_of_the_look(tmp_path: Path) -> None:
    path = write(tmp_path)
    first, second, _, last = settle(path)
    then, now = rows(second, path), rows(last, path)
    assert first.looks[0].complete == 0
    verdict = now["student"].cells[0].comparison
    assert verdict is not None
    assert verdict.verdict == "worse"
    assert verdict == then["student"].cells[0].comparison
    assert now["student"].cells[0].versus == "worse"
    assert now["at"].cells[0].comparison != then["at"].cells[0].comparison
    [table] = build.assemble(last, Results(tmp_path / "results")).tables
    assert "2 to 4 seeds: more than 2 only while the verdict against KD is open" in (
        str(table.caption).lower().replace("kd", "KD")
    )
    [note] = [each.text for each in table.notes if each.text.startswith("Seeds: ")]
    assert "0.0063 at 2, " in note  # 5 % of (2 / 4) ** 3


def test_a_table_shows_complete_looks(tmp_path: Path) -> None:
    path = write(tmp_path)
    plan = load(path)
    results = Results(tmp_path / "results")
    finish(plan, results)
    assert rows(plan, path)["at"].cells[0].comparison is None  # before the first look
    second = load(path)
    table = rows(second, path)
    finish(replace(second, cells=second.cells[-1:]), results)  # a part of the second round
    assert rows(load(path), path) == table
    assert table["at"].cells[0].comparison is not None
    assert table["at"].cells[0].missing is None


def test_another_reference_or_metric_is_corrected_for_the_looks_too(tmp_path: Path) -> None:
    path = write(tmp_path)
    last = settle(path)[-1]
    compared = rows(last, path, reference="student")["at"].cells[0].comparison
    assert compared is not None  # on the two seeds that both have
    values = rows(last, path)["at"].cells[0].measured
    assert values is not None
    assert values.n == 4
    plain = rows(settle(write(tmp_path, "[0, 1]"))[-1], path, reference="student")
    single = plain["at"].cells[0].comparison
    assert single is not None
    assert compared.mean == pytest.approx(single.mean)
    assert compared.p is not None
    assert single.p is not None
    assert compared.p > single.p


def test_runs_have_the_ids_of_ordinary_seeds(tmp_path: Path) -> None:
    last = settle(write(tmp_path))[-1]
    fixed = load(write(tmp_path, "0-3"))
    assert last.runs.keys() < fixed.runs.keys()
    assert len(fixed.cells) - len(last.cells) == 2


@pytest.mark.parametrize("seed", ["0", "same"])
def test_later_seeds_are_new_cohorts_and_have_their_teachers(seed: str, tmp_path: Path) -> None:
    path = write(tmp_path, teachers=f"{{recipe: {{epochs: 1}}, seed: {seed}}}")
    first, second, *_ = settle(path)
    new = [run for id, run in second.runs.items() if id not in first.runs]
    students = [cohort for cohort in cohorts(new) if cohort.teacher]
    [cohort] = students
    assert [run.specification.seed for run in cohort.runs] == [2, 2]
    assert len([run for run in new if run.kind == "teacher"]) == (seed == "same")


def test_pairs_of_a_table_have_common_looks_and_groups_their_own(tmp_path: Path) -> None:
    pairs = "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: resnet14%s}]"
    path = write(tmp_path, pairs=pairs % "")
    plan = load(path)
    results = Results(tmp_path / "results")
    finish(api.load_plan(path, filters="pair=resnet8/resnet8", results=results), results)
    assert load(path).cells == plan.cells  # waits for the other pair
    grouped = load(write(tmp_path, pairs=pairs % ", group: Larger"))
    assert [each.group for each in grouped.looks] == ["", "Larger"]
    assert [each.complete for each in grouped.looks] == [2, 0]
    numbers = [cell.seed for cell in grouped.cells if cell.method.name == "kd"]
    assert numbers == [0, 1, 2, 0, 1]


def test_a_filter_does_not_change_the_looks(tmp_path: Path) -> None:
    path = write(tmp_path)
    settle(path)
    results = Results(tmp_path / "results")
    part = api.load_plan(path, filters="method=at", results=results)
    assert counts(part) == {"at": 4}
    part = api.load_plan(path, filters="method=at", results=Results(tmp_path / "none"))
    assert counts(part) == {"at": 2}
    assert part.later is not None
    assert counts(part.later) == {"at": 4}
    assert "a look waits for" in list(open_searches(part))[-1]


def test_controls_have_the_first_seeds(tmp_path: Path) -> None:
    path = write(tmp_path, controls="true")
    top1 = {"ls": 60.0, "untrained-teacher": 60.0, "longer-training": 60.0}
    last = settle(path, **top1)[-1]
    numbers = counts(last)
    assert [numbers[name] for name in top1] == [2, 2, 2]
    assert numbers["at"] == 4
    [table] = build.assemble(last, Results(tmp_path / "results")).tables
    assert any(note.text.startswith("Controls") for note in table.notes)


def test_a_saved_plan_keeps_the_looks(tmp_path: Path) -> None:
    path = write(tmp_path)
    last = settle(path)[-1]
    copy = tmp_path / "plan.json"
    copy.write_text(saved.dump(last))
    again, _ = saved.load(copy)
    assert (again.looks, again.suite.settling) == (last.looks, last.suite.settling)
    assert rows(again, path) == rows(last, path)


def test_the_commands_show_what_is_decided(tmp_path: Path) -> None:
    path = write(tmp_path)
    results = Results(tmp_path / "results")
    content = describe_plan(load(path), results)
    states = [run["state"] for run in content["runs"] if run["kind"] == "student"]
    assert sorted(states) == ["to do"] * 6 + ["undecided"] * 6
    text = plan_text(content).replace("\n", " ")
    assert "12 students (6 to do, 6 undecided)" in text
    assert "at most, if no further verdict settles: 13 runs to do" in text
    assert "0 seeds looked at; the next look is at 2 seeds; undecided runs start only if" in text
    _, plan, *_, last = settle(path)
    text = status_text(describe_status(plan, results)).replace("\n", " ")
    assert "2 seeds looked at; the next look is at 3 seeds" in text
    assert "open: at on resnet8/resnet8" in text
    [line] = choices(SuiteOptions(str(path), results.folder))
    assert line == "4 seeds looked at; no method needs more seeds"
    assert describe_plan(last, results)["at_most"] is None


def test_seeds_wait_for_the_trials_of_a_tuned_method(tmp_path: Path) -> None:
    tune = "{images: 50, search: grid, trials: 2, methods: {at: {weight: [1, 10]}}}"
    path = write(tmp_path, tune=tune)
    results = Results(tmp_path / "results")
    plan = load(path)
    undecided = {cell.method.name for cell in plan.cells if cell.run in plan.undecided}
    assert undecided == {"at"}
    assert plan.trials is not None
    for run in plan.trials.runs.values():
        results.write(toy.record(run.id, kind=run.kind, metrics={"last": {"top1": 50.0}}))
    tuned = load(path)
    assert not tuned.undecided
    assert counts(tuned) == {"student": 2, "kd": 2, "at": 2}


PROBLEMS = {
    "{first: 1, most: 5}": "seeds.first: found the number 1. Allowed: a whole number, 2 to 99",
    "{first: 3, most: 3}": "seeds.most: found 3, and first is 3. Allowed: a number above first",
    "{first: 3, most: 101}": "seeds.most: found the number 101. Allowed: a whole number, 3 to 100",
    "{first: 3}": "seeds.most: missing. Allowed: a whole number, 3 to 100",
    "{first: 3, most: 5, until: setled}": "Did you mean 'settled'? Allowed: settled",
    "{first: 3, most: 5, reference: kdd}": "no method of the suite 'kdd'. Did you mean 'kd'?",
    "{first: 3, most: 5, least: 2}": "no key 'least'.",
    "{first: 3, most: 5, tolerance: -1}": "seeds.tolerance: found the number -1",
}


@pytest.mark.parametrize(("seeds", "message"), PROBLEMS.items())
def test_mistakes_are_reported_with_their_line(seeds: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, seeds)
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "seeds:" in text)
    with pytest.raises(ConfigError) as caught:
        suite.read(path)
    assert f"toy.yaml:{line}  seeds" in str(caught.value)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_printed_suite_has_the_same_rule(tmp_path: Path) -> None:
    first = suite.read(write(tmp_path, "{first: 2, most: 9, reference: at, tolerance: 0.2}"))
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "toy.yaml"
    again.write_text(suite.render(first))
    assert suite.read(again).settling == first.settling
    assert suite.read(again).seeds == tuple(range(9))
    assert suite.read(again, ["seeds=[0, 1]"]).settling is None


def train(path: Path) -> Plan:
    """Train a suite as `bench run` does."""
    results, machine = Results(path.parent / "results"), Machine(gpus=(), inline=True)
    plan, unfinished = api.run_seeds(
        lambda: load(path), lambda plan: api.execute(plan, results, machine), results, load(path)
    )
    assert not unfinished
    return plan


def test_a_killed_suite_ends_with_the_records_of_one_that_was_not(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / name, "{first: 2, most: 3}", methods="[kd, at]") for name in ("a", "b")
    ]
    complete = train(paths[0])
    assert complete.looks[0].complete == 3
    toy.run_interrupted(load(paths[1]), tmp_path / "b", stop_after=2)  # in the first round
    results = Results(tmp_path / "b" / "results")
    api.execute(load(paths[1]), results, Machine(gpus=(), inline=True))
    second = load(paths[1])
    assert counts(second) == {"kd": 3, "at": 3}
    toy.run_interrupted(second, tmp_path / "b", stop_after=1)
    resumed = train(paths[1])
    assert resumed.cells == complete.cells
    records = [
        [toy.numbers(Results(path.parent / "results").record(id)) for id in complete.runs]
        for path in paths
    ]
    assert records[0] == records[1]
    again, _ = saved.load(saved.path_of(results.folder, "toy"))
    assert again.looks == complete.looks
