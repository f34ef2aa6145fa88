"""Guides are carried out: their files are written, their commands run, their outputs compared.

A block of Python or YAML whose first line is `# name.py` or `# name.yaml` is a file. A block of
text is the output of the commands or of the Python code before it; `…` in it stands for any text.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import suite
from bench.execution import cluster
from bench.spec import PAPERS, Recipe
from tests.command import bench
from tests.test_documents import PAGES, ROOT, blocks

SLOW = pytest.mark.slow
GUIDES = [  # pages whose commands run; those that train networks are slow
    "CI_GATE.md",
    "READING_RECORDS.md",
    "REPRODUCING_CRD.md",
    pytest.param("CHECKPOINTS.md", marks=SLOW),
    pytest.param("OWN_DATA.md", marks=SLOW),
    pytest.param("OWN_METHOD.md", marks=SLOW),
    pytest.param("TOUR.md", marks=SLOW),
    pytest.param("TROUBLESHOOTING.md", marks=SLOW),
]
INSTALL = ("python3 -m venv", "pip install")  # commands that tests of the installation run
HERE = ["--inline", "--view", "plain", "--tracker", "none"]  # for `bench run`
BASE: dict[str, Any] = {
    "suite_version": 1,
    "title": "A suite around a part of one",
    "dataset": "cifar100",
    "methods": list(suite.canonical()),
}
FILE = re.compile(r"# (\w+\.(?:py|yaml))\n")
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)


def fenced(page: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block of a page."""
    for _, language, text in FENCE.findall(PAGES[page]):
        yield language, text


def pattern(text: str) -> str:
    """Return a regular expression of an output, in which `…` stands for any text.

    The output may break its lines elsewhere.
    """
    return r"\s+".join(re.escape(word).replace("…", ".*?") for word in text.split())


def run(line: str, expected: bool) -> str:
    """Return the output of a command of a guide, which may fail only if the guide shows it."""
    words = shlex.split(line, comments=True)
    if not words or line.startswith(INSTALL):
        return ""
    if words[0] != "bench":
        ran = subprocess.run(line, shell=True, check=True, capture_output=True, text=True)
        return ran.stdout
    result = bench(*words[1:], *(HERE if words[1] == "run" else ()))
    assert expected or result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES)
def test_guide_works_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    shutil.copytree(ROOT / "results/quickstart/runs", "results/runs")
    output, variables = "", dict[str, Any]()
    steps = list(fenced(page))
    for (language, text), (following, _) in zip(steps, [*steps[1:], ("", "")], strict=True):
        name = FILE.match(text)
        if language in ("python", "yaml") and name:
            Path(name[1]).write_text(text)
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(text, variables)
            output = stream.getvalue()
        elif language == "sh":
            output = "".join(run(line, following == "text") for line in text.splitlines())
        elif language == "text":
            assert re.search(pattern(text), output, re.S), f"{text}\n--- is not in\n{output}"


def test_pages_that_write_files_are_guides() -> None:
    names = {page for page in PAGES for _, text in fenced(page) if FILE.match(text)}
    assert names - {"SUITES.md"} <= {getattr(guide, "values", (guide,))[0] for guide in GUIDES}


@pytest.mark.parametrize("page", ["RECIPES.md"])
def test_recipes_are_those_of_the_suites_that_their_sections_name(page: str) -> None:
    sections = [part for part in PAGES[page].split("\n## ") if "suites/" in part]
    assert len(sections) == 3
    for part in sections:
        (name,) = re.findall(r"suites/(\w+)\.yaml", part)
        recipe = yaml.safe_load((ROOT / f"suites/{name}.yaml").read_text())["recipe"]
        shown = yaml.safe_load(blocks(part, "yaml")[0])["recipe"]
        assert shown.items() <= recipe.items()


def test_the_recipe_of_crd_is_the_default() -> None:
    recipe = yaml.safe_load(blocks(PAGES["RECIPES.md"], "yaml")[0])["recipe"]
    assert Recipe(**{**recipe, "weight_decay": float(recipe["weight_decay"])}) == PAPERS


def test_the_cited_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"version = {{{project['version']}}}" in PAGES["CITING.md"]


@SLOW
def test_the_notebook_of_a_method_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs/own_method.ipynb").read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells[2:])
    short, variables = {"epochs: 20": "epochs: 2", "epochs: 30": "epochs: 2"}, dict[str, Any]()
    for cell in cells:
        source = "".join(cell["source"])
        for text, replacement in short.items():
            source = source.replace(text, replacement)
        exec(re.sub(r"milestones: \[[\d, ]+\]", "milestones: []", source), variables)
    methods = {"Student", "KD", "centred"}
    assert set(variables["students"]["label"]) == methods
    assert set(variables["by_seed"].columns) == methods


PARTS = [
    pytest.param(page, text, id=f"{page}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(PAGES[page], "yaml"))
    if not FILE.match(text) or page not in str(GUIDES)
]


@pytest.mark.parametrize(("page", "text"), PARTS)
def test_yaml_is_a_suite_or_a_part_of_one(page: str, text: str, tmp_path: Path) -> None:
    path, content = tmp_path / "part.yaml", yaml.safe_load(text)
    path.write_text(text)
    if content.keys() <= {"ray", "slurm"}:
        for engine in content:
            cluster.read(path, engine)
        return
    codes = blocks(PAGES[page], "python")
    named = {name[1]: code for code in codes if (name := FILE.match(code))}
    unnamed = (code for code in codes if not FILE.match(code))
    for plugin in plugins(content, page):
        (tmp_path / plugin).write_text(named.get(plugin) or next(unnamed))
    if "suite_version" not in content or "methods" not in content:
        path.write_text(yaml.safe_dump(completed(content, page), sort_keys=False))
    for network in content.get("networks", {}).values():
        if "init" in network:
            weights = tmp_path / network["init"]
            weights.parent.mkdir(exist_ok=True)
            weights.write_bytes(b"")
    suite.read(path)


def plugins(content: dict[str, Any], page: str) -> list[str]:
    """Return the plugins of a suite, or of the suite whose part a block is."""
    heads = [yaml.safe_load(text) for text in blocks(PAGES[page], "yaml")]
    return next((part["plugins"] for part in (content, *heads) if "plugins" in part), [])


def completed(content: dict[str, Any], page: str) -> dict[str, Any]:
    """Return a part of a suite with the other keys that a suite needs."""
    networks = content.get("networks") or ["resnet56"]
    pairs = [{"teacher": name, "student": "resnet20"} for name in networks]
    names = plugins(content, page)
    return {**BASE, "pairs": pairs, **({"plugins": names} if names else {}), **content}
