"""The benchmarks' code on a toy suite: it runs, and its numbers mean what they say."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.report import ReportOptions, build
from bench.results import Results
from bench.suite import canonical
from distillers import Features, Setting, Shapes
from distillers.crd import CRD
from tests import toy
from tests.benchmarks import records, summary, table, timing, training
from tests.benchmarks.ceiling import ceiling
from tests.benchmarks.cohort import cohort
from tests.benchmarks.commands import start
from tests.benchmarks.images import images
from tests.benchmarks.kept import kept
from tests.benchmarks.memory import state_bytes
from tests.benchmarks.ours import CohortSteps
from tests.benchmarks.parts import main
from tests.benchmarks.reference import BatchWithRows, GatheredCRD, PILImagesWithNegatives
from tests.benchmarks.scores import scores
from tests.benchmarks.table import Row
from tests.benchmarks.training import alone, data, evaluation, lockstep
from tests.benchmarks.tried import tried
from tests.benchmarks.workload import Workload

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    suite = toy.write(tmp_path_factory.mktemp("toy"), methods="[student, kd, crd, wcord+kd]")
    return Workload(suite, threads=1, rounds=1, steps=1, workers=0)


@pytest.mark.parametrize(
    "part",
    [ceiling, alone, lockstep, cohort, data, evaluation, scores, tried, kept],
)
def test_part_returns_rows_with_positive_numbers(
    part: Callable[[Workload], list[Row]], load: Workload
) -> None:
    rows = part(load)
    assert len({row.what for row in rows}) > 1
    assert all(min(row.samples) > 0 for row in rows)
    assert len(table.markdown(rows).splitlines()) == 2 + len(rows)


def test_the_suite_of_all_methods_has_all_methods() -> None:
    path = Path(__file__).with_name("all.yaml")
    assert list(Workload(path).tasks()) == list(canonical())


def test_cached_hashes_are_timed_after_first_hashes(load: Workload) -> None:
    first, cached = images(replace(load, runs=200))
    assert [first.what, cached.what] == [
        "hashes of 2,000 JPEG files of 64 x 64, first time",
        "hashes of 2,000 JPEG files of 64 x 64, from the cache",
    ]
    assert first.samples[0] > cached.samples[0] > 0


def test_growth_has_a_row_for_each_value(load: Workload) -> None:
    rows = training.growth(load)
    values = {axis: [r.what for r in rows if axis in r.part] for axis in ("methods", "negatives")}
    assert values == {"methods": ["1", "2", "4"], "negatives": ["1", "4", "16"]}


def test_start_times_a_worker_until_its_first_step(load: Workload) -> None:
    [row] = start(load)
    assert row.what == "start of a cohort of 4 methods, to the end of its first step"
    assert row.samples[0] > 0


def test_each_round_times_the_steps_of_each_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    now, counts = [0.0], []
    monkeypatch.setitem(timing.CLOCKS, "wall", lambda: now[0])

    def slow(count: int) -> None:
        counts.append(count)
        now[0] += 0.25 * count

    times = timing.time_subjects(
        {"slow": slow, "quick": lambda count: None}, Workload(rounds=3, steps=2, warm=1)
    )
    assert counts == [1, 2] * 3
    assert times == {"slow": [250.0] * 3, "quick": [0.0] * 3}


def test_target_applies_to_the_median_ratio_or_else_to_the_median() -> None:
    row = Row("part", "what", [5.0], ratios=[1.0, 1.4, 9.0], target="≥ 1.3")
    assert row.met
    assert Row("part", "what", [5.0], target="≤ 4").met is False
    assert Row("part", "what", [5.0]).met is None


def test_reference_crd_equals_crd() -> None:
    torch.manual_seed(0)
    shapes = Shapes(((4, 8, 8),), 16, 5)
    setting = Setting(shapes, shapes, torch.arange(40) % 5, torch.Generator().manual_seed(0))
    options = {"width": 8, "negatives": 12, "temperature": 0.07, "momentum": 0.5}
    ours, reference = CRD(setting, **options), GatheredCRD(setting, options)
    for part in ("embed_s", "embed_t"):
        reference.get_submodule(part).load_state_dict(ours.get_submodule(part).state_dict())
    reference.bank_s.copy_(ours.bank_s.rows)
    reference.bank_t.copy_(ours.bank_t.rows)
    for first in (0, 6):  # the second batch uses the banks and Z that the first one updated
        index = torch.arange(first, first + 6)
        batch = BatchWithRows(setting.train_labels[index], index, rows=torch.randint(40, (6, 13)))
        s, t = (Features((), torch.randn(6, 16), torch.randn(6, 5)) for _ in range(2))
        torch.testing.assert_close(reference(s, t, batch), ours(s, t, batch, batch.rows))
    torch.testing.assert_close(reference.bank_t, ours.bank_t.rows)


def test_reference_draws_negatives_of_other_classes(load: Workload) -> None:
    images = PILImagesWithNegatives(load.data, 16)
    image, label, index, rows = images[5]
    assert image.shape == (3, 8, 8)
    assert rows[0] == index == 5
    assert len(set(rows[1:])) == 16
    assert label not in images.labels[rows[1:]]


def test_states_are_weights_gradients_momenta_and_buffers(load: Workload) -> None:
    cohort = CohortSteps(load, ["student"])
    cohort(1)
    student, teacher = cohort.learners[0].net, cohort.teacher.net
    buffers = sum(b.nbytes for network in (student, teacher) for b in network.buffers())
    weights = sum(p.nbytes for p in student.parameters())
    teacher_weights = sum(p.nbytes for p in teacher.parameters())
    assert state_bytes(cohort) == buffers + 3 * weights + teacher_weights


def test_random_records_give_a_table(load: Workload, tmp_path: Path) -> None:
    plan, results = load.plan(), Results(tmp_path)
    (tmp_path / "runs").mkdir()
    for run, text in records.record_texts(plan):
        (tmp_path / "runs" / f"{run}.json").write_text(text)
    for run in plan.runs.values():
        record = results.record(run.id)
        assert record is not None
        assert len(record.curves) == run.specification.recipe.epochs
    assert "±" not in build.write(plan, results, ReportOptions(formats=["csv"]))[0].read_text()


def test_command_prints_one_table_and_saves_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(tmp_path)
    threads = torch.get_num_threads()
    main(["data", "--suite", str(tmp_path / "toy.yaml"), "--rounds", "2", "--steps", "1",
          "--threads", str(threads), "--json", str(tmp_path / "numbers.json")])  # fmt: skip
    printed = capsys.readouterr().out
    assert "| data   | a batch, float32 |" in printed
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert [len(row["samples"]) for row in numbers["rows"]] == [2, 2]
    assert numbers["heading"] in printed


def test_summary_draws_both_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in summary.RAW.glob("*.md"):
        (tmp_path / file.name).write_text(file.read_text())
    summary.main(tmp_path)
    assert capsys.readouterr().out.count("\n|:") == 3
    for name in ("speed", "growth"):
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()
