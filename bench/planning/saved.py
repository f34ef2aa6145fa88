"""Plans as JSON: `bench run` saves them, so that tables need neither data nor plugins later."""

import hashlib
import json
from pathlib import Path
from typing import Any

from bench.config.loader import load_json
from bench.data import Facts, Selection
from bench.errors import ConfigError
from bench.planning.plan import Cell, Plan, Run
from bench.plugins import Registry
from bench.spec import Recipe, RunSpec, TermSpec
from bench.suite import Method, Pair, Suite, Teacher

FORMAT = 1
FOLDER = "plans"  # in the results folder


def path_of(folder: Path, stem: str) -> Path:
    """Return the path of a suite's saved plan in a results folder."""
    return folder / FOLDER / f"{stem}.json"


def dump(plan: Plan) -> str:
    """Return as JSON the parts of a plan that tables and figures need."""
    suite, registry = plan.suite, plan.suite.registry
    terms = dict.fromkeys(term for method in suite.methods for term in method.terms)
    pairs = {pair.name: place for place, pair in enumerate(suite.pairs)}
    methods = {method.name: place for place, method in enumerate(suite.methods)}
    content = {
        "format": FORMAT,
        "suite_sha256": digest(suite.path),
        "changes": suite.changes,
        "part": plan.part,
        "name": suite.name,
        "title": suite.title,
        "caption": suite.caption,
        "data": vars(suite.data),
        "recipe": suite.recipe.model_dump(mode="json"),
        "teacher_seed": suite.teacher_seed,
        "seeds": suite.seeds,
        "facts": vars(plan.facts),
        "pairs": [_pair(pair) for pair in suite.pairs],
        "methods": [_method(method) for method in suite.methods],
        "uses_teacher": {name: registry.distiller(name).uses_teacher for name in terms},
        "runs": {id: _run(run) for id, run in plan.runs.items()},
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
            raise ValueError(f"format {content['format']}")
        return _plan(content, path), str(content["suite_sha256"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigError([f"{path}: not a saved plan: {type(error).__name__} {error}"]) from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a suite file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plan(content: dict[str, Any], path: Path) -> Plan:
    registry = Registry(enabled=False)
    registry.add_placeholders(content["uses_teacher"])
    pairs = [_read_pair(entry) for entry in content["pairs"]]
    methods = [
        Method(**entry | {"terms": {k: TermSpec(**v) for k, v in entry["terms"].items()}})
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
        seeds=tuple(content["seeds"]),
        pairs=tuple(pairs),
        methods=tuple(methods),
        plugins=(),
        origins={},
        registry=registry,
        changes=tuple(content["changes"]),
    )
    runs = {id: Run(id, RunSpec(**entry)) for id, entry in content["runs"].items()}
    cells = tuple(
        Cell(pairs[pair], methods[method], seed, run, teacher)
        for pair, method, seed, run, teacher in content["cells"]
    )
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["facts"].items()
    }
    return Plan(suite, runs, cells, Facts(**facts), tuple(content["part"]))


def _run(run: Run) -> dict[str, Any]:
    spec = run.specification
    return {"network": spec.network, "seed": spec.seed, "teacher": spec.teacher}


def _method(method: Method) -> dict[str, Any]:
    terms = {name: term.content for name, term in method.terms.items()}
    return {"name": method.name, "terms": terms, "note": method.note, "label": method.label}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "teacher": pair.teacher.network,
        "teacher_recipe": pair.teacher.recipe.model_dump(mode="json"),
        "student": pair.student,
        "recipe": pair.recipe.model_dump(mode="json"),
        "group": pair.group,
    }


def _read_pair(entry: dict[str, Any]) -> Pair:
    teacher = Teacher(entry["teacher"], Recipe(**entry["teacher_recipe"]), None)
    return Pair(entry["name"], teacher, entry["student"], Recipe(**entry["recipe"]), entry["group"])
