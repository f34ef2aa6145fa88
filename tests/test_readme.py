"""README says what is so: its commands, examples, lists, four steps, table and links."""

import ast
import inspect
import os
import re
import shlex
import shutil
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
from bench.cli import app, overview
from bench.errors import BenchError
from bench.execution.protocol import Task
from bench.report import ReportOptions, build
from bench.results import Results
from tests.distillers.contract import CHECKS
from tests.distillers.geometry import built

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md")
PLACEHOLDER = "(not generated yet)"
SHORT = ["--set", "recipe.epochs=2", "--filter", "seed=0", "--tracker", "none"]


def section(title: str, text: str = README) -> str:
    """What stands under a heading."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of the list they may be in."""
    fenced = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in fenced]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of a table whose first cell is `code`, without backticks there."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[first.strip(" `"), *map(str.strip, rest)] for first, *rest in lines]


def commands() -> Iterator[list[str]]:
    """The arguments of every `bench …` that README shows, in blocks and within sentences."""
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(bench [^`]+)`", README)
    for line in lines:
        first, *rest = shlex.split(line, comments=True)
        if first == "bench":
            yield rest


COMMANDS = list(commands())


def test_the_two_commands_stand_alone_and_the_second_is_that_of_ci() -> None:
    first, second = blocks(section("Two commands"), "sh")
    assert first.count("\n") == second.count("\n") == 1
    assert first.rstrip().endswith("bench run suites/quickstart.yaml")
    assert (ROOT / ".ci" / "run").read_text().endswith(f"\n{second}")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_line_parses(arguments: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    with group.make_context("bench", list(arguments)) as context:
        name, verb, rest = group.resolve_command(context, list(arguments))
        if rest not in ([], ["--help"]):
            verb.make_context(name, rest, parent=context)


def test_command_lines_were_found() -> None:
    assert {"run", "report", "show", "list", "ui", "teachers"} <= {line[0] for line in COMMANDS}


def test_verbs_and_flags_are_those_of_the_app() -> None:
    group: Any = typer.main.get_command(app)
    assert [verb for verb, *_ in rows(section("Verbs"))] == list(group.commands)
    known = {flag for verb in group.commands.values() for p in verb.params for flag in p.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= known | {"--help"}
    codes = re.findall(r"(\d) (\w+)", str(app.info.epilog))
    assert all(re.search(rf"\b{code} \(?{what}", section("Verbs")) for code, what in codes)


def test_metrics_are_those_of_the_tables(tmp_path: Path) -> None:
    (told,) = (row for row in rows(section("Verbs")) if row[0] == "report")
    named = re.search(r"--metric (.*)", told[1])
    assert named
    with pytest.raises(BenchError) as caught:
        build.assemble(api.make_plan("quickstart"), Results(tmp_path), ReportOptions("none"))
    allowed = str(caught.value).partition("Allowed: ")[2]
    assert set(re.findall(r"\w+", named[1])) - {"or"} == set(allowed.split(", "))


def test_methods_are_those_of_the_file_with_their_weights() -> None:
    told = [(name, weights) for name, _, weights, *_ in rows(section("Methods"))]
    listed = [(row["method"], row["terms"]) for row in overview.listing("methods")]
    assert told == listed


def test_papers_are_those_of_the_distillers() -> None:
    for name, _, _, paper, _ in rows(section("Methods")):
        if name in distillers.names():
            (number,) = re.findall(r"arXiv:[\d.]+", paper)
            assert distillers.load(name).paper.endswith(number)


def test_networks_and_data_sets_are_those_there_are() -> None:
    listing = re.search(r"checkpoints: (.*?)\. ", section("Networks"), re.S)
    assert listing
    assert sorted(listing[1].replace("\n", " ").split(", ")) == models.names()
    told = [name for name, *_ in rows(section("Data"))]
    assert sorted(told) == sorted(
        [*(row["dataset"] for row in overview.listing("datasets")), told[-1]]
    )
    assert told[-1] == "folder:PATH"


def test_shipped_suites_are_all_linked() -> None:
    linked = re.findall(r"\]\((suites/\w+\.yaml)\)", section("Suites"))
    assert sorted(linked) == [str(path.relative_to(ROOT)) for path in suite.shipped()]


def test_results_and_records_are_as_told() -> None:
    told = section("Runs, records, results")
    (layout,) = blocks(told, "text")
    assert layout in str(results.__doc__)
    record = Task("id", "name", {"network": "resnet8", "seed": 0}).record("failed", "why")
    named = re.search(r"A record holds (.*?)\. The", told, re.S)
    assert named
    assert sorted(re.findall(r"`(\w+)`", named[1])) == sorted(record)


def test_the_example_of_a_suite_is_one(tmp_path: Path) -> None:
    (example,) = blocks(section("Suites"), "yaml")
    path = tmp_path / "example.yaml"
    path.write_text(example)
    whole = api.make_plan(path)
    assert suite.warnings(whole.suite) == []
    assert len(whole.cells) == 5 * 3 * 4
    plain = example.replace("epochs: 240", "").replace("recipe: #", "recipe: {} #")
    kept = [
        line for line in plain.splitlines() if not re.match(r"  (batch|mile|weight|prec)", line)
    ]
    path.write_text("\n".join(kept))
    assert list(api.make_plan(path).runs) == list(whole.runs), "these values are the defaults"


def steps() -> tuple[str, str, str]:
    """What README's four steps write and run: the method's file, the suite, the command."""
    told = section("Your own distiller")
    (code,), (head, methods), (command,) = (blocks(told, x) for x in ("python", "yaml", "sh"))
    return code, head + methods, command


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder where the four steps were taken, with fewer epochs and one seed; what was said."""
    folder = tmp_path_factory.mktemp("own")
    code, text, command = steps()
    (folder / "my_method.py").write_text(code)
    (folder / "my_suite.yaml").write_text(text)
    name, *arguments = shlex.split(command)
    assert name == "bench"
    return folder, python(folder, "-m", "bench", *arguments, *SHORT)


def python(folder: Path, *arguments: str) -> str:
    """What Python prints in a folder from which this checkout can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_four_steps_end_with_a_row_of_ones_own(taken: tuple[Path, str]) -> None:
    folder, said = taken
    named = [
        line.split()[0].strip("*_")
        for line in said.splitlines()
        if re.search(r" [*_]?\d+\.\d\d", line)
    ]
    assert {"KD", "mine", "mine+kd"} <= set(named)
    assert "| mine" in (folder / "results" / "my_suite-part.md").read_text()
    found = {record["name"]: record for record in Results(folder / "results").records()}
    assert len(found) == 5
    assert {record["status"] for record in found.values()} == {"done"}
    mine = found["resnet8x4/resnet8 mine seed 0"]
    assert mine["specification"]["method"]["direction"]["options"] == {"power": 1.0}
    first, last = mine["curves"][0]["terms"], mine["curves"][-1]["terms"]
    assert 0 < last["direction"] < first["direction"] < 2, "it was trained, and on this loss"
    accuracies = {record["metrics"]["last"]["top1"] for record in found.values()}
    assert len(accuracies) > 1


def test_from_python_the_same_runs_are_found(taken: tuple[Path, str]) -> None:
    folder, _ = taken
    (code,) = blocks(section("From Python"), "python")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("results/runs/*")}
    said = python(folder, "-c", f"{code}\nassert len(everything) == len(runs) == 5")
    assert "resnet8x4/resnet8 mine+kd seed 0" in said
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("results/runs/*")}


def test_calls_from_python_fit_the_signatures() -> None:
    calls = [node for block in blocks(README, "python") for node in ast.walk(ast.parse(block))]
    for node in calls:
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("bench."):
            function = getattr(bench, ast.unparse(node.func).removeprefix("bench."))
            named = {str(keyword.arg): None for keyword in node.keywords}
            inspect.signature(function).bind(*node.args, **named)


@pytest.mark.parametrize("check", CHECKS)
def test_the_distiller_of_the_steps_fulfils_the_contract(
    check: str, taken: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(taken[0])
    kind = __import__("my_method").Direction
    CHECKS[check](lambda seed: built(kind, seed))


def test_the_quickstarts_table_is_that_of_its_records(tmp_path: Path) -> None:
    """Made anew from committed records; a placeholder only where there are none."""
    shown = README.split("<!-- quickstart table: bench report quickstart -->")[1]
    shown = shown.split("<!-- end -->")[0].strip()
    whole = api.make_plan("quickstart")
    folders = [path.parent for path in (ROOT / "results").rglob("runs")]
    held = [f for f in folders if all(Results(f).record(run) for run in whole.runs)]
    if not held:
        assert shown == PLACEHOLDER, "no records of it are in results"
        return
    shutil.copytree(held[0] / "runs", tmp_path / "runs")
    written = build.write(whole, Results(tmp_path))
    lines = (tmp_path / "quickstart.md").read_text().splitlines()
    assert tmp_path / "quickstart.md" in written
    assert set(shown.splitlines()) <= set(lines)
    assert {line for line in lines if line.startswith("|")} <= set(shown.splitlines())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if ":" not in link]
    named = re.findall(
        r"`((?:bench|distillers|suites|tests|\.ci)/[\w./-]+|\w+\.(?:toml|ini))`", text
    )
    assert [path for path in (*links, *named) if path and not (ROOT / path).exists()] == []


def test_environments_of_tox_are_as_told() -> None:
    told = [row[0] for row in rows(section("Set up", (ROOT / "CONTRIBUTING.md").read_text()))]
    listed = re.search(r"^env_list = (.*)$", (ROOT / "tox.ini").read_text(), re.M)
    assert listed
    assert told == listed[1].split(", ")
