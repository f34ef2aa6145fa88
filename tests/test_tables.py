"""Results in a notebook: plain columns, tables, comparisons, the forest plot, the saved plan."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import bench
from bench import api, models, report, seeding
from bench.api import Machine
from bench.errors import BenchError
from bench.overview import describe_plan
from bench.planning import saved
from bench.report import experiment
from bench.results import Results
from bench.tables import ResultTable
from tests import toy
from tests.command import ROOT
from tests.command import bench as command
from tests.data.toys import image_folder

QUICKSTART = ROOT / "results/quickstart"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return bench.records(QUICKSTART)


@pytest.mark.case("plain-columns")
def test_plain_columns_come_first(frame: pd.DataFrame) -> None:
    first = ["method", "label", "pair", "teacher", "student", "seed", "role", "status", "top1"]
    assert list(frame.columns)[: len(first)] == first
    assert {"metrics.last.top1", "specification.seed", "curves", "results"} <= set(frame.columns)
    pivot = frame.pivot_table(index="method", columns="pair", values="top1")
    assert pivot.shape == (14, 1)
    kd = frame[frame["method"] == "kd"]
    assert pivot.loc["kd", "resnet8x4/resnet8"] == pytest.approx(kd["metrics.last.top1"].mean())
    assert set(frame["role"]) == {"teacher", "student", "method"}
    assert set(frame.loc[frame["role"] == "student", "label"]) == {"Student"}


@pytest.mark.case("plain-columns")
def test_public_functions_are_found() -> None:
    names = {"compare", "forest", "records", "run", "table"}
    assert names <= set(dir(bench))
    assert set(bench.__all__) == names
    code = "import bench, sys; dir(bench); print(*(m in sys.modules for m in ('torch', 'pandas')))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"


@pytest.mark.case("plain-columns")
def test_a_table_of_records_is_the_table_of_the_suite(frame: pd.DataFrame) -> None:
    of_records = bench.table(frame)
    of_suite = bench.table("quickstart", results=QUICKSTART)
    assert of_records.to_frame().equals(of_suite.to_frame())
    notes = [
        {note.text for table in each.report.tables for note in table.notes}
        for each in (of_records, of_suite)
    ]
    assert notes[0] == notes[1]
    assert any("reconstruction" in text for text in notes[0])


@pytest.mark.case("plain-columns")
def test_a_table_has_the_formats_of_notebooks(frame: pd.DataFrame, tmp_path: Path) -> None:
    result = bench.table(frame)
    assert "<table" in result._repr_html_()
    assert r"\begin{table}" in result._repr_latex_()
    assert r"\begin{table*}" in result.to_latex(wide=True)
    assert "97.52 ± 0.13" in str(result)
    assert "| KD" in result.to_markdown()
    values = result.to_frame()["resnet8x4/resnet8"]
    assert values.loc["KD", "mean"] == pytest.approx(97.5185, abs=1e-4)
    assert values.loc["KD", "n"] == 3
    for suffix in ("md", "tex", "csv", "json", "txt"):
        assert result.save(tmp_path / f"t.{suffix}").stat().st_size > 100
    with pytest.raises(BenchError, match="no format 'docx'"):
        result.save(tmp_path / "t.docx")


def test_a_part_of_the_records_makes_a_table(frame: pd.DataFrame) -> None:
    part = frame[frame["method"].isin(["kd", "crd", "student"])]
    assert list(bench.table(part).to_frame().index) == ["Teacher", "Student", "KD", "CRD"]


def test_records_of_two_settings_are_refused(tmp_path: Path) -> None:
    for epochs in (1, 2):
        text = f"{{epochs: {epochs}, batch_size: 16, milestones: [], crop: 1}}"
        toy.run(toy.plan(tmp_path, methods="[student]", recipe=text, teachers=""), tmp_path)
    with pytest.raises(BenchError, match="several runs of resnet8/resnet8 student seed 0"):
        bench.table(bench.records(tmp_path / "results"))


@pytest.mark.case("plain-columns")
def test_comparisons_are_frames(frame: pd.DataFrame) -> None:
    result = bench.compare(QUICKSTART, frame)
    assert set(result.to_frame()["verdict"]) == {"same"}
    assert "<table" in result._repr_html_()
    assert "compared" in str(result)
    lower = frame.assign(results=str(QUICKSTART))
    assert len(bench.compare(lower, lower, metric="nll", tolerance=0.1).to_frame()) == 15


@pytest.mark.case("many-curves")
def test_the_forest_plot_shows_each_method(frame: pd.DataFrame) -> None:
    figure = bench.forest(frame)
    (axes,) = figure.axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels[0] == "Student"
    assert set(labels) == set(frame[frame["role"] != "teacher"]["label"]) - {"KD"}
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "−1.59 [−2.52, −0.67]"
    assert figure._repr_png_().startswith(b"\x89PNG"), "Jupyter calls this"


@pytest.mark.case("many-curves")
def test_the_forest_plot_needs_two_seeds(frame: pd.DataFrame) -> None:
    with pytest.raises(BenchError, match="at least 2 seeds"):
        bench.forest(frame[frame["seed"] == 0])


@pytest.mark.case("many-curves")
def test_curves_are_zoomed_on_their_end(tmp_path: Path) -> None:
    from bench.api import load_plan
    from bench.report import build
    from bench.report.figures import charts

    plan = load_plan("quickstart")
    entries = list(build.entries(plan, Results(QUICKSTART), curves=True))
    figure = charts.learning_curves(entries, "resnet8x4/resnet8", reference="KD")
    everything, end = figure.axes
    lines = [[x for x in axes.lines if x.get_gid()] for axes in (everything, end)]
    assert [len(each) for each in lines] == [14, 14]
    assert end.get_title(loc="left") == "epochs 15 to 20; band: KD ± standard deviation"
    assert end.get_ylabel() == "difference from KD (points)"
    assert len(end.collections) == 1  # the band
    few = [entry for entry in entries if entry.method in ("student", "kd", "crd", "dcd")]
    _, end_of_few = charts.learning_curves(few, "resnet8x4/resnet8", reference="KD").axes
    assert len(end_of_few.collections) == 4
    names = [plan.suite.methods[i].label for i in range(14)]
    assert list(lines[1][names.index("KD")].get_ydata()) == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.case("wide-tables")
@pytest.mark.parametrize("kind", ["md", "tex", "txt"])
def test_compact_tables_have_means_only(frame: pd.DataFrame, kind: str) -> None:
    result: ResultTable = bench.table(frame, compact=True)
    text = report.render(result.report, kind, options=result.options)
    grid = text.partition("Teacher" if kind != "md" else "| Teacher")[2]
    assert "97.52" in grid
    for sign in ("±", r"\textpm", "↓", r"\downarrow", "standard deviation"):
        assert sign not in text.replace("settings differ", ""), sign


@pytest.mark.case("wide-tables")
def test_latex_has_a_short_caption_and_the_rest_in_notes(frame: pd.DataFrame) -> None:
    text = bench.table(frame).to_latex()
    caption = text.partition(r"\caption{")[2].partition("\n")[0]
    assert len(caption) < 200
    assert "Holm" not in caption
    assert "Holm" in text.partition(r"\end{tabular}")[2]


@pytest.mark.case("published-html")
def test_published_tables_have_a_page(here: Path) -> None:
    words = "report cifar100_same_arch --published-only --format html,md --output out"
    assert command(*words.split()).exit_code == 0
    page = (here / "out/cifar100_same_arch-published.html").read_text("utf-8")
    assert "WRN-40-2" in page
    assert not (here / "results").exists()


def test_output_is_another_folder(here: Path) -> None:
    words = ["report", "quickstart", "--results", QUICKSTART, "--output", "new/out"]
    assert command(*words).exit_code == 0
    expected = (QUICKSTART / "quickstart.md").read_text("utf-8")
    assert (here / "new/out/quickstart.md").read_text("utf-8") == expected
    words = ["figures", "quickstart", "--results", QUICKSTART, "--which", "forest"]
    assert command(*words, "--output", "figures").exit_code == 0
    assert (here / "figures/quickstart-forest.pdf").is_file()


PLUGIN = """\
from distillers import Distiller


class Gap(Distiller):
    paper = "none"
    reads = ("logits",)

    def forward(self, student, teacher, batch):
        return (student.logits - teacher.logits).abs().mean()
"""
SMALL = {"train": {"a": 8, "b": 8}, "test": {"a": 4, "b": 4}}


LINES = {
    "dataset": "{name: 'folder:shapes', size: 8}",
    "methods": "{student: papers, mine: {label: Ours, ce: 1, gap: 1}}",
    "teachers": "{checkpoints: {resnet8: net.pth}}",
    "plugins": "[gap.py]",
    "options": "",
}


def add_files(folder: Path) -> None:
    """Write the images, the plugin and the checkpoint of the suite with `LINES`."""
    image_folder(folder / "shapes", SMALL)
    (folder / "gap.py").write_text(PLUGIN)
    with seeding.initialised_by("a checkpoint"):
        torch.save(models.build("resnet8", 2).state_dict(), folder / "net.pth")


@pytest.mark.case("plugin-modules")
@pytest.mark.parametrize("lost", ["shapes", "gap.py", "net.pth", "toy.yaml"])
def test_tables_need_neither_data_nor_plugin(lost: str, here: Path) -> None:
    add_files(here)
    toy.run(toy.plan(here, **LINES), here)
    verbs = ("report", "status", "teachers", "baseline", "figures --which forest,curves",
             "check --baseline results/toy-baseline.json")  # fmt: skip
    before = {}
    for verb in verbs:
        name, *others = verb.split()
        before[verb] = command(name, "toy.yaml", *others)
    (here / lost).rename(here / "lost")
    for verb in verbs:
        name, *others = verb.split()
        result = command(name, "toy.yaml", *others)
        assert "The plan that `bench run` saved is used: results/plans/toy.json" in result.stderr
        assert (result.stdout, result.exit_code) == (before[verb].stdout, before[verb].exit_code)
    assert "Ours" in before["report"].stdout
    assert "net.pth" in before["teachers"].stdout
    file = "lost" if lost == "net.pth" else "net.pth"
    assert "resnet8: the file fits" in command("teachers", "toy.yaml", "--inspect", file).stdout
    assert command("run", "toy.yaml").exit_code == 2


def test_each_set_of_changes_has_its_own_saved_plan(here: Path) -> None:
    add_files(here)
    toy.write(here, **LINES)
    run = ("run", "toy.yaml", "--inline", "--tracker", "none", "--view", "plain")
    seeds, both = ("--seeds", "0-1"), ("--seeds", "0-1", "--set", "title=Other")
    assert command(*run).exit_code == command(*run, *seeds).exit_code == 0
    assert command(*run, "--filter", "method=student").exit_code == 0
    before = [command("report", "toy.yaml", *flags).stdout for flags in ((), seeds)]
    (here / "shapes").rename(here / "lost")
    assert [command("report", "toy.yaml", *flags).stdout for flags in ((), seeds)] == before
    assert "Ours" in before[0]
    part = command("report", "toy.yaml", *seeds, "--filter", "seed=1").stdout
    assert "Changed suite: seeds=0-1, seed=1." in part
    for verb in ("report", "status", "figures"):
        result = command(verb, "toy.yaml", *both)
        assert result.exit_code == 2
        assert "shapes" in result.stderr.splitlines()[0]
        reason = result.stderr.splitlines()[-1]
        message = (
            "results/plans: no plan of toy was saved with --set 'title=Other' --set 'seeds=0-1'"
        )
        assert reason.startswith(f"{message}. Allowed: ")
        allowed = reason.partition("Allowed: ")[2].split("; ")
        assert sorted(allowed) == ["--set 'seeds=0-1'", "no --set and no --seeds"]


def test_a_changed_suite_does_not_use_the_saved_plan(here: Path) -> None:
    toy.run(toy.plan(here, methods="[student]"), here)
    path = here / "toy.yaml"
    path.write_text(path.read_text().replace("title: Toy", "titel: Toy"))
    result = command("report", "toy.yaml")
    assert result.exit_code == 2
    assert "no key 'titel'" in result.stderr
    message = (
        "results/plans/toy.json: not used, because toy.yaml changed after `bench run` saved it"
    )
    assert message in result.stderr


def test_a_line_for_editors_does_not_change_a_suite(here: Path) -> None:
    path = toy.write(here)
    before = saved.digest(path)
    path.write_text(f"# yaml-language-server: $schema=schema.json\n{path.read_text()}")
    assert saved.digest(path) == before
    path.write_text(f"# Another comment.\n{path.read_text()}")
    assert saved.digest(path) != before


def test_a_damaged_saved_plan_does_not_hide_the_first_error(here: Path) -> None:
    add_files(here)
    toy.run(toy.plan(here, **LINES), here)
    (here / "results/plans/toy.json").write_text("{}")
    (here / "shapes").rename(here / "lost")
    result = command("report", "toy.yaml")
    assert result.exit_code == 2
    assert "shapes" in result.stderr.splitlines()[0]
    assert "results/plans/toy.json: not a saved plan" in result.stderr


def tiny_imagenet(root: Path) -> None:
    """A part of Tiny ImageNet: 200 classes of two training images and one test image."""
    top, picture = root / "tiny-imagenet-200", io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG")
    (top / "val").mkdir(parents=True)
    for number in range(200):
        folder = top / f"train/n{number}/images"
        folder.mkdir(parents=True)
        for index in range(2):
            (folder / f"n{number}_{index}.JPEG").write_bytes(picture.getvalue())
    lines = [f"{number}.JPEG\tn{number}\n" for number in range(200)]
    (top / "val/val_annotations.txt").write_text("".join(lines))


def test_missing_images_that_are_part_of_run_ids_need_the_saved_plan(here: Path) -> None:
    tiny_imagenet(here / "images")
    probes = "{tiny: {dataset: {name: tiny_imagenet, per_class: 2, test_per_class: 1, size: 32}}}"
    suite, results = toy.write(here, probes=probes), Results(here / "results")
    plan, error = api.load_plan_or_saved(suite, results, data_root=here / "images")
    assert error is None
    without, error = api.load_plan_or_saved(suite, results, data_root=here)
    assert error is None
    assert without.runs.keys() != plan.runs.keys()
    results.save_plan(saved.path_of(results.folder, "toy"), saved.dump(plan))
    again, error = api.load_plan_or_saved(suite, results, data_root=here)
    assert again.runs.keys() == plan.runs.keys()
    assert str(error).startswith("tiny_imagenet: no tiny-imagenet-200.zip")
    part, _ = api.load_plan_or_saved(suite, results, filters="method=kd", data_root=here)
    assert {cell.method.name for cell in part.cells} == {"kd"}
    report = command("report", "toy.yaml", "--metric", "probe.tiny.top1")
    assert "The plan that `bench run` saved is used: results/plans/toy.json" in report.stderr
    missing = describe_plan(without, results, Machine(gpus=()), data_root=here)["missing"]
    assert missing == [str(error)]


def test_a_saved_plan_describes_the_same_experiment(here: Path) -> None:
    keys = {
        "teachers": "{dataset: {name: digits, per_class: 8}, recipe: {epochs: 1}}",
        "views": "{teacher: grey, student: 'low:4'}",
        "controls": "true",
    }
    plan = api.load_plan(toy.write(here, **keys))
    path = here / "plan.json"
    path.write_text(saved.dump(plan))
    again, _ = saved.load(path)
    assert again.teacher_facts == plan.teacher_facts is not None
    assert again.suite.controls
    phrases = experiment.describe(plan.suite, plan.facts)
    assert len(phrases) >= 3
    assert experiment.describe(again.suite, again.facts) == phrases


@pytest.mark.slow
@pytest.mark.case("plain-columns", "many-curves")
def test_the_notebook_runs(here: Path) -> None:
    notebook = json.loads((ROOT / "docs/notebook.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert sum(len(cell.splitlines()) for cell in cells) <= 10
    assert all(cell["outputs"] for cell in notebook["cells"][-2:] if cell["cell_type"] == "code")
    variables: dict[str, object] = {}
    changes = '["seeds=[0, 1]", "recipe.epochs=1", "recipe.milestones=[]"'
    changes += ', "teachers.recipe.epochs=1", "teachers.recipe.milestones=[]"]'
    for cell in cells:
        cell = cell.replace('bench.run("quickstart"', f'bench.run("quickstart", changes={changes}')
        ast.parse(cell)
        exec(cell, variables)
    assert (here / "table.tex").read_text().startswith("% \\usepackage{booktabs}")
    assert (here / "forest.pdf").stat().st_size > 1000
