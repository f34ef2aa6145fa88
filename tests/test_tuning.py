"""`tune`: trials on held-out images of the training set choose weights and options of methods."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import api, data, suite
from bench.api import Machine
from bench.cli.options import SuiteOptions
from bench.cli.plan import plan_text
from bench.cli.show import choices
from bench.cli.status import status_text
from bench.data import Selection
from bench.data.builtin import BUILTIN
from bench.errors import BenchError, ConfigError
from bench.overview import describe_plan, describe_status
from bench.planning import saved
from bench.planning.plan import Plan
from bench.planning.tuning import shortened
from bench.report import build
from bench.report.checklist import tuning
from bench.report.figures import draw
from bench.report.figures.tuning import best_so_far
from bench.results import Results
from bench.spec import Recipe
from tests import toy

KD = "kd: {weight: {low: 0.1, high: 10, log: true}, temperature: [1, 2, 4, 8]}"
TUNE = f"{{images: 50, trials: 3, methods: {{{KD}}}}}"


def write(folder: Path, tune: str = TUNE, **lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    return toy.write(folder, tune=tune, **lines)


def load(path: Path, folder: Path) -> Plan:
    """The plan of a suite after the trials in a folder."""
    return api.load_plan(path, results=Results(folder / "results"))


def train(path: Path, folder: Path) -> Plan:
    """Train the trials and the table of a suite."""
    results = Results(folder / "results")
    machine = Machine(gpus=(), inline=True)
    plan = api.run_trials(
        lambda: load(path, folder), lambda plan: api.execute(plan, results, machine), results
    )
    api.execute(plan, results, machine)
    return plan


def trial_specs(plan: Plan) -> list[Any]:
    assert plan.trials is not None
    return [run.specification for run in plan.trials.runs.values()]


def trial_ids(plan: Plan) -> list[str]:
    return [run for search in plan.searches for trial in search.trials for run in trial.runs]


def outcomes(plan: Plan, folder: Path) -> list[Any]:
    """The numbers of all runs of the table and its trials, and the choices."""
    results = Results(folder / "results")
    trials = plan.trials.runs if plan.trials else {}
    records = [toy.numbers(results.record(id)) for id in (*trials, *plan.runs)]
    return [records, plan.searches]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    folder = tmp_path_factory.mktemp("tuned")
    return train(write(folder), folder), folder


def test_trials_are_runs_on_other_images_with_other_seeds(tmp_path: Path) -> None:
    plan = load(write(tmp_path), tmp_path)
    specs = trial_specs(plan)
    assert len(specs) == 4  # a teacher, which does not learn from the held-out images, and 3 trials
    assert {(spec.data.held_out, spec.data.test_per_class, spec.seed) for spec in specs} == {
        (50, None, 900)
    }
    assert not {spec.id for spec in specs} & plan.runs.keys()
    assert plan.undecided == {plan.first[cell.run].run for cell in plan.cells if
                              cell.method.name == "kd"}  # fmt: skip


def test_suites_without_tune_have_no_held_out_images_in_their_ids(tmp_path: Path) -> None:
    spec = next(iter(toy.plan(tmp_path).runs.values())).specification
    assert "held_out" not in spec.content["data"]
    assert "undecided" not in spec.content


def test_the_table_has_the_settings_of_the_best_trial(done: tuple[Plan, Path]) -> None:
    plan, folder = done
    [search] = plan.searches
    results = Results(folder / "results")
    values = {}
    for trial in search.trials:
        record = results.summary(trial.runs[0])
        assert record is not None
        values[trial.number] = record.top1
    assert search.chosen is not None
    assert search.chosen.number == min(values, key=lambda n: (-(values[n] or 0), n))
    chosen = search.chosen.values
    terms = {cell.method.name: cell.method.terms for cell in plan.cells}["kd"]
    assert terms["kd"].weight == chosen["kd.weight"]
    assert terms["kd"].options["temperature"] == chosen["kd.temperature"]


def test_a_tuned_run_is_the_run_with_these_settings(
    done: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, _ = done
    [search] = plan.searches
    assert search.chosen is not None
    kd = {key.partition(".")[2]: value for key, value in search.chosen.values.items()}
    text = json.dumps({"student": "papers", "kd": {"ce": 0.1, "kd": kd}})
    assert list(toy.plan(tmp_path, methods=text).runs) == list(plan.runs)


def test_captions_and_files_state_the_trials(done: tuple[Plan, Path]) -> None:
    plan, folder = done
    results = Results(folder / "results")
    caption = str(build.assemble(plan, results).tables[0].caption)
    assert "Tuned: 3 trials a method on 50 held-out images of the training set" in caption
    assert "Not tuned: Student." in caption
    [row] = [row for row in build.assemble(plan, results).tables[0].rows if row.name == "kd"]
    assert row.note.startswith("tuned: kd.temperature ")
    path = folder / "results" / "tuned" / "toy.json"
    content = path.read_bytes()
    path.unlink()
    train(folder / "toy.yaml", folder)
    assert path.read_bytes() == content  # made from the records alone
    [method] = json.loads(content)["methods"]
    bests = [trial["best"] for trial in method["trials"]]
    assert bests == sorted(bests)
    assert method["chosen"]["top1"] == bests[-1]


def test_the_report_card_states_the_trials(done: tuple[Plan, Path]) -> None:
    text = tuning(done[0])
    assert text.startswith("Tuned: 3 trials a method on 50 held-out images of the training set")
    assert (
        "Trials of kd on resnet8/resnet8: 3 of 3 trials have ended; chosen: kd.temperature" in text
    )
    assert "Settings of the papers: Student." in text


def test_a_saved_plan_keeps_the_trials(done: tuple[Plan, Path]) -> None:
    plan, folder = done
    again, _ = saved.load(saved.path_of(folder / "results", "toy"))
    assert (again.suite.tune, again.searches) == (plan.suite.tune, plan.searches)
    assert again.undecided == frozenset()


def test_no_test_image_is_used_while_tuning(
    done: tuple[Plan, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = done
    digits = BUILTIN["digits"]
    read = type(digits).read

    def without_test_images(source: Any, root: Path) -> Any:
        """Black test images, with the labels in another order."""
        arrays = read(source, root)
        labels = arrays.test_labels.flip(0)
        return replace(arrays, test=torch.zeros_like(arrays.test), test_labels=labels)

    monkeypatch.setattr(type(digits), "read", without_test_images)
    blind = train(write(tmp_path), tmp_path)
    assert blind.searches == plan.searches
    for id in trial_ids(plan):
        records = [Results(each / "results").record(id) for each in (folder, tmp_path)]
        assert toy.numbers(records[0]) == toy.numbers(records[1])
    student = plan.cells[0].run  # the table does read test images
    records = [Results(each / "results").record(student) for each in (folder, tmp_path)]
    assert toy.numbers(records[0]) != toy.numbers(records[1])


@pytest.mark.parametrize("split", ["train", "test"])
def test_held_out_images_are_training_images_of_no_student(split: str, tmp_path: Path) -> None:
    def images(**options: Any) -> set[bytes]:
        loaded = data.load(Selection("digits", **options), None, torch.device("cpu"))
        batches = loaded.pictures(split, 100)  # type: ignore[arg-type]
        return {image.numpy().tobytes() for batch, _ in batches for image in batch}

    complete = data.load(Selection("digits"), None, torch.device("cpu"))
    train_set = {i.numpy().tobytes() for b, _ in complete.pictures("train", 100) for i in b}
    assert images(held_out=50) <= train_set
    if split == "test":
        assert len(images(held_out=50)) == 50
        assert not images(held_out=50) & images()


@pytest.mark.parametrize("search", ["random", "tpe", "grid"])
def test_the_same_suite_has_the_same_trials(search: str, tmp_path: Path) -> None:
    trials = 4 if search == "grid" else 6
    space = "kd: {temperature: [1, 2, 4, 8]}" if search == "grid" else KD
    tune = f"{{images: 50, trials: {trials}, search: {search}, methods: {{{space}}}}}"
    both = tune.replace("}}}", "}, at: {weight: [1, 10, 100, 1000]}}}")
    if search != "grid":
        both = tune.replace(KD, f"{KD}, at: {{weight: {{low: 1, high: 9}}}}")
    here = load(write(tmp_path / "here", tune), tmp_path / "here")
    there = load(write(tmp_path / "there", both, methods="[at, kd]"), tmp_path / "there")
    ids = trial_ids(replace(there, searches=there.searches[:1]))
    assert trial_ids(here) == ids
    assert len(here.searches[0].trials) == (4 if search == "tpe" else trials)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("search: tpe, trials: 5", marks=pytest.mark.slow),
        "pruning: halving, trials: 3",
    ],
)
def test_an_interrupted_search_continues_as_if_it_had_not_stopped(
    options: str, tmp_path: Path
) -> None:
    tune = f"{{images: 50, {options}, methods: {{{KD}}}}}"
    recipe = "{epochs: 3, batch_size: 16, lr: 0.05, milestones: [2], crop: 1, flip: false}"
    path = write(tmp_path / "a", tune, recipe=recipe)
    complete = train(path, tmp_path / "a")
    assert all(search.ended for search in complete.searches)
    path = write(tmp_path / "b", tune, recipe=recipe)
    trials = load(path, tmp_path / "b").trials
    assert trials is not None
    toy.run_interrupted(trials, tmp_path / "b", stop_after=2)
    assert outcomes(train(path, tmp_path / "b"), tmp_path / "b") == outcomes(
        complete, tmp_path / "a"
    )


def test_each_pair_can_have_its_own_choice(tmp_path: Path) -> None:
    pairs = "[{teacher: resnet8, student: resnet8}, {teacher: resnet8, student: resnet14}]"
    tune = TUNE.replace("images", "on: each, images")
    plan = train(write(tmp_path, tune, pairs=pairs, methods="[kd]"), tmp_path)
    assert [search.pair for search in plan.searches] == ["resnet8/resnet8", "resnet8/resnet14"]
    for search, cell in zip(plan.searches, plan.cells, strict=True):
        terms = plan.runs[cell.run].specification.method
        assert search.chosen is not None
        assert terms["kd"].weight == search.chosen.values["kd.weight"]


def test_a_filter_selects_the_trials_of_its_methods(tmp_path: Path) -> None:
    tune = TUNE.replace("methods: {", "methods: {at: {weight: {low: 1, high: 9}}, ")
    path = write(tmp_path, tune, methods="[student, kd, at]")
    both = api.load_plan(path)
    part = api.load_plan(path, filters="method=kd")
    assert [search.method for search in part.searches] == ["kd"]
    assert len(trial_specs(part)) == 4 < len(trial_specs(both))
    assert api.load_plan(path, filters="method=student").trials is not None
    assert trial_specs(api.load_plan(path, filters="method=student")) == []


def test_the_commands_show_the_trials(done: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, folder = done
    results = Results(folder / "results")
    line = f"kd on resnet8/resnet8: {plan.searches[0].text}"
    assert "3 of 3 trials have ended; chosen: kd.temperature" in line
    path = write(tmp_path)
    assert list(choices(SuiteOptions(str(path), results.folder))) == [line]
    for text in (
        plan_text(describe_plan(plan, results)),
        status_text(describe_status(plan, results)),
    ):
        assert line in text.replace("\n", " ")
    content = describe_plan(api.load_plan(path), Results(tmp_path / "none"))
    assert content["trials_to_do"]["runs"] == 4
    assert "trials to do before the table: 4 runs now" in plan_text(content)
    assert "kd on resnet8/resnet8: 0 of 3 trials have ended" in plan_text(content)


def test_a_figure_shows_the_best_trial_so_far(done: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, folder = done
    [drawn] = draw(plan, Results(folder / "results"), kinds=["tuning"], output=tmp_path)
    assert [path.name for path in drawn.files] == ["toy-tuning.png", "toy-tuning.pdf"]  # type: ignore[union-attr]
    figure = best_so_far(plan.searches, {"kd": "KD"})
    [axes] = figure.axes
    [best] = [line for line in axes.lines if str(line.get_gid()).startswith("tooltip:KD:")]
    assert list(best.get_ydata()) == plan.searches[0].best
    [not_drawn] = draw(replace(plan, searches=()), Results(folder / "results"), kinds=["tuning"])
    assert not_drawn.reason == "the suite tunes no method"  # type: ignore[union-attr]


def test_failed_trials_leave_the_method_undecided(tmp_path: Path) -> None:
    path = write(tmp_path)
    trials = load(path, tmp_path).trials
    assert trials is not None
    results = Results(tmp_path / "results")
    for run in trials.runs.values():
        results.write(toy.record(run.id, status="failed", kind=run.kind))
    plan = load(path, tmp_path)
    assert [trial.state for trial in plan.searches[0].trials] == ["open"] * 3
    ended = ("done", "diverged", "skipped")
    for status, run in zip(ended, list(trials.runs.values())[1:], strict=True):
        metrics = {"last": {"top1": 50.0}} if status == "done" else {}
        results.write(toy.record(run.id, status=status, metrics=metrics, kind=run.kind))
    assert not load(path, tmp_path).searches[0].ended  # skipped, because the teacher failed
    [teacher, *_] = trials.runs.values()
    results.write(toy.record(teacher.id, kind="teacher"))
    [search] = load(path, tmp_path).searches
    assert sorted(trial.state for trial in search.trials) == ["done", "failed", "failed"]
    assert search.chosen is not None
    assert search.chosen.value == 50.0


def test_a_damaged_record_of_a_trial_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path, TUNE.replace("trials: 3", "trials: 1"))
    plan = train(path, tmp_path)
    results = Results(tmp_path / "results")
    [run] = trial_ids(plan)
    results.file(run).write_text("{")
    assert load(path, tmp_path).undecided
    assert train(path, tmp_path).searches == plan.searches


def test_a_shorter_trial_has_the_same_shape_of_schedule() -> None:
    short = shortened(Recipe(warmup=20).reduced, 80)
    assert (short.epochs, short.milestones, short.warmup) == (80, (50, 60, 70), 6)
    assert shortened(Recipe(), 240) == Recipe()


def test_without_optuna_a_grid_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BenchError, match=r"distillbench\[tune\]"):
        api.load_plan(write(tmp_path))
    tune = "{images: 50, search: grid, trials: 2, methods: {kd: {weight: [0.5, 1]}}}"
    plan = api.load_plan(write(tmp_path, tune))
    values = [trial.values["kd.weight"] for trial in plan.searches[0].trials]
    assert values == [0.5, 1]


def test_a_recorded_search_needs_no_optuna(
    done: tuple[Plan, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = done
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert load(write(tmp_path), folder).searches == plan.searches
    with pytest.raises(BenchError, match="Optuna"):  # another recipe: other trials
        load(write(tmp_path, recipe="{epochs: 1, batch_size: 16, crop: 1}"), folder)
    with pytest.raises(BenchError, match="Optuna"):  # another space
        load(write(tmp_path, TUNE.replace("high: 10", "high: 9")), folder)


PROBLEMS = {  # of `tune`, without its `images: 50`
    "methods: {kdd: {weight: [1]}}": "no method of the suite 'kdd'. Did you mean 'kd'?",
    "methods: {kd: {weigth: [1]}}": "no option 'weigth'. Did you mean 'weight'? KD takes weight, ",
    "methods: {kd: {weight: 1}}": "found the number 1. Allowed: a list of values",
    "methods: {kd: {weight: [-1]}}": "found the number -1. Allowed: a number, 0 or more",
    "methods: {kd: {weight: [1, 1.0]}}": "found a value more than once",
    "methods: {kd: {temperature: [2, 0]}}": "kd.temperature.1: found the number 0",
    "methods: {kd: {temperature: {low: 0, high: 2}}}": "temperature.low: found the number 0",
    "methods: {kd: {weight: {low: 2, high: 1}}}": "found 2 to 1. Allowed: low below high",
    "methods: {kd: {weight: {low: 0, high: 1, log: true}}}": "with log: low above 0",
    "methods: {kd: {weight: [1], kd: {weight: [2]}}}": "found kd.weight twice",
    "methods: {crd+kd: {weight: [1]}}": "found an option without its distiller",
    "search: grid, methods: {kd: {weight: [1, 2]}}": "found 2 combinations of values",
    "search: grid, methods: {kd: {weight: {low: 1, high: 2}}}": "kd.weight has a range",
    "seeds: [0, 1], methods: {kd: {weight: [1]}}": "found 0, which is a seed of the table",
}


@pytest.mark.parametrize(("tune", "message"), PROBLEMS.items())
def test_mistakes_are_reported_with_their_place(tune: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{{images: 50, {tune}}}", methods="[student, kd, crd+kd]")
    with pytest.raises(ConfigError) as caught:
        suite.read(path)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("images", ["", "images: 55,", "images: 1790,"])
def test_impossible_numbers_of_images_are_reported(images: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{{{images} methods: {{{KD}}}}}")
    with pytest.raises(ConfigError, match=r"toy.yaml:\d+  tune.images: (missing|digits: held_out)"):
        suite.read(path)


def test_a_printed_suite_has_the_same_trials(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = suite.read(path)
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "toy.yaml"
    again.write_text(suite.render(first))
    assert suite.read(again).tune == first.tune
