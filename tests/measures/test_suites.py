"""Measures from the key in a suite to the cell of a table."""

import json
import re
from dataclasses import replace

import pytest

from bench import api
from bench.errors import BenchError, ConfigError
from bench.execution.runner import pending
from bench.overview import describe_plan, describe_status
from bench.planning import saved
from bench.planning.cohorts import cohorts
from bench.planning.estimate import estimate
from bench.planning.plan import select
from bench.regression import check, compare
from bench.report import ReportOptions, build
from bench.results import Results
from bench.suite import find, read, render
from tests import toy

PROBES = """{
  near: {dataset: {name: digits, per_class: 9, test_per_class: 6}, kind: knn, k: 3,
    features: stages},
  line: {dataset: {name: digits, per_class: 9, test_per_class: 6}},
  drift: {dataset: {name: digits, per_class: 9, test_per_class: 6}, recipe: {epochs: 2, crop: 0},
    batch_norm: drifting},
  tune: {dataset: {name: digits, per_class: 9, test_per_class: 6}, kind: finetune,
    recipe: {epochs: 1, crop: 0}}}"""
EVALUATE = """{corrupted: {types: [gaussian_noise, blur], severities: [1, 5]}, cka: stages,
  calibration: true, teacher_in_top5: true, classes: true, agreement_floor: true}"""
LINES = {"seeds": "[0, 1]", "probes": PROBES, "evaluate": EVALUATE}
OF_STUDENTS = {"cka", "teacher_in_top5", "agreement_floor"}


def plan(folder, **lines):
    return toy.plan(folder, **{**LINES, **lines})


def measures(plan, results):
    """Return the metrics of each measure, by the names of its network and of the measure."""
    names = plan.names()
    return {
        (names[subject], name): results.record(run).metrics
        for (subject, name), run in plan.measures.items()
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    made = plan(folder)
    return made, toy.run(made, folder), folder


@pytest.mark.slow
def test_every_network_of_the_table_is_measured(done):
    made, results, _ = done
    assert len(made.measures) == 5 * 7 + 4 * 3
    assert {results.record(run).status for run in made.measures.values()} == {"done"}
    teachers = {cell.teacher for cell in made.cells}
    assert not {name for id, name in made.measures if id in teachers} & OF_STUDENTS
    last = measures(made, results)["resnet8/resnet8 kd seed 1", "probe.near"]["last"]
    assert last.keys() == {"top1", "balanced", "stage1", "stage2", "stage3"}
    assert last["top1"] == last["balanced"]
    cka = measures(made, results)["resnet8/resnet8 kd seed 1", "cka"]["last"]
    assert cka.keys() == {"cka", "cka.stage1", "cka.stage2", "cka.stage3"}
    assert all(0 <= value <= 1 for value in cka.values())


def test_a_measure_is_a_run_that_needs_its_network(done):
    made, _, _ = done
    for (subject, _), id in made.measures.items():
        run = made.runs[id]
        assert run.kind == "probe"
        assert run.specification.subject == subject
        assert subject in run.needs
    order = list(made.runs)
    assert all(order.index(s) < order.index(id) for (s, _), id in made.measures.items())


def test_measures_of_one_cohort_on_one_data_set_are_one_cohort(done):
    made, _, _ = done
    groups = cohorts(made.runs[id] for id in made.measures.values())
    shapes = [(len(group.runs), {run.specification.data.per_class for run in group.runs})
              for group in groups]  # fmt: skip
    assert sorted(map(str, shapes)) == sorted(
        map(str, [(3, {8}), (4, {9}), (12, {8}), (8, {9}), (12, {8}), (8, {9})])
    )


def test_the_floor_compares_the_seeds_of_a_method(done):
    made, results, _ = done
    values = measures(made, results)
    for method in ("student", "kd"):
        key = "agreement_floor"
        first, second = (values[f"resnet8/resnet8 {method} seed {s}", key]["last"] for s in (0, 1))
        assert first == second  # two seeds are one pair


def test_alone_or_together_measures_give_the_same_numbers(done, tmp_path):
    made, results, _ = done
    part = select(plan(tmp_path), "method=kd,seed=1")
    alone = toy.run(part, tmp_path)
    together = measures(made, results)
    for key, values in measures(part, alone).items():
        assert values == together[key]
    assert len(part.measures) == 17


def test_measures_can_be_added_to_a_finished_suite(done, tmp_path):
    made, results, _ = done
    bare = plan(tmp_path, probes="", evaluate="")
    finished = toy.run(bare, tmp_path)
    before = {id: finished.file(id).read_bytes() for id in bare.runs}
    added = plan(tmp_path, probes="", evaluate="{classes: true}")
    todo = pending(added, finished, "failed")
    assert {run.id for run in todo} == set(added.measures.values())
    toy.run(added, tmp_path)
    assert {id: finished.file(id).read_bytes() for id in bare.runs} == before
    assert measures(added, finished).items() <= measures(made, results).items()


def test_a_measure_without_weights_is_skipped_and_says_why(tmp_path):
    made = plan(tmp_path, probes="", evaluate="{classes: true}", seeds="[0]")
    bare = plan(tmp_path, probes="", evaluate="", seeds="[0]")
    results = toy.run(bare, tmp_path)
    student = next(c.run for c in bare.cells if c.method.name == "kd")
    results.weights(student).unlink()
    unfinished = api.execute(made, results, api.Machine(gpus=(), inline=True))
    record = results.record(made.measures[student, "classes"])
    assert [r.id for r in unfinished] == [record.id]
    assert record.status == "skipped"
    assert re.search(
        r"weights of resnet8/resnet8 kd seed 0 are missing: .*--overwrite", record.reason
    )
    others = [id for (s, _), id in made.measures.items() if s != student]
    assert {results.record(id).status for id in others} == {"done"}


def test_tables_statistics_and_frames_have_the_metrics(done):
    made, results, folder = done
    for metric in ("probe.line.top1", "probe.near.stage2", "corrupted.blur", "cka", "nll_scaled"):
        report = build.assemble(made, results, ReportOptions(metric))
        [table] = report.tables
        assert table.metric.name == metric
        assert all(cell.measured for cell in table.cells)
        roles = {row.role for row in table.rows}
        assert ("teacher" in roles) == (metric != "cka")
    from bench import tables

    frame = tables.records(results.folder)
    assert len(frame) == 5
    assert frame["probe.line.top1"].notna().all()
    assert tables.table(frame, metric="probe.line.top1").report.tables[0].cells


def test_captions_state_the_protocol(done):
    made, results, _ = done

    def caption(metric):
        return str(build.assemble(made, results, ReportOptions(metric)).tables[0].caption)

    assert "logistic regression to convergence" in caption("probe.line.top1")
    assert "only 9 training images per class" in caption("probe.line.top1")
    assert "3 nearest neighbours by cosine" in caption("probe.near.top1")
    assert "statistics of the probe's images" in caption("probe.drift.top1")
    assert "not CIFAR-100-C" in caption("corrupted.top1")
    assert "one half of the test images" in caption("ece_scaled")
    assert "Toy" not in caption("top1")


def test_an_unknown_metric_lists_those_of_the_suite(done):
    made, results, _ = done
    with pytest.raises(BenchError, match=r"'probe.lines.top1'. Did you mean 'probe.line.top1'"):
        build.assemble(made, results, ReportOptions("probe.lines.top1"))
    with pytest.raises(BenchError, match="no metric 'corrupted.jpeg'"):
        build.assemble(made, results, ReportOptions("corrupted.jpeg"))


def test_the_gate_checks_a_measure(done):
    made, results, folder = done
    before = build.assemble(made, results)
    verdicts = check(build.entries(made, results), before, "probe.line.top1")
    assert {v.outcome for v in verdicts.cells} == {"pass"}
    records = list(results.records(curves=False))
    same = compare(records, records, "corrupted.top1")
    assert {v.outcome for v in same.cells} == {"same"}
    assert len(same.cells) == 3


def test_a_missing_measure_has_a_reason(done, tmp_path):
    made, results, _ = done
    part = Results(tmp_path / "results")
    for id, run in made.runs.items():
        if run.kind != "probe":
            part.write(results.record(id))
    [table] = build.assemble(made, part, ReportOptions("probe.line.top1")).tables
    assert {cell.missing.reason for cell in table.cells} == {"missing: not run yet"}


def test_saved_plans_keep_measures(done):
    made, results, _ = done
    path = saved.path_of(results.folder, made.suite.name)
    again, _ = saved.load(path)
    assert again.measures == made.measures
    assert again.suite.probes == made.suite.probes
    for metric in ("probe.tune.oracle", "cka.stage1"):
        options = ReportOptions(metric)
        assert build.assemble(again, results, options) == build.assemble(made, results, options)


def test_plan_and_status_list_measures(done):
    made, results, folder = done
    status = {row["measure"]: row["states"] for row in describe_status(made, results)["measures"]}
    assert status["cka"] == {"done": 4}
    assert status["probe.line"] == {"done": 5}
    empty = Results(folder / "empty")
    states = {r["measure"]: r["states"] for r in describe_plan(made, empty)["measures"]}
    assert states["probe.line"] == {"to do": 5}


def test_a_probe_of_an_impossible_network_is_impossible(tmp_path):
    made = plan(tmp_path, methods="[kd, fsp]", pairs="[{teacher: resnet8, student: vgg8}]")
    estimates = estimate(made)
    lost = {c.run for c in made.cells if estimates[c.run].error}
    assert lost
    for (subject, _), id in made.measures.items():
        assert bool(estimates[id].error) == (subject in lost)


def test_the_rendered_suite_is_the_same_suite(tmp_path):
    suite = read(toy.write(tmp_path, **LINES))
    again = tmp_path / "again.yaml"
    again.write_text(render(suite))
    other = read(again)
    assert other.probes == suite.probes
    assert json.dumps(other.evaluate) == json.dumps(suite.evaluate)


def test_recipes_of_code_bases_are_theirs(tmp_path):
    lines = {"probes": "{h: {dataset: {name: tiny_imagenet, size: 32}, recipe: hsakd}, "
             "d: {dataset: {name: stl10, size: 32}, recipe: distillers}}"}  # fmt: skip
    hsakd, distillers = read(toy.write(tmp_path, **lines)).probes
    assert (hsakd.kind, hsakd.batch_norm, hsakd.normalise) == ("sgd", "frozen", "imagenet")
    recipe = hsakd.recipe
    assert (recipe.lr, recipe.weight_decay, recipe.nesterov, recipe.epochs) == (0.1, 0, True, 100)
    assert recipe.resized_crop
    assert recipe.milestones == (30, 60, 90)
    assert (distillers.batch_norm, distillers.normalise) == ("drifting", "target")
    recipe = distillers.recipe
    assert (recipe.lr, recipe.weight_decay, recipe.epochs, recipe.crop) == (0.05, 5e-4, 120, 4)
    pairs = "[{teacher: resnet8, student: mobilenet_v2}]"
    made = toy.plan(tmp_path, pairs=pairs, **lines)
    rates = {
        run.specification.recipe.lr
        for (s, n), id in made.measures.items()
        if n == "probe.d" and made.runs[s].kind == "student" and (run := made.runs[id])
    }
    assert rates == {0.01}


MISTAKES = {
    "{a: {dataset: stl1}}": r"toy.yaml:\d+  probes.a.dataset: .* Did you mean 'stl10'",
    "{a: {kind: knn}}": r"probes.a.dataset: missing",
    "{a: {dataset: digits, k: 3}}": r"probes.a.k: has no effect on kind: logistic",
    "{a: {dataset: digits, kind: finetune, recipe: hsakd}}": "trains only a classifier",
    "{a: {dataset: digits, kind: sgd, recipe: {mixup: 0.5}}}": "probes do not have mixup",
    "{a: {dataset: digits, recipe: hsakt}}": "Did you mean 'hsakd'",
    "{a: {dataset: digits, recipe: {crop: 9}}}": "at most 8, the side of an image",
    "{a b: {dataset: digits}}": "a name of letters, digits",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_probes_are_named(text, tmp_path):
    with pytest.raises(ConfigError, match=MISTAKES[text]):
        read(toy.write(tmp_path, probes=text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{corrupted: {types: [blurr]}}", "Did you mean 'blur'"),
        ("{corrupted: {severities: [6]}}", "different whole numbers from 1 to 5"),
        ("{corupted: true}", "Did you mean 'corrupted'"),
        ("{cka: both}", "pooled or stages"),
        ("{agreement_floor: true}", "compares two seeds of a method; found 1 seed"),
        ("{cifar100_c: true}", "all test images of CIFAR-100"),
    ],
)
def test_mistakes_in_evaluate_are_named(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        read(toy.write(tmp_path, evaluate=text))


def test_suites_without_measures_have_none():
    suite = read(find("quickstart"))
    assert suite.probes == ()
    assert suite.evaluate == {}
    assert replace(suite) == suite
