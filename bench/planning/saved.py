"""Plans as JSON: `bench run` saves them, so that tables later need neither data nor plugins.

Each suite has one file, and one more file for each list of changes by --set and --seeds. A file
always holds the complete plan, even if `bench run` was called with a filter or a limit.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.config.loader import load_json
from bench.data import Facts, Selection
from bench.data.views import RGB
from bench.errors import BenchError, ConfigError
from bench.planning.plan import Cell, Plan, Run
from bench.planning.search import Search
from bench.plugins import Registry
from bench.spec import Recipe, RunSpec, TermSpec, content_hash
from bench.suite import Checkpoint, Method, Pair, Suite, Teacher
from bench.suite import find as find_suite
from bench.suite.measures import Probe
from bench.suite.seeds import GroupLooks, UntilSettled
from bench.suite.tuning import Tune

_tune: TypeAdapter[Tune | None] = TypeAdapter(Tune | None)
_looks: TypeAdapter[tuple[GroupLooks, ...]] = TypeAdapter(tuple[GroupLooks, ...])
_searches: TypeAdapter[tuple[Search, ...]] = TypeAdapter(tuple[Search, ...])
FORMAT = 2
FOLDER = "plans"  # name of the folder in the results folder
_EDITOR_LINE = re.compile(rb"\A# yaml-language-server:[^\n]*\n")


def path_of(folder: Path, name: str, changes: Sequence[str] = ()) -> Path:
    """Return the path of a saved plan.

    Args:
        folder: The results folder.
        name: Name of the suite.
        changes: Changes of the suite, in their order.
    """
    ending = f"-{content_hash(list(changes))}" if changes else ""
    return folder / FOLDER / f"{name}{ending}.json"


def find(folder: Path, name: str | Path, changes: Sequence[str]) -> tuple[Plan | None, str]:
    """Return the saved plan of a suite with the given changes.

    Args:
        folder: The results folder.
        name: A suite file, which may be missing, or the name of a shipped suite.
        changes: Changes of the suite, in their order.

    Returns:
        The plan and an empty text; or None and the reason why no saved plan can be used. The
        reason is empty if no plan of this suite was saved.
    """
    stem = Path(name).stem
    path = path_of(folder, stem, changes)
    if not path.is_file():
        others = [" ".join(_flags(plan.suite.changes)) for plan in _all(folder, stem)]
        used = " ".join(_flags(changes))
        reason = f"{path.parent}: no plan of {stem} was saved with {used}. Allowed: "
        return None, reason + "; ".join(others) if others else ""
    try:
        plan, sha256 = load(path)
    except ConfigError as error:
        return None, str(error)
    with suppress(BenchError):  # without the suite file, the saved plan cannot be compared
        if digest(find_suite(name)) != sha256:
            return None, f"{path}: not used, because {name} changed after `bench run` saved it"
    return plan, ""


def dump(plan: Plan) -> str:
    """Return, as JSON, the parts of a complete plan that tables and figures need."""
    plan = plan.complete or plan
    suite, registry = plan.suite, plan.suite.registry
    terms = dict.fromkeys(term for method in suite.methods for term in method.terms)
    pairs = {pair.name: place for place, pair in enumerate(suite.pairs)}
    methods = {method.name: place for place, method in enumerate(suite.methods)}
    content = {
        "format": FORMAT,
        "suite_sha256": digest(suite.path),
        "changes": suite.changes,
        "name": suite.name,
        "title": suite.title,
        "caption": suite.caption,
        "data": vars(suite.data),
        "teacher_data": vars(suite.teacher_data) if suite.teacher_data else None,
        "controls": suite.controls,
        "recipe": suite.recipe.model_dump(mode="json"),
        "teacher_seed": suite.teacher_seed,
        "combine": suite.combine,
        "published": suite.published,
        "seeds": suite.seeds,
        "facts": vars(plan.facts),
        "teacher_facts": vars(plan.teacher_facts) if plan.teacher_facts else None,
        "pairs": [_pair(pair) for pair in suite.pairs],
        "methods": [_method(method) for method in suite.methods],
        "uses_teacher": {name: registry.declaration(name).uses_teacher for name in terms},
        "runs": {id: _run(run) for id, run in plan.runs.items()},
        "probes": [_probe(probe) for probe in suite.probes],
        "evaluate": suite.evaluate,
        "tune": _tune.dump_python(suite.tune, mode="json"),
        "searches": _searches.dump_python(plan.searches, mode="json"),
        **(_settling(plan) if suite.settling else {}),
        "measures": [[*key, run] for key, run in plan.measures.items()],
        "cells": [
            [pairs[c.pair.name], methods[c.method.name], c.seed, c.run, c.teacher]
            for c in plan.cells
        ],
    }
    return json.dumps(content, separators=(",", ":"))


def load(path: Path) -> tuple[Plan, str]:
    """Return a saved plan, and the SHA-256 of the suite file that it was made from.

    Args:
        path: A file that holds the text of `dump`.

    Raises:
        ConfigError: The file cannot be read, or is not a saved plan.
    """
    content = load_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} is that of another version")
        return _plan(content, path), str(content["suite_sha256"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError([f"{path}: not a saved plan: {type(error).__name__} {error}"]) from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a suite file without a first line that names a schema for editors."""
    return hashlib.sha256(_EDITOR_LINE.sub(b"", path.read_bytes())).hexdigest()


def _plan(content: dict[str, Any], path: Path) -> Plan:
    registry = Registry(enabled=False)
    registry.add_placeholders(content["uses_teacher"])
    pairs = [_read_pair(entry) for entry in content["pairs"]]
    methods = [
        Method(
            **entry
            | {
                "terms": _read_terms(entry["terms"]),
                "pairs": {pair: _read_terms(terms) for pair, terms in entry["pairs"].items()},
            }
        )
        for entry in content["methods"]
    ]
    suite = Suite(
        name=content["name"],
        title=content["title"],
        caption=content["caption"],
        path=path,
        data=Selection(**content["data"]),
        recipe=Recipe(**content["recipe"]),
        teacher_seed=content["teacher_seed"],
        combine=content.get("combine", "sum"),
        published=content.get("published", ""),
        seeds=tuple(content["seeds"]),
        pairs=tuple(pairs),
        methods=tuple(methods),
        plugins=(),
        origins={},
        registry=registry,
        changes=tuple(content["changes"]),
        probes=tuple(_read_probe(entry) for entry in content.get("probes", ())),
        evaluate=content.get("evaluate", {}),
        tune=_tune.validate_python(content.get("tune")),
        teacher_data=Selection(**content["teacher_data"]) if content.get("teacher_data") else None,
        controls=content.get("controls", False),
        settling=UntilSettled(**content["settling"]) if content.get("settling") else None,
    )
    runs = {id: Run(id, RunSpec(**entry)) for id, entry in content["runs"].items()}
    cells = tuple(
        Cell(pairs[pair], methods[method], seed, run, teacher)
        for pair, method, seed, run, teacher in content["cells"]
    )
    facts = _facts(content["facts"])
    teacher_facts = _facts(content["teacher_facts"]) if content.get("teacher_facts") else None
    for pair in pairs:
        if checkpoint := pair.teacher.checkpoint:
            for cell in (cell for cell in cells if cell.pair is pair):
                runs[cell.teacher] = replace(runs[cell.teacher], checkpoint=checkpoint)
    measures = {(subject, name): run for subject, name, run in content.get("measures", ())}
    searches = _searches.validate_python(content.get("searches", ()))
    looks = _looks.validate_python(content.get("looks", ()))
    return Plan(
        suite, runs, cells, facts, measures, teacher_facts=teacher_facts, searches=searches,
        looks=looks,
    )  # fmt: skip


def _settling(plan: Plan) -> dict[str, Any]:
    rule = plan.suite.settling
    return {
        "settling": rule and rule.model_dump(),
        "looks": _looks.dump_python(plan.looks, mode="json"),
    }


def _facts(content: Mapping[str, Any]) -> Facts:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return Facts(**values)


def _all(folder: Path, name: str) -> list[Plan]:
    """Return all saved plans of a suite."""
    pattern = re.compile(rf"{re.escape(name)}(-[0-9a-f]{{16}})?\.json")
    parent = folder / FOLDER
    plans = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        if pattern.fullmatch(path.name):
            with suppress(ConfigError):  # skip a damaged plan
                plans.append(load(path)[0])
    return plans


def _flags(changes: Sequence[str]) -> list[str]:
    return [f"--set '{change}'" for change in changes] or ["no --set and no --seeds"]


def _run(run: Run) -> dict[str, Any]:
    spec = run.specification
    content = {"network": spec.network, "seed": spec.seed, "teacher": spec.teacher}
    optional = {"members": spec.members, "subject": spec.subject}
    return content | {key: value for key, value in optional.items() if value}


def _probe(probe: Probe) -> dict[str, Any]:
    recipe = probe.recipe.model_dump(mode="json", exclude_unset=True) if probe.recipe else None
    return {**vars(probe), "data": vars(probe.data), "recipe": recipe}


def _read_probe(entry: dict[str, Any]) -> Probe:
    recipe = Recipe(**entry["recipe"]) if entry["recipe"] else None
    return Probe(**{**entry, "data": Selection(**entry["data"]), "recipe": recipe})


def _method(method: Method) -> dict[str, Any]:
    def content(terms: Mapping[str, TermSpec]) -> dict[str, Any]:
        return {name: term.content for name, term in terms.items()}

    pairs = {pair: content(terms) for pair, terms in method.pairs.items()}
    return {
        "name": method.name,
        "terms": content(method.terms),
        "note": method.note,
        "label": method.label,
        "pairs": pairs,
        **({"control": method.control} if method.control else {}),
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "teacher": pair.teacher.network,
        "members": pair.teacher.members,
        "student_of": pair.teacher.student_of,
        "teacher_recipe": pair.teacher.recipe.model_dump(mode="json"),
        "checkpoint": _checkpoint(pair.teacher.checkpoint),
        "student": pair.student,
        "recipe": pair.recipe.model_dump(mode="json"),
        "group": pair.group,
        "views": [pair.teacher.view, pair.view],
    }


def _checkpoint(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    return {**asdict(checkpoint), "path": str(checkpoint.path)} if checkpoint else None


def _read_terms(content: Mapping[str, Any]) -> dict[str, TermSpec]:
    return {name: TermSpec(**term) for name, term in content.items()}


def _read_pair(entry: dict[str, Any]) -> Pair:
    fields = entry["checkpoint"]
    checkpoint = Checkpoint(**fields | {"path": Path(fields["path"])}) if fields else None
    student_of = tuple(entry["student_of"]) if entry.get("student_of") else None
    recipe, members = Recipe(**entry["teacher_recipe"]), entry.get("members", 1)
    teacher_view, view = entry.get("views", (RGB, RGB))  # plans of earlier versions have no views
    teacher = Teacher(entry["teacher"], recipe, checkpoint, members, student_of, teacher_view)
    recipe = Recipe(**entry["recipe"])
    return Pair(entry["name"], teacher, entry["student"], recipe, entry["group"], view)
