"""A resolved suite as a suite file that spells everything out, with the origin of each value."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from bench.config import loader
from bench.config.errors import Where, dotted
from bench.suite.resolved import Suite

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(:[A-Za-z0-9_./+-]+)*")
WIDEST = 60  # columns before a comment; longer lines push theirs out

Line = tuple[str, str]  # a line of YAML, and the comment behind it


def render(suite: Suite) -> str:
    """The suite as YAML; read again it is the same suite."""
    lines = list(_lines(suite))
    width = max(
        (len(text) for text, comment in lines if comment and len(text) <= WIDEST), default=0
    )
    return "".join(
        f"{text:<{width}}  # {comment}\n" if comment else f"{text}\n" for text, comment in lines
    )


def _lines(suite: Suite) -> Iterator[Line]:
    origins = suite.origins
    yield from _pairs({"suite_version": 1}, (), origins)
    texts = {"title": suite.title, "caption": suite.caption}
    yield from _pairs(texts, (), origins)
    yield "dataset:", ""
    yield from _pairs(asdict(suite.data), ("dataset",), origins)
    yield "recipe:", ""
    yield from _pairs(suite.recipe.model_dump(), ("recipe",), origins)
    yield from _teachers(suite)
    yield from _pairs({"seeds": suite.seeds}, (), origins)
    yield "pairs:", ""
    for i, pair in enumerate(suite.pairs):
        sides = {"teacher": pair.teacher.network, "student": pair.student}
        (first, comment), *rest = _pairs(sides, ("pairs", i), origins, indent=4)
        yield f"  - {first.strip()}", comment
        yield from rest
        yield from _changes(pair.recipe.model_dump(), ("pairs", i, "recipe"), origins, indent=4)
    yield "methods:", ""
    for method in suite.methods:
        yield f"  {_scalar(method.name)}:", origins[f"methods.{method.name}"]
        for name, term in method.terms.items():
            yield f"    {_scalar(name)}:", ""
            values = {"weight": term.weight, **term.options}
            yield from _pairs(values, ("methods", method.name, name), origins, indent=6)
    if suite.plugins:
        yield from _pairs({"plugins": [str(path) for path in suite.plugins]}, (), origins)


def _teachers(suite: Suite) -> Iterator[Line]:
    origins = suite.origins
    yield "teachers:", ""
    yield from _pairs({"seed": suite.teacher_seed}, ("teachers",), origins)
    recipe = suite.pairs[0].teacher.recipe.model_dump()
    yield from _changes(recipe, ("teachers", "recipe"), origins, indent=2)
    held = {p.teacher.network: p.teacher.checkpoint for p in suite.pairs if p.teacher.checkpoint}
    if held:
        yield "  checkpoints:", ""
    for network, checkpoint in held.items():
        yield f"    {_scalar(network)}:", ""
        values = {**asdict(checkpoint), "path": str(checkpoint.path)}
        where = ("teachers", "checkpoints", network)
        yield from _pairs(values, where, origins, indent=6)


def _changes(
    recipe: Mapping[str, Any], where: Where, origins: Mapping[str, str], indent: int
) -> Iterator[Line]:
    """The part of a recipe that was set at that place."""
    changes = {key: value for key, value in recipe.items() if dotted((*where, key)) in origins}
    if changes:
        yield f"{' ' * indent}recipe:", ""
        yield from _pairs(changes, where, origins, indent + 2)


def _pairs(
    values: Mapping[str, Any], where: Where, origins: Mapping[str, str], indent: int | None = None
) -> Iterator[Line]:
    """A line for each key; by default indented as deep as the place is."""
    margin = " " * (2 * len(where) if indent is None else indent)
    for key, value in values.items():
        yield f"{margin}{key}: {_scalar(value)}", origins.get(dotted((*where, key)), "")


def _scalar(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and loader.value(value, "") == value:
        return value
    return json.dumps(value, ensure_ascii=False)
