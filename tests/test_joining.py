"""Files that people meet on GitHub: issue forms, checklist, citation, workflows."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bench.cli.app import app
from tests.test_documents import section

ROOT = Path(__file__).parents[1]
FORMS = [path for path in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if path.stem != "config"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
KINDS = {"input", "textarea", "checkboxes", "dropdown", "markdown"}


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_a_form_exists_for_each_reason() -> None:
    assert {path.stem for path in FORMS} == {"bug", "wrong-number", "new-method", "new-result"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_have_the_keys_that_github_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    assert (
        {"name", "description", "body"} <= form.keys() <= {"name", "description", "body", "labels"}
    )
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    for part in form["body"]:
        assert part["type"] in KINDS
        assert re.fullmatch(r"[A-Za-z0-9_-]+", part["id"])
        assert part["attributes"]["label"]
        if part["type"] == "checkboxes":
            assert all(option["label"] for option in part["attributes"]["options"])
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_checklist_names_files_that_exist() -> None:
    text = (ROOT / ".github/pull_request_template.md").read_text("utf-8")
    assert len(re.findall(r"^- \[ \] ", text, re.M)) > 8
    paths = re.findall(r"`((?:[\w.-]+/)[\w./-]*|[A-Z]+\.md)`", text)
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_citation_has_the_keys_of_cff_1_2_and_the_version_of_the_package() -> None:
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"] == [{"name": "The distillbench authors"}]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert {"message", "title", "abstract"} <= citation.keys()
    assert not {"doi", "identifiers", "url"} & citation.keys(), "none exists yet"


def steps(workflow: Any) -> list[str]:
    return [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]


def test_tests_run_on_every_version_of_python_that_is_promised() -> None:
    include = load(".github/workflows/tests.yml")["jobs"]["tox"]["strategy"]["matrix"]["include"]
    tox = (ROOT / "tox.ini").read_text("utf-8")
    environments = {name for row in include for name in row["environment"].split(",")}
    listed = re.search(r"^env_list = (.*)$", tox, re.M)
    assert listed
    assert {*listed[1].split(", ")} - environments == {"tests"}, "py3… run the fast tests"
    versions = {row["python"] for row in include}
    release = load(".github/workflows/release.yml")["jobs"]["install"]["strategy"]["matrix"]
    assert versions == {*release["python"]} == {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == f">={min(versions)}"
    text = (ROOT / "docs/STABILITY.md").read_text("utf-8")
    assert f"Python {min(versions)} to {max(versions)} are tested" in text


def test_a_release_is_built_checked_installed_and_run_before_it_is_published() -> None:
    workflow = load(".github/workflows/release.yml")
    text = "\n".join(steps(workflow))
    places = [
        text.index(part)
        for part in ("python -m build", "twine check --strict", "-m venv empty", "run quickstart")
    ]
    assert places == sorted(places)
    jobs = workflow["jobs"]
    assert (jobs["install"]["needs"], jobs["publish"]["needs"]) == ("build", "install")
    assert jobs["publish"]["if"] == "startsWith(github.ref, 'refs/tags/')"


def test_commands_of_the_release_parse() -> None:
    group: Any = typer.main.get_command(app)
    text = "\n".join(steps(load(".github/workflows/release.yml")))
    commands = [line.split() for line in re.findall(r"empty/bin/bench (.*)", text)]
    assert len(commands) == 6
    for words in (words for words in commands if words != ["--version"]):
        with group.make_context("bench", list(words)) as context:
            _, verb, rest = group.resolve_command(context, list(words))
            verb.make_context(verb.name, rest, parent=context)


def test_stable_python_names_exist() -> None:
    import bench
    import distillers
    from distillers import contract

    cells = [line.split("|") for line in section("Stable", "STABILITY.md").splitlines()]
    table = {row[1].strip(): row[2] for row in cells if len(row) > 2}
    public = {f"bench.{name}" for name in bench.__all__}
    assert set(re.findall(r"`([\w.]+)`", table["Python"])) == public
    names = re.findall(r"[\w.]+", table["Python, for plugins"])
    assert {*distillers.__all__} - {name.removeprefix("distillers.") for name in names} == set()
    assert all(hasattr(contract, name) for name in ("check", "violations"))
