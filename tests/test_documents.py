"""Documents state facts: commands, examples, lists, the four steps, tables, links."""

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import bench
import distillers
from bench import api, models, results, suite
from bench.cli.app import app
from bench.cli.list import list_rows
from bench.errors import BenchError
from bench.report import ReportOptions, build
from bench.results import Record, Results
from tests.distillers import geometry
from tests.distillers.contract import CHECKS

ROOT = Path(__file__).parents[1]
PAGES = {
    path.name: path.read_text("utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
README = PAGES["README.md"]
SHORT = ["--set", "recipe.epochs=2", "--filter", "seed=20", "--tracker", "none"]
MAX_LINES = {"README.md": 150, "PERFORMANCE.md": 120}


def section(title: str, page: str = "README.md") -> str:
    """Return the text under a heading."""
    return PAGES[page].split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indentation of a list around them."""
    fenced = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in fenced]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows whose first cell is `code`, without its backticks."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[first.strip(" `"), *map(str.strip, rest)] for first, *rest in lines]


def commands() -> Iterator[list[str]]:
    """Yield the arguments of every `bench …` in the pages, in blocks and within sentences."""
    for page in PAGES.values():
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        lines += re.findall(r"`(bench [^`]+)`", page)
        for line in lines:
            first, *arguments = shlex.split(line, comments=True)
            if first == "bench":
                yield arguments


COMMANDS = list(dict.fromkeys(map(tuple, commands())))


def test_the_second_command_is_that_of_ci() -> None:
    first, second = blocks(section("Two commands"), "sh")
    assert first.count("\n") == second.count("\n") == 1
    assert first.rstrip().endswith("bench run suites/quickstart.yaml")
    assert (ROOT / ".ci" / "run").read_text().endswith(f"\n{second}")


@pytest.mark.parametrize("page", MAX_LINES)
def test_page_is_short(page: str) -> None:
    assert len(PAGES[page].splitlines()) <= MAX_LINES[page]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_command_line_parses(arguments: tuple[str, ...]) -> None:
    group: Any = typer.main.get_command(app)
    words = ["x" if word == "VERB" else word for word in arguments]
    if "VERB" in arguments or "..." in words or "…" in words or words == ["--version"]:
        return
    with group.make_context("bench", list(words)) as context:
        name, verb, rest = group.resolve_command(context, list(words))
        if rest not in ([], ["--help"]):
            verb.make_context(name, rest, parent=context)


def test_commands_of_all_common_verbs_are_shown() -> None:
    assert {"run", "report", "show", "list", "ui", "teachers"} <= {line[0] for line in COMMANDS}


def test_verbs_flags_and_exit_codes_are_those_of_the_app() -> None:
    group: Any = typer.main.get_command(app)
    verbs = section("Verbs", "CLI.md")
    assert [verb for verb, *_ in rows(verbs)] == list(group.commands)
    commands = [group.get_command(None, verb) for verb in group.commands]
    flags = {flag for command in commands for p in command.params for flag in p.opts}
    pages = README + PAGES["CLI.md"] + PAGES["SUITES.md"] + PAGES["RESULTS.md"]
    assert set(re.findall(r"--[a-z][a-z-]+", pages)) <= flags | {"--help", "--version"}
    codes = re.findall(r"(\d) (\w+)", str(app.info.epilog))
    assert all(re.search(rf"\b{code} \(?{word}", verbs) for code, word in codes)


def test_metrics_are_those_of_the_tables(tmp_path: Path) -> None:
    (row,) = (row for row in rows(section("Verbs", "CLI.md")) if row[0] == "report")
    metrics = re.search(r"--metric (.*)", row[1])
    assert metrics
    with pytest.raises(BenchError) as caught:
        build.assemble(api.load_plan("quickstart"), Results(tmp_path), ReportOptions("none"))
    allowed = str(caught.value).partition("Allowed: ")[2]
    assert set(re.findall(r"\w+", metrics[1])) - {"or"} == set(allowed.split(", "))


def test_methods_are_those_of_the_file_with_their_weights() -> None:
    papers, _, _ = PAGES["METHODS.md"].partition("## Further methods")
    shown = [(name, weights) for name, _, weights, *_ in rows(papers)]
    further = rows(section("Further methods", "METHODS.md"))
    shown += [(name, weights) for name, _, _, weights, *_ in further]
    assert shown == [(row["method"], row["terms"]) for row in list_rows("methods")]


def test_numbers_of_methods_and_losses_in_readme_are_those_of_the_package() -> None:
    counts = re.search(r"\*\*(\d+) methods\*\*, weighted sums of (\d+) losses", README)
    assert counts
    assert [int(n) for n in counts.groups()] == [len(suite.canonical()), len(distillers.names())]


def test_numbers_of_losses_in_the_comparison_are_those_of_the_package() -> None:
    losses = len(distillers.names())
    assert f"| losses that a configuration can select | {losses} |" in README
    assert f"| distillbench | {losses} |" in section("Losses that run", "COMPARISON.md")


def test_the_table_of_other_code_is_that_of_its_page() -> None:
    table = [line for line in section("Compared with other code").splitlines() if "|" in line]
    assert 2 < len(table) <= 2 + 12
    for commit in ("b84f547", "a2ee80b", "a08d46f", "3e4373c"):
        assert f"`{commit}`" in PAGES["COMPARISON.md"]


def test_golden_files_of_methods_exist() -> None:
    for _, _, _, _, golden, *_ in rows(section("Further methods", "METHODS.md")):
        for name in re.findall(r"^`(\w+)(?:\.npz)?`", golden):
            assert (ROOT / f"tests/golden/losses/same/{name}.npz").is_file()


def test_papers_are_those_of_the_distillers() -> None:
    papers, _, _ = PAGES["METHODS.md"].partition("## Further methods")
    for name, _, _, paper, _ in rows(papers):
        if name in distillers.names():
            (number,) = re.findall(r"arXiv:[\d.]+", paper)
            assert distillers.load(name).paper.endswith(number)


def test_networks_are_all_listed() -> None:
    listing = re.search(r"checkpoints: (.*?)\. ", section("Networks", "SUITES.md"), re.S)
    assert listing
    assert sorted(listing[1].replace("\n", " ").split(", ")) == models.names()


def test_data_sets_are_all_listed() -> None:
    shown = [name for name, *_ in rows(section("Data", "SUITES.md"))]
    assert shown[-1] == "folder:PATH"
    assert sorted(shown[:-1]) == sorted(row["dataset"] for row in list_rows("datasets"))


def test_shipped_suites_are_all_linked() -> None:
    linked = re.findall(r"\]\(\.\./(suites/\w+\.yaml)\)", section("Shipped suites", "SUITES.md"))
    assert sorted(linked) == [str(path.relative_to(ROOT)) for path in suite.shipped()]


def test_results_folder_and_record_are_as_documented() -> None:
    text = section("Runs and records", "RESULTS.md")
    (layout,) = blocks(text, "text")
    assert layout in str(results.store.__doc__)
    fields = re.search(r"A record holds (.*?)\. The", text, re.S)
    assert fields
    names = set(re.findall(r"`(\w+)`", fields[1])) - {
        "classes", "test_images", "ignored_files", "test_images_in_train",
    }  # fmt: skip
    assert names == set(Record.model_fields)


def test_the_example_of_a_suite_is_one(tmp_path: Path) -> None:
    (example,) = blocks(section("A suite"), "yaml")
    path = tmp_path / "example.yaml"
    path.write_text(example)
    plan = api.load_plan(path)
    assert suite.warnings(plan.suite) == []
    assert len(plan.cells) == 5 * 2 * 4
    plain = example.replace("epochs: 240", "").replace("recipe: #", "recipe: {} #")
    lines = [
        line for line in plain.splitlines() if not re.match(r"  (batch|mile|weight|prec)", line)
    ]
    path.write_text("\n".join(lines))
    assert list(api.load_plan(path).runs) == list(plan.runs), "these values are the defaults"


def steps() -> tuple[str, str, str]:
    """Return what README's four steps write and run: the method's file, the suite, the command."""
    text = section("Your own distiller")
    (code,), (head, methods), (command,) = (blocks(text, x) for x in ("python", "yaml", "sh"))
    return code, head + methods, command


@pytest.fixture(scope="module")
def own_suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run README's four steps with fewer epochs and one seed: the folder, and the output."""
    folder = tmp_path_factory.mktemp("own")
    code, text, command = steps()
    (folder / "my_method.py").write_text(code)
    (folder / "my_suite.yaml").write_text(text)
    name, *arguments = shlex.split(command)
    assert name == "bench"
    return folder, python(folder, "-m", "bench", *arguments, *SHORT)


def python(folder: Path, *arguments: str) -> str:
    """Return what Python prints in a folder from which this checkout can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_the_four_steps_end_with_a_row_for_the_new_method(own_suite: tuple[Path, str]) -> None:
    folder, output = own_suite
    labels = [
        line.split()[0].strip("*_")
        for line in output.splitlines()
        if re.search(r" [*_]?\d+\.\d\d", line)
    ]
    assert {"KD", "mine", "mine+kd"} <= set(labels)
    assert "| mine" in (folder / "results" / "my_suite-part.md").read_text()
    records = {record.name: record for record in Results(folder / "results").records()}
    assert len(records) == 5
    assert {record.status for record in records.values()} == {"done"}
    mine = records["resnet8x4/resnet8 mine seed 20"]
    assert mine.specification.method["centred"].options == {"beta": 1.0}
    losses = [epoch.terms["centred"] for epoch in mine.curves]
    assert 0 < losses[-1] < losses[0], "the loss is trained"
    assert len({record.top1 for record in records.values()}) > 1


@pytest.mark.slow
def test_python_functions_return_the_same_runs(own_suite: tuple[Path, str]) -> None:
    folder, _ = own_suite
    (code,) = blocks(section("Python", "CLI.md"), "python")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("results/runs/*")}
    output = python(folder, "-c", f"{code}\nassert len(everything) == len(runs) == 5")
    assert "resnet8x4/resnet8 mine+kd seed 20" in output
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("results/runs/*")}


def test_calls_from_python_fit_the_signatures() -> None:
    examples = [block for page in PAGES.values() for block in blocks(page, "python")]
    for node in (node for block in examples for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("bench."):
            function = getattr(bench, ast.unparse(node.func).removeprefix("bench."))
            keywords = {str(keyword.arg): None for keyword in node.keywords}
            inspect.signature(function).bind(*node.args, **keywords)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_the_distiller_of_the_steps_passes_the_contract(
    check: str, own_suite: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(own_suite[0])
    kind = __import__("my_method").Centred
    CHECKS[check](geometry.Subject(kind))


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    folder = ROOT / "docs" if (ROOT / "docs" / page).exists() else ROOT
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if ":" not in link
    ]
    assert [link for link in links if link and not (folder / link).exists()] == []
    paths = re.findall(
        r"`((?:bench|distillers|suites|tests|\.ci)/[\w./-]+|\w+\.(?:toml|ini))`", PAGES[page]
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_environments_of_tox_are_all_listed() -> None:
    shown = [row[0] for row in rows(section("Set up", "CONTRIBUTING.md"))]
    listed = re.search(r"^env_list = (.*)$", (ROOT / "tox.ini").read_text(), re.M)
    assert listed
    assert shown == listed[1].split(", ")
