"""The gate on the command line: what it prints, writes and returns, from records in a folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.execution.protocol import Task
from bench.planning.plan import Run
from bench.results import Results
from tests import toy
from tests.command import bench, wrong

ROOT = Path(__file__).parents[1]
CHECK = ("check", "toy.yaml", "--baseline", "results/toy-baseline.json")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def recorded(here: Path) -> Path:
    """A folder with the records of a suite of three seeds, and their baseline."""
    whole = toy.plan(here, seeds="[0, 1, 2]")
    spread = {"student": (70.0, 70.4, 70.8), "kd": (75.0, 75.4, 75.8)}
    results = Results(here / "results")
    top1 = {cell.run: spread[cell.method.name][cell.seed] for cell in whole.cells}
    for run, name in whole.names().items():
        results.write(_record(whole.runs[run], name, top1.get(run, 80.0)))
    found = bench("baseline", "toy.yaml")
    assert found.exit_code == 0
    assert found.stdout == "written: results/toy-baseline.json: 2 cells, n = 3\n"
    return here


def _record(run: Run, name: str, top1: float) -> dict[str, Any]:
    metrics = {"last": {"top1": top1, "nll": 3 - top1 / 50}, "oracle": {"top1": top1}}
    of = run.specification
    known = {
        "environment": {"torch": "2", "commit": "abc"},
        "finished": "2026-11-21T00:00:00+00:00",
    }
    return Task(run.id, name, of).record("done", None, metrics=metrics, **known)


def change(folder: Path, method: str, what: Change) -> None:
    """Change every record of a method, as if it had been run again with another outcome."""
    results = Results(folder / "results")
    for cell in toy.plan(folder, seeds="[0, 1, 2]").cells:
        if cell.method.name == method:
            found = results.record(cell.run)
            assert found is not None
            record = found.content
            what(record)
            results.write({key: value for key, value in record.items() if key != "format"})


def lose(points: float) -> Change:
    """A change that takes so many points of accuracy."""

    def what(record: dict[str, Any]) -> None:
        record["metrics"]["last"]["top1"] -= points
        record["metrics"]["last"]["nll"] += points / 50

    return what


def test_the_same_records_pass(recorded: Path) -> None:
    found = bench(*CHECK, "--strict")
    assert found.exit_code == 0
    assert found.stdout.startswith("toy: pass (2 pass)\n")


def test_a_loss_is_a_regression_of_the_cell_that_lost(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    found = bench(*CHECK, "--junit", "out/gate.xml", "--markdown", "out/gate.md")
    assert found.exit_code == 1
    assert "regression: resnet8/resnet8 kd: worse by 4.00 points, more than the" in found.stdout
    markdown = (recorded / "out/gate.md").read_text()
    assert "| regression | resnet8/resnet8 | kd     |" in markdown
    suite = ET.parse(recorded / "out/gate.xml").getroot().find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert suite.get("failures") == "1"


def test_json_is_the_whole_verdict(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    found = bench(*CHECK, "--json")
    content = json.loads(found.stdout)
    assert content["exit_code"] == found.exit_code == 1
    assert {cell["method"]: cell["outcome"] for cell in content["cells"]} == {
        "student": "pass", "kd": "regression",
    }  # fmt: skip


def test_the_tolerance_and_the_metric_decide(recorded: Path) -> None:
    change(recorded, "kd", lose(4))
    assert bench(*CHECK, "--tolerance", 6).exit_code == 0
    assert "regression" in bench(*CHECK, "--metric", "nll", "--tolerance", 0.01).stdout
    assert wrong(bench(*CHECK, "--metric", "nll")).startswith("nll: no default tolerance")


def test_doubt_is_a_failure_only_if_strict(recorded: Path) -> None:
    change(recorded, "kd", lose(0.4))
    assert bench(*CHECK).exit_code == 0
    found = bench(*CHECK, "--strict")
    assert found.exit_code == 4
    assert "inconclusive: resnet8/resnet8 kd" in found.stdout
    assert "seeds per side would decide it" in " ".join(found.stdout.split())


def test_failed_and_missing_runs_are_exit_code_3(recorded: Path) -> None:
    change(recorded, "kd", lambda record: record.update(status="diverged", reason="diverged"))
    assert bench(*CHECK).exit_code == 3
    assert bench(*CHECK, "--filter", "method=student").exit_code == 0
    assert bench(*CHECK, "--results", "elsewhere").exit_code == 3
    found = bench("baseline", "toy.yaml", "--output", "new.json")
    assert found.exit_code == 3
    assert "no baseline: cells without a result\nresnet8/resnet8 kd: diverged" in found.stderr
    assert not (recorded / "new.json").exists()


def test_other_seeds_are_held_against_the_same_baseline(recorded: Path) -> None:
    assert bench(*CHECK, "--seeds", "0-1").exit_code == 0


def test_two_folders_side_by_side(recorded: Path) -> None:
    shutil.copytree(recorded / "results", recorded / "before")
    change(recorded, "kd", lose(-6))
    found = bench("compare", "before", "results", "--json")
    assert found.exit_code == 0
    assert {cell["method"]: cell["outcome"] for cell in json.loads(found.stdout)["cells"]} == {
        "student": "same", "kd": "better", "teacher": "same",
    }  # fmt: skip
    assert wrong(bench("compare", "before", "nowhere")).startswith("nowhere: no records.")


MISTAKES = [
    ("check toy.yaml", "--baseline: no file is named. Allowed: a file that `bench baseline toy"),
    ("check toy.yaml --baseline no.json", "no.json: cannot be read as a baseline"),
    ("check toy.yaml --baseline toy.yaml", "toy.yaml: not JSON"),
    ("check toy.yaml --baseline x --against published", "--baseline: the papers' numbers need non"),
    ("check toy.yaml --against published --metric nll", "--metric nll: the papers' tables hold"),
    ("check toy.yaml --baseline results/toy-baseline.json --metric topp1", "topp1"),
    ("check toy.yaml --baseline results/toy-baseline.json --tolerance -1", "tolerance -1.0: allow"),
]


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_a_sentence(line: str, said: str, recorded: Path) -> None:
    assert said in wrong(bench(*line.split()))


def test_the_papers_numbers_are_not_held_against_digits(here: Path) -> None:
    results = ("--results", ROOT / "results" / "quickstart")
    found = bench("check", "quickstart", "--against", "published", *results)
    assert found.exit_code == 2
    assert "uncompared: 14 cells: on digits: the papers' tables are of CIFAR-100" in found.stdout
