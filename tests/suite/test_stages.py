"""Stages that a suite declares: the ids of runs that use them, reasons, and `bench show`."""

from pathlib import Path

import pytest

from bench.planning.estimate import estimate
from bench.planning.plan import Plan, select
from tests import toy
from tests.command import bench

PLUGIN = """\
from torch import nn


class Plain(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(w, 4, 3, 2, 1) for w in (3, 4, 4))
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.c(self.b(self.a(x).relu()).relu()).relu().mean((2, 3)))


NETWORKS = {"plain": Plain}
"""
DECLARED = "{plain: {stages: [a, b, c]}}"


def plan(folder: Path, networks: str = "", student: str = "plain") -> Plan:
    (folder / "plain.py").write_text(PLUGIN)
    pair = f"[{{teacher: resnet8, student: {student}}}]"
    lines = {"pairs": pair, "plugins": "[plain.py]", "methods": "[student, kd, at]"}
    return toy.plan(folder, networks=networks, **lines)


@pytest.mark.case("convolution-as-first-block")
def test_the_reason_of_a_skipped_run_names_the_layers(tmp_path: Path) -> None:
    (error,) = filter(None, (cost.error for cost in estimate(plan(tmp_path)).values()))
    assert (
        "stages of plain: b 4x2x2, c 4x1x1; stages of resnet8: returned by the network: 16x8x8"
        in error
    )
    assert "`networks: {plain: {stages: [layer, …]}}` declares other stages" in error
    estimates = estimate(plan(tmp_path, DECLARED)).values()
    assert [cost.error for cost in estimates] == [None] * 4


@pytest.mark.case("convolution-as-first-block")
def test_only_runs_that_read_stages_get_new_ids(tmp_path: Path) -> None:
    before, after = plan(tmp_path), plan(tmp_path, DECLARED)
    same = [a.run == b.run for a, b in zip(before.cells, after.cells, strict=True)]
    assert same == [True, True, False]
    assert before.cells[0].teacher == after.cells[0].teacher


@pytest.mark.case("convolution-as-first-block")
def test_runs_with_declared_stages_of_both_networks_train(tmp_path: Path) -> None:
    declared = "{plain: {stages: [a, b, c]}, resnet8: {stages: [layer1, layer2, layer3]}}"
    results = toy.run(plan(tmp_path, declared), tmp_path)
    assert [record.status for record in results.records()] == ["done"] * 4


def test_teacher_has_its_declared_stages_beside_runs_that_read_none(tmp_path: Path) -> None:
    """The first run of a cohort need not read stages; the numbers do not depend on other runs."""
    pair = "[{teacher: plain, student: resnet8}]"
    (tmp_path / "plain.py").write_text(PLUGIN)
    lines = {"pairs": pair, "plugins": "[plain.py]", "networks": DECLARED}
    together = toy.plan(tmp_path, methods="[kd, at]", **lines)
    numbers = toy.outcome(together, tmp_path / "together")
    assert '"done"' in numbers["at"]
    alone = toy.outcome(select(together, "method=at"), tmp_path / "alone")
    assert alone == {"at": numbers["at"]}


@pytest.mark.case("wrong-stages")
def test_show_lists_the_layers(here: Path) -> None:
    plan(here, DECLARED)
    result = bench("show", "toy.yaml")
    assert "# plain: a 4x4x4, b 4x2x2, c 4x1x1" in result.stdout
    assert "# resnet8: returned by the network: 16x8x8, 32x4x4, 64x2x2" in result.stdout
    (here / "shown.yaml").write_text(result.stdout)
    assert bench("show", "shown.yaml").exit_code == 0


def test_an_unused_network_is_refused(here: Path) -> None:
    plan(here, DECLARED)
    path = here / "toy.yaml"
    path.write_text(path.read_text().replace("{plain: {", "{plane: {"))
    result = bench("validate", "toy.yaml")
    assert result.exit_code == 2
    assert "networks.plane: no network of a pair 'plane'. Did you mean 'plain'?" in result.stderr
