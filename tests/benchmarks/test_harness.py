"""The benchmarks' own machinery, on a toy: that they run and mean what they say, not how long."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.report import ReportOptions, build
from bench.results import Results
from distillers import Features, Setting, Shapes
from distillers.crd import CRD
from tests import toy
from tests.benchmarks import records, rounds, table, training
from tests.benchmarks.__main__ import main
from tests.benchmarks.around import start
from tests.benchmarks.ceiling import ceiling
from tests.benchmarks.memory import states
from tests.benchmarks.ours import Cohort
from tests.benchmarks.reference import ByRows, Contrasted, Drawn
from tests.benchmarks.scores import scores
from tests.benchmarks.table import Row
from tests.benchmarks.training import alone, data, evaluation, together
from tests.benchmarks.tried import tried
from tests.benchmarks.workload import Workload


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    suite = toy.write(tmp_path_factory.mktemp("toy"), methods="[student, kd, crd, wcord+kd]")
    return Workload(suite, threads=1, rounds=1, steps=1, workers=0)


@pytest.mark.parametrize(
    "part",
    [ceiling, alone, together, data, evaluation, scores, tried],
)
def test_a_part_has_rows_with_numbers(
    part: Callable[[Workload], list[Row]], load: Workload
) -> None:
    rows = part(load)
    assert len({row.what for row in rows}) > 1
    assert all(min(row.samples) > 0 for row in rows)
    assert len(table.markdown(rows).splitlines()) == 2 + len(rows)


def test_growth_has_a_row_for_each_value(load: Workload) -> None:
    rows = training.growth(load)
    found = {axis: [r.what for r in rows if axis in r.part] for axis in ("methods", "negatives")}
    assert found == {"methods": ["1", "2", "4"], "negatives": ["1", "4", "16"]}


def test_a_worker_is_timed_up_to_its_first_step(load: Workload) -> None:
    [row] = start(load)
    assert row.what == "start of a cohort of 4, to the end of its first step"
    assert row.samples[0] > 0


def test_each_round_times_the_steps_of_each_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    now, made = [0.0], []
    monkeypatch.setitem(rounds.CLOCKS, "wall", lambda: now[0])

    def slow(count: int) -> None:
        made.append(count)
        now[0] += 0.25 * count

    found = rounds.interleaved(
        {"slow": slow, "quick": lambda count: None}, Workload(rounds=3, steps=2, warm=1)
    )
    assert made == [1, 2] * 3
    assert found == {"slow": [250.0] * 3, "quick": [0.0] * 3}


def test_a_target_is_held_against_the_median_of_the_ratios() -> None:
    row = Row("part", "what", [5.0], ratios=[1.0, 1.4, 9.0], target="≥ 1.3")
    assert row.met
    assert Row("part", "what", [5.0], target="≤ 4").met is False
    assert Row("part", "what", [5.0]).met is None


def test_the_reference_of_crd_has_the_loss_of_crd() -> None:
    torch.manual_seed(0)
    shapes = Shapes(((4, 8, 8),), 16, 5)
    setting = Setting(shapes, shapes, torch.arange(40) % 5, torch.Generator().manual_seed(0))
    options = {"width": 8, "negatives": 12, "temperature": 0.07, "momentum": 0.5}
    ours, theirs = CRD(setting, **options), ByRows(setting, options)
    for part in ("embed_s", "embed_t"):
        theirs.get_submodule(part).load_state_dict(ours.get_submodule(part).state_dict())
    theirs.bank_s.copy_(ours.bank_s.rows)
    theirs.bank_t.copy_(ours.bank_t.rows)
    for first in (0, 6):  # the second batch meets the banks and Z that the first has left
        index = torch.arange(first, first + 6)
        batch = Drawn(setting.train_labels[index], index, torch.randint(40, (6, 13)))
        s, t = (Features((), torch.randn(6, 16), torch.randn(6, 5)) for _ in range(2))
        torch.testing.assert_close(theirs(s, t, batch), ours(s, t, batch, batch.rows))
    torch.testing.assert_close(theirs.bank_t, ours.bank_t.rows)


def test_the_reference_draws_other_classes(load: Workload) -> None:
    pictures = Contrasted(load.data, 16)
    image, label, place, rows = pictures[5]
    assert image.shape == (3, 8, 8)
    assert rows[0] == place == 5
    assert len(set(rows[1:])) == 16
    assert label not in pictures.labels[rows[1:]]


def test_states_are_weights_gradients_momenta_and_buffers(load: Workload) -> None:
    cohort = Cohort(load, ["student"])
    cohort(1)
    net, teacher = cohort.learners[0].net, cohort.teacher.net
    buffers = sum(b.nbytes for net in (net, teacher) for b in net.buffers())
    weights = sum(p.nbytes for p in net.parameters())
    assert states(cohort) == buffers + 3 * weights + sum(p.nbytes for p in teacher.parameters())


def test_drawn_records_make_a_table(load: Workload, tmp_path: Path) -> None:
    whole, results = load.plan(), Results(tmp_path)
    (tmp_path / "runs").mkdir()
    for run, text in records.texts(whole):
        (tmp_path / "runs" / f"{run}.json").write_text(text)
    for run in whole.runs.values():
        record = results.record(run.id)
        assert record is not None
        assert len(record["curves"]) == run.specification["recipe"]["epochs"]
    assert "±" not in build.write(whole, results, ReportOptions(formats=["csv"]))[0].read_text()


def test_the_command_prints_one_table_and_keeps_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(tmp_path)
    threads = torch.get_num_threads()
    main(["data", "--suite", str(tmp_path / "toy.yaml"), "--rounds", "2", "--steps", "1",
          "--threads", str(threads), "--json", str(tmp_path / "kept.json")])  # fmt: skip
    printed = capsys.readouterr().out
    assert "| data   | a batch, float32 |" in printed
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [len(row["samples"]) for row in kept["rows"]] == [2, 2]
    assert kept["heading"] in printed
