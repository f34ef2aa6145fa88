"""The verbs baseline, check and compare: what they print, write and return."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.execution.protocol import Task
from bench.planning.plan import Run
from bench.results import Record, Results
from tests import toy
from tests.command import bench, wrong

ROOT = Path(__file__).parents[1]
CHECK = ("check", "toy.yaml", "--baseline", "results/toy-baseline.json")
FINISHED = "2026-11-21T00:00:00+00:00"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def recorded(here: Path) -> Path:
    """A folder with the records of a suite of three seeds, and their baseline."""
    plan = toy.plan(here, seeds="[0, 1, 2]")
    spread = {"student": (70.0, 70.4, 70.8), "kd": (75.0, 75.4, 75.8)}
    results = Results(here / "results")
    top1 = {cell.run: spread[cell.method.name][cell.seed] for cell in plan.cells}
    for run, name in plan.names().items():
        results.write(_record(plan.runs[run], name, top1.get(run, 80.0)))
    result = bench("baseline", "toy.yaml")
    assert result.exit_code == 0
    assert result.stdout == "written: results/toy-baseline.json: 2 cells, n = 3\n"
    return here


def _record(run: Run, name: str, top1: float) -> Record:
    metrics = {"last": {"top1": top1, "nll": 3 - top1 / 50}, "oracle": {"top1": top1}}
    task = Task(run.id, name, run.specification)
    environment = {"torch": "2", "commit": "abc"}
    return task.record("done", None, metrics=metrics, environment=environment, finished=FINISHED)


def change(folder: Path, method: str, edit: Change) -> None:
    """Change every record of a method, as if its runs had ended otherwise."""
    results = Results(folder / "results")
    for cell in toy.plan(folder, seeds="[0, 1, 2]").cells:
        if cell.method.name == method:
            record = results.record(cell.run)
            assert record is not None
            content = record.content
            edit(content)
            results.write(Record.model_validate(content))


def lose(points: float) -> Change:
    """A change that takes so many points of accuracy."""

    def edit(record: dict[str, Any]) -> None:
        record["metrics"]["last"]["top1"] -= points
        record["metrics"]["last"]["nll"] += points / 50

    return edit


def test_unchanged_records_pass(recorded: Path) -> None:
    result = bench(*CHECK, "--strict")
    assert result.exit_code == 0
    assert result.stdout.startswith("toy: pass (2 pass)\n")


def test_worse_cell_is_a_regression(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    result = bench(*CHECK, "--junit", "out/gate.xml", "--markdown", "out/gate.md")
    assert result.exit_code == 1
    assert (
        "regression: resnet8/resnet8 kd: worse by 4.00 points, more than the tolerance of 0.5"
        in result.stdout
    )
    assert "| regression | resnet8/resnet8 | kd     | 75" in (recorded / "out/gate.md").read_text()
    suite = ET.parse(recorded / "out/gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert suite.get("failures") == "1"


def test_json_holds_the_verdict_of_each_cell(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    result = bench(*CHECK, "--json")
    content = json.loads(result.stdout)
    assert content["exit_code"] == result.exit_code == 1
    assert {cell["method"]: cell["outcome"] for cell in content["cells"]} == {
        "student": "pass", "kd": "regression",
    }  # fmt: skip


def test_tolerance_and_metric_decide(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    assert bench(*CHECK, "--tolerance", 6).exit_code == 0
    assert "regression" in bench(*CHECK, "--metric", "nll", "--tolerance", 0.01).stdout
    assert wrong(bench(*CHECK, "--metric", "nll")).startswith(
        "nll: no default tolerance. Allowed: --tolerance with a number of nats"
    )


def test_inconclusive_cell_fails_only_with_strict(recorded: Path) -> None:
    change(recorded, "kd", lose(0.4))
    assert bench(*CHECK).exit_code == 0
    result = bench(*CHECK, "--strict")
    assert result.exit_code == 4
    assert "inconclusive: resnet8/resnet8 kd" in result.stdout
    assert "would decide it if nothing has changed" in result.stdout


def test_failed_and_missing_runs_exit_with_code_3(recorded: Path) -> None:
    change(recorded, "kd", lambda record: record.update(status="diverged", reason="diverged"))
    assert bench(*CHECK).exit_code == 3
    assert bench(*CHECK, "--filter", "method=student").exit_code == 0
    assert bench(*CHECK, "--results", "elsewhere").exit_code == 3
    result = bench("baseline", "toy.yaml", "--output", "new.json")
    assert result.exit_code == 3
    assert "no baseline: these cells have no result:\nresnet8/resnet8 kd: diverged" in result.stderr
    assert not (recorded / "new.json").exists()


def test_other_seeds_are_compared_with_the_same_baseline(recorded: Path) -> None:
    assert bench(*CHECK, "--seeds", "0-1").exit_code == 0


def test_compare_two_folders(recorded: Path) -> None:
    shutil.copytree(recorded / "results", recorded / "before")
    change(recorded, "kd", lose(-6))
    result = bench("compare", "before", "results", "--json")
    assert result.exit_code == 0
    assert {cell["method"]: cell["outcome"] for cell in json.loads(result.stdout)["cells"]} == {
        "student": "same", "kd": "better", "teacher": "same",
    }  # fmt: skip
    assert wrong(bench("compare", "before", "nowhere")).startswith("nowhere: no records.")


MISTAKES = [
    ("check toy.yaml", "--baseline: missing. Allowed: a file that `bench baseline toy"),
    ("check toy.yaml --baseline no.json", "no.json: cannot be read: No such file"),
    ("check toy.yaml --baseline toy.yaml", "toy.yaml: not JSON"),
    ("check toy.yaml --baseline x --against published", "--baseline: not used with --against publ"),
    (
        "check toy.yaml --against published --metric nll",
        "--metric nll: the papers' tables hold only",
    ),
    ("check toy.yaml --baseline results/toy-baseline.json --metric topp1", "topp1"),
    (
        "check toy.yaml --baseline results/toy-baseline.json --tolerance -1",
        "tolerance -1.0. Allowed: a number in %, 0",
    ),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_mistake_is_a_sentence(line: str, message: str, recorded: Path) -> None:
    assert message in wrong(bench(*line.split()))


def test_papers_are_not_compared_with_digits(here: Path) -> None:
    results = ("--results", ROOT / "results" / "quickstart")
    result = bench("check", "quickstart", "--against", "published", *results)
    assert result.exit_code == 2
    assert "uncompared: 14 cells: trained on digits; the papers' tables are for" in result.stdout


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_each_block_of_a_narrow_screen_names_pair_and_method(columns: int, recorded: Path) -> None:
    change(recorded, "kd", lose(3))
    lines = bench(*CHECK, COLUMNS=str(columns)).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    rules = [number for number, line in enumerate(lines) if line.startswith("───")]
    heads = [lines[number - 1].split() for number in rules]
    assert all({"Pair", "Method"} <= set(head) for head in heads)
    assert all("resnet8/resnet8" in lines[number + 1] for number in rules)
    assert heads[0][:3] == ["Verdict", "Pair", "Method"]
    assert len(heads) == {60: 6, 80: 4, 100: 3, 200: 2}[columns]
    numbers = [name for head in heads for name in head if name not in ("Pair", "Method")]
    assert numbers == ["Verdict", "Before", "Now", "Change", "Bounds", "p"] * 2
