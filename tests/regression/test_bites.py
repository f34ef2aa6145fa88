"""Sensitivity of the check: losses are broken, real students retrained, the broken cells named.

Each rerun has the seeds and the teacher of its baseline: cells that are not broken must be
bit-for-bit identical, and broken ones must be regressions in top-1 accuracy. Students of `EARLY`
stop while they still learn, where a loss that is too weak shows. Those of `LATE` learn longer, and
the cross-entropy of CRD has the weight 0.1: its negatives must separate the classes.

The comments in `BREAKAGES` state the cost of each in points of accuracy. Five groups of 4 seeds
(0-3 to 16-19) were trained honestly and broken, and each broken group was compared with each honest
one: 25 checks, in all of which exactly the broken cells are regressions; p is the largest of any
cell.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from torch import Tensor

from bench import regression, report
from bench.regression import Verdicts
from bench.report import build
from bench.report.model import Entry, Report
from bench.training.trainer import Trainer, WeightedLoss
from distillers import Features
from distillers._memory_bank import NegativeSampler
from distillers.kd import KD
from tests import toy

pytestmark = pytest.mark.slow

Suite = Mapping[str, str]

DIGITS = {
    "dataset": "{name: digits, per_class: 8}",
    "teachers": "{recipe: {epochs: 40, lr: 0.05, milestones: [30]}}",  # 90.6 %
    "seeds": "0-3",
    "options": "{crd: {negatives: 64}}",
}
RECIPE = "batch_size: 16, crop: 1, flip: false, evaluate_every: 40"
EARLY = DIGITS | {
    "recipe": f"{{epochs: 12, lr: 0.02, milestones: [10], {RECIPE}}}",
    "methods": "{student: papers, kd: papers, at: {ce: 1, at: 62.5}}",
}
LATE = DIGITS | {
    "recipe": f"{{epochs: 30, lr: 0.03, milestones: [24], {RECIPE}}}",
    "methods": "{student: papers, crd: {ce: 0.1, crd: {weight: 0.8, temperature: 0.5}}}",
}

divergence, objective, begin_epoch = KD.forward, WeightedLoss.forward, Trainer.begin_epoch


def without_t2(self: KD, *batch: Any) -> Tensor:
    """KD without the factor T²: 16 times too small at T = 4."""
    return divergence(self, *batch) / self.temperature**2


def of_the_same_class(self: NegativeSampler, labels: Tensor) -> Tensor:
    """CRD's negatives, drawn from the anchor's own class alone."""
    same = (self.train_labels == labels[:, None]).float()
    return same.multinomial(self.negatives, replacement=True, generator=self.rng)


def in_eval_mode(self: Trainer) -> None:
    """Students whose BatchNorm keeps the mean 0 and the variance 1 that it began with."""
    begin_epoch(self)
    self.net.eval()


def misaligned(self: WeightedLoss, student: Features, teachers: Any, batch: Any) -> Any:
    """Every sample is shown what the teacher says of its neighbour in the batch."""
    (teacher,) = teachers
    stages = tuple(stage.roll(1, 0) for stage in teacher.stages)
    shifted = Features(stages, teacher.pooled.roll(1, 0), teacher.logits.roll(1, 0))
    return objective(self, student, [shifted], batch)


@dataclass(frozen=True)
class Breakage:
    """What is put in the place of `owner.name`, and the cells that it breaks."""

    suite: Suite
    owner: type
    name: str
    broken: Callable[..., Any]
    cells: set[str]


BREAKAGES = {
    # 19.4 to 31.8 points, p <= 0.0074
    "kd without T2": Breakage(EARLY, KD, "forward", without_t2, {"kd"}),
    # 10.1 to 20.3 points, p <= 0.0080
    "crd, same class": Breakage(LATE, NegativeSampler, "forward", of_the_same_class, {"crd"}),
    # student 13.7 to 30.1, kd 22.7 to 40.4, at 38.0 to 55.9 points, p <= 0.022
    "eval mode": Breakage(EARLY, Trainer, "begin_epoch", in_eval_mode, {"student", "kd", "at"}),
    # kd 60.2 to 67.0, at 12.4 to 28.2 points, p <= 0.0058
    "misaligned": Breakage(EARLY, WeightedLoss, "forward", misaligned, {"kd", "at"}),
}


@dataclass(frozen=True)
class Rerun:
    """A broken suite's entries, the honest baseline, and the cells that are broken."""

    entries: list[Entry]
    baseline: Report
    cells: set[str]

    def check(self, tolerance: float = 0.5) -> Verdicts:
        """The gate's verdicts on the top-1 accuracy."""
        return regression.check(self.entries, self.baseline, "top1", tolerance)


def trained(suite: Suite, folder: Path, taught: Path | None = None) -> list[Entry]:
    """The entries of a suite, trained in a folder of its own; by a teacher that is there if any."""
    if taught:
        shutil.copytree(taught / "results", folder / "results")
    full_plan = toy.plan(folder, **suite)
    return list(build.entries(full_plan, toy.run(full_plan, folder)))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose results are the teacher of all students."""
    folder = tmp_path_factory.mktemp("taught")
    full_plan = toy.plan(folder, **EARLY)
    teachers = {id: run for id, run in full_plan.runs.items() if run.kind == "teacher"}
    toy.run(replace(full_plan, runs=teachers, cells=()), folder)
    return folder


@pytest.fixture(scope="module")
def baselines(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """The honest baseline of each suite, by its methods; recorded in a file, and read from it."""
    result = {}
    for suite in (EARLY, LATE):
        folder = tmp_path_factory.mktemp("honest")
        honest = trained(suite, folder, taught)
        text = report.render(regression.baseline(honest, "toy"), "json")
        (folder / "baseline.json").write_text(text, "utf-8")
        result[suite["methods"]] = regression.read(folder / "baseline.json")
    return result


@pytest.fixture(scope="module", params=BREAKAGES)
def rerun(
    request: pytest.FixtureRequest,
    taught: Path,
    baselines: dict[str, Report],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rerun:
    """Each breakage's suite, trained again while it is broken."""
    breakage = BREAKAGES[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(breakage.owner, breakage.name, breakage.broken)
        broken = trained(breakage.suite, tmp_path_factory.mktemp("broken"), taught)
    return Rerun(broken, baselines[breakage.suite["methods"]], breakage.cells)


def test_exactly_the_broken_cells_are_regressions(rerun: Rerun) -> None:
    result = rerun.check()
    assert {cell.method for cell in result.named("regression")} == rerun.cells
    assert (result.outcome, result.exit_code()) == ("regression", 1)
    others = [cell for cell in result.cells if cell.method not in rerun.cells]
    assert {cell.reason for cell in others} <= {"bit-for-bit identical"}


def test_every_output_names_exactly_the_broken_cells(rerun: Rerun) -> None:
    result = rerun.check()
    document = regression.verdicts_document(result)
    text, attention = report.text(document), report.markdown(document).partition("<details>")[0]
    root = ET.fromstring(regression.verdicts_junit(result).encode())
    failures = [
        case.get("name") for case in root.iter("testcase") if case.find("failure") is not None
    ]
    assert set(failures) == rerun.cells
    for cell in result.cells:
        named = cell.method in rerun.cells
        assert (f"regression: resnet8/resnet8 {cell.method}: worse by" in text) is named
        row = rf"\| regression +\| resnet8/resnet8 +\| {cell.method} +\|"
        assert bool(re.search(row, attention)) is named


def test_a_loss_that_is_tolerated_is_no_regression(rerun: Rerun) -> None:
    losses = {cell.method: -(cell.change or 0.0) for cell in rerun.check().named("regression")}
    for method, loss in losses.items():
        for tolerance, alarm in ((loss - 0.01, True), (loss + 0.01, False)):
            result = rerun.check(tolerance).named("regression")
            assert (method in {cell.method for cell in result}) is alarm
    assert rerun.check(max(losses.values()) + 0.01).exit_code() == 0


def test_an_unbroken_rerun_is_the_same_to_the_last_digit(
    baselines: dict[str, Report], tmp_path: Path
) -> None:
    """Its teacher is trained anew, too."""
    result = regression.check(trained(EARLY, tmp_path), baselines[EARLY["methods"]], tolerance=0.0)
    assert result.counts == {"pass": 3}
    assert {cell.reason for cell in result.cells} == {"bit-for-bit identical"}
    assert result.exit_code(strict=True) == 0
