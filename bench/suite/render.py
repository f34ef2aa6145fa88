"""Print a resolved suite as a complete suite file, with each value's origin as a comment."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from bench.config import loader
from bench.config.text import Where, dotted
from bench.spec import Recipe
from bench.suite.files import default_label
from bench.suite.measures import ONLY_FOR, Probe
from bench.suite.resolution import papers
from bench.suite.schema import Method, Pair, Suite, default_name
from bench.suite.tuning import Range, Tune

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(:[A-Za-z0-9_./+-]+)*")
TERM_FIELDS = {"weight", "warmup"}
COMMENT_COLUMN = 60  # the comments of lines up to this length are aligned

Line = tuple[str, str]  # a line of YAML, and its comment


def render(suite: Suite) -> str:
    """Return the suite as YAML text, which `bench.suite.read` reads as the same suite."""
    lines = list(_mapping(_content(suite), (), "", suite.origins))
    lengths = [len(text) for text, comment in lines if comment and len(text) <= COMMENT_COLUMN]
    width = max(lengths, default=0)
    return "".join(
        f"{text:<{width}}  # {comment}\n" if comment else f"{text}\n" for text, comment in lines
    )


def at_line(suite: Suite, place: str, message: str) -> str:
    """Return a message about a place of a suite: `suite.yaml:7  methods.kd: message`.

    Args:
        suite: The suite.
        place: A dotted place, such as `methods.mine`. The message gets the line of the first
            value that is this place or is nested in this place, if the file contains such a value.
            Otherwise, the same rule is applied to the enclosing place (`methods`), and so on.
        message: What is wrong.
    """
    parts = place.split(".")
    around = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    lines = [
        origin.removeprefix("suite")
        for outer in around
        for key, origin in suite.origins.items()
        if (key == outer or key.startswith(f"{outer}.")) and origin.startswith("suite:")
    ]
    return f"{suite.path}{lines[0] if lines else ':1'}  {place}: {message}"


def _content(suite: Suite) -> dict[str, Any]:
    def changes(recipe: Recipe, *where: str | int) -> dict[str, Any]:
        """Return the keys of a recipe that are set at the place `where`."""
        return {
            key: value
            for key, value in recipe
            if dotted((*where, "recipe", key)) in suite.origins and key not in recipe.unused
        }

    def pair(i: int, pair: Pair) -> dict[str, Any]:
        group = {"group": pair.group} if pair.group else {}
        names: dict[str, Any] = {"teacher": pair.teacher.content, "student": pair.student}
        names |= {"members": pair.teacher.members} if pair.teacher.members > 1 else {}
        views = {
            role: view
            for role, view in (("teacher", pair.teacher.view), ("student", pair.view))
            if dotted(("pairs", i, "views", role)) in suite.origins
        }
        usual = default_name(pair.teacher.content, pair.teacher.members, pair.student, views)
        names |= {"name": pair.name} if pair.name != usual else {}
        return {**names, **group, "views": views, "recipe": changes(pair.recipe, "pairs", i)}

    checkpoints = {
        pair.teacher.network: {**asdict(checkpoint), "path": str(checkpoint.path)}
        for pair in suite.pairs
        if (checkpoint := pair.teacher.checkpoint)
    }
    own_methods = {m.name for m in suite.methods if f"methods.{m.name}" in suite.origins}
    return {
        "suite_version": 1,
        "title": suite.title,
        "caption": suite.caption,
        "dataset": suite.data.content,
        "recipe": {k: v for k, v in suite.recipe if k not in suite.recipe.unused},
        "teachers": {
            **({"dataset": suite.teacher_data.content} if suite.teacher_data else {}),
            "seed": suite.teacher_seed,
            "recipe": changes(suite.pairs[0].teacher.recipe, "teachers"),
            "checkpoints": checkpoints,
        },
        **({"ensemble": {"combine": suite.combine}} if suite.combine != "sum" else {}),
        "seeds": suite.settling.model_dump() if suite.settling else suite.seeds,
        "views": suite.views,
        "pairs": [pair(i, entry) for i, entry in enumerate(suite.pairs)],
        "networks": _networks(suite),
        "methods": {m.name: _method(m) for m in suite.methods if m.name in own_methods},
        **({"options": changed} if (changed := _changed_options(suite)) else {}),
        "probes": {probe.name: _probe(probe) for probe in suite.probes},
        "evaluate": {name: _measure(entry) for name, entry in suite.evaluate.items()},
        **({"tune": _tune(suite.tune)} if suite.tune else {}),
        **({"controls": True} if suite.controls else {}),
        **({"plugins": [str(path) for path in suite.plugins]} if suite.plugins else {}),
        **({"published": suite.published} if suite.published else {}),
    }


def _probe(probe: Probe) -> dict[str, Any]:
    """Return a probe's entry, with the keys that have an effect for the probe's kind."""
    values = {**vars(probe), "dataset": probe.data.content, "recipe": probe.published}
    if probe.recipe and not probe.published:
        recipe = probe.recipe
        values["recipe"] = {key: value for key, value in recipe if key not in recipe.unused}
    keys = ["dataset", "kind", "normalise"]
    keys += [key for key, kinds in ONLY_FOR.items() if probe.kind in kinds]
    return {key: values[key] for key in keys}


def _tune(tune: Tune) -> dict[str, Any]:
    """Return the entry `tune`; an option such as `kd.weight` becomes `weight` inside `kd`."""
    spaces: dict[str, dict[str, Any]] = {}
    for method, space in tune.methods.items():
        for place, domain in space.items():
            term, _, option = place.partition(".")
            limits = vars(domain).items() if isinstance(domain, Range) else ()
            entry = {key: value for key, value in limits if key != "integer"} or domain
            spaces.setdefault(method, {}).setdefault(term, {})[option] = entry
    return {**vars(tune), "methods": spaces}


def _measure(settings: Mapping[str, Any]) -> Any:
    """Return the entry of a measure: its mapping, `stages` or `pooled`, or true."""
    return settings.get("features", settings or True)


def _method(method: Method) -> dict[str, Any] | str:
    """Return a method's entry: its terms, or `papers` if its terms differ between pairs."""
    label = method.label != default_label(method.name, method.terms)
    names = {"label": method.label} if label else {}
    if method.pairs:
        return names or "papers"
    return names | {
        name: term.model_dump(include=TERM_FIELDS, exclude_unset=True) | term.options
        for name, term in method.terms.items()
    }


def _changed_options(suite: Suite) -> dict[str, dict[str, Any]]:
    """Return the suite's `options` for distillers of methods that are printed as `papers`."""
    changed: dict[str, dict[str, Any]] = {}
    for method in suite.methods:
        usual = papers(method.name) if method.pairs else {}
        for name, term in usual.items():
            values = method.terms[name].options
            options = {k: v for k, v in values.items() if v != term.options.get(k)}
            if options:
                changed[name] = options
    return changed


def _networks(suite: Suite) -> dict[str, dict[str, Any]]:
    options = suite.registry.options
    names = dict.fromkeys([*suite.stages, *suite.pretrained, *suite.init, *options])
    files = {n: {"path": str(file.path), "sha256": file.sha256} for n, file in suite.init.items()}
    return {
        name: {
            **({"stages": suite.stages[name]} if name in suite.stages else {}),
            **({"pretrained": True} if name in suite.pretrained else {}),
            **({"init": files[name]} if name in files else {}),
            **({"options": options[name]} if name in options else {}),
        }
        for name in names
    }


def _mapping(
    content: Mapping[str, Any], where: Where, indent: str, origins: Mapping[str, str]
) -> Iterator[Line]:
    """Yield the YAML lines of a mapping with their comments; leave out empty inner mappings."""
    for key, value in content.items():
        at = (*where, key)
        origin = origins.get(dotted(at), "")
        if isinstance(value, dict):
            if value:
                yield f"{indent}{_scalar(key)}:", origin if where == ("methods",) else ""
                yield from _mapping(value, at, indent + "  ", origins)
            elif where == ("methods",):  # no losses: the student with its initial weights
                yield f"{indent}{_scalar(key)}: {{}}", origin
        elif key == "pairs":
            yield f"{indent}{key}:", ""
            for i, item in enumerate(value):
                (first, comment), *rest = _mapping(item, (*at, i), indent + "    ", origins)
                yield f"{indent}  - {first.strip()}", comment
                yield from rest
        else:
            yield f"{indent}{_scalar(key)}: {_scalar(value)}", origin


def _scalar(value: Any) -> str:
    """Return a value on one line of YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and loader.value(value, "") == value:
        return value
    return json.dumps(value, ensure_ascii=False)
