"""`bench validate` tries each network: errors name the line, and runs have the same verdict."""

from pathlib import Path

import pytest

from bench import suite as suites
from bench.planning.plan import plan
from bench.planning.tryout import try_networks
from tests import toy
from tests.command import bench

PLUGIN = """\
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = self.b(self.a(x))
        y = self.fc(x.mean((2, 3)))
        return y


NETWORKS = {"mine": Mine}
"""


def suite(folder: Path, text: str, **lines: str) -> Path:
    (folder / "mine.py").write_text(text)
    pairs = "[{teacher: resnet8, student: mine}]"
    return toy.write(folder, pairs=pairs, plugins="[mine.py]", methods="[student]", **lines)


def problems(folder: Path, text: str) -> list[str]:
    trials = try_networks(plan(suites.read(suite(folder, text))))
    assert all(trial.where == "pairs.0.student" for trial in trials)
    return [problem for trial in trials for problem in trial.problems]


@pytest.mark.case("network-bug")
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("self.b(self.a(x))", "self.c(self.a(x))", "has no attribute 'c' (mine.py:13)"),
        ("self.b(self.a(x))", "{}['k']", "KeyError: 'k' (mine.py:13)"),
        ("nn.Linear(6", "nn.Linear(7", "cannot be multiplied (2x6 and 7x10) (mine.py:14)"),
        ("super().__init__()", "nothing", "name 'nothing' is not defined (mine.py:7)"),
        ("return y", "raise SystemExit(0)", "SystemExit (mine.py:15)"),
        ("return y", "return {'y': y}", "neither logits (B, K) nor distillers.Features, but dict"),
        ("return y", "return {0: y} if self.training else y", "but dict"),
        ("return y", "return y * float('nan')", "the logits of random images are not finite"),
        ("6, classes)", "6, 1000)", "returns 1000 logits; the data set has 10 classes"),
        ("y = self", "x.mul_(2)\n        y = self", "modified by an inplace operation"),
        ("self.a(x))", "self.a(x) if not self.training else x.mean(1, True).repeat(1, 4, 1, 1))",
         "did not call its layers a"),
        ("NETWORKS", "Mine = None\nNETWORKS", "NETWORKS['mine'] is None. Allowed: a function"),
        ("NETWORKS", "Mine = str\nNETWORKS", "NETWORKS['mine'] returns str. Allowed: an nn.Module"),
        ("return y", "import random\n        return y * random.random()", "which no run seeds"),
        ("classes)\n", "classes)\n        self.requires_grad_(False)\n", "requires a gradient"),
    ],
)  # fmt: skip
def test_a_bug_is_reported(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (message,) = problems(tmp_path, PLUGIN.replace(old, new, 1))
    assert problem in message


@pytest.mark.case("network-bug")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("return y", "return (y, y) if self.training else y"),
        ("nn.Linear(6, classes)", "nn.LazyLinear(classes)"),
        ("classes)\n", "classes)\n        self.a.requires_grad_(False)\n"),
        ("classes)\n", "classes)\n        self.tied = self.fc\n"),
    ],
)
def test_unusual_networks_are_accepted_and_train(tmp_path: Path, old: str, new: str) -> None:
    text = PLUGIN.replace(old, new, 1)
    assert problems(tmp_path, text) == []
    results = toy.run(plan(suites.read(suite(tmp_path, text))), tmp_path)
    assert [record.status for record in results.records()] == ["done"] * 2


@pytest.mark.case("network-bug")
def test_verbs_report_a_bug_without_traceback(here: Path) -> None:
    path = suite(here, PLUGIN.replace("self.b(self.a(x))", "self.c(self.a(x))"))
    line = path.read_text().splitlines().index("pairs: [{teacher: resnet8, student: mine}]") + 1
    result = bench("validate", "toy.yaml")
    assert result.exit_code == 2
    assert f"toy.yaml:{line}  pairs.0.student: AttributeError" in result.stderr
    assert "(mine.py:13)" in bench("show", "toy.yaml").stdout


@pytest.mark.case("plugin-edited-during-run")
def test_a_plugin_that_is_edited_after_planning_gives_no_numbers(tmp_path: Path) -> None:
    planned = plan(suites.read(suite(tmp_path, PLUGIN)))
    (tmp_path / "mine.py").write_text(PLUGIN.replace("padding=1", "padding=2"))
    results = toy.run(planned, tmp_path)
    (record,) = (record for record in results.records() if record.kind == "student")
    assert record.status == "failed"
    assert record.reason is not None
    assert "the plugin of the network 'mine' was edited" in record.reason


@pytest.mark.case("plugin-writes")
def test_a_distiller_that_writes_to_the_teacher_spoils_no_other_run(tmp_path: Path) -> None:
    text = (
        "from distillers import Distiller\n\n\nclass Bad(Distiller):\n    paper = 'none'\n"
        "    reads = ('logits',)\n\n    def forward(self, student, teacher, batch):\n"
        "        return (student.logits - teacher.logits.mul_(2)).square().mean()\n"
    )
    (tmp_path / "mine.py").write_text(text)
    lines = {"methods": "{bad: {ce: 1, bad: 1}, kd: papers}", "plugins": "[mine.py]"}
    results = toy.run(toy.plan(tmp_path, **lines), tmp_path)
    reasons = [record.reason for record in results.records() if record.kind == "student"]
    assert all("writes to the batch or to the teacher's features" in str(r) for r in reasons)
