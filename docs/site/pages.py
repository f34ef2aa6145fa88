"""A page for each method and each loss, made from its class, `methods.yaml` and `METHODS.md`."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe
import yaml
from latex2mathml.converter import convert

import distillers
from bench.report import published
from bench.spec import DataSpec
from bench.suite import canonical
from bench.suite.checks import allowed_values, default_options, options
from bench.suite.files import canonical_pairs
from distillers import Distiller
from distillers.base import has_head, reads_of_teacher

METHODS = Path(__file__).parents[1] / "METHODS.md"
_FUNCTION = re.compile(r"(\\(?:log|exp)(?:_2)?) (?! *\()")  # MathML has no space after it
_SPACES = {  # signs and norms that latex2mathml marks as operators between two numbers
    "(<mo>&#x0003D;</mo>)<mo>&#x02212;</mo>": r'\1<mo form="prefix">&#x02212;</mo>',
    "<mo[^>]*>(&#x0007C;|&#x02016;)</mo>": r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>',
}
_SPECIAL = re.compile(r"([\\*_\[\]<>|#])")


def loss_page(name: str) -> str:
    """Return the Markdown page of a distiller.

    Args:
        name: One of `distillers.names()`.
    """
    kind = distillers.load(name)
    sections = griffe.Docstring(inspect.getdoc(kind) or "", lineno=1).parse(
        "google", warn_missing_types=False
    )
    formula, _, text = sections[0].value.partition("\n\n")
    summary = str(inspect.getdoc(inspect.getmodule(kind))).partition("\n")[0]
    parts = [
        f"# {kind.__name__}",
        summary,
        *map(display, kind.formula),
        plain(formula),
        prose(text),
        f"Paper: {plain(kind.paper.rstrip('.'))}.",
        f"Code: [distillers/{name}.py](../../distillers/{name}.py).",
        "## What it reads",
        *_reads(kind),
        *_refusals(sections),
        "## Options",
        _options(kind, sections),
        "## In a suite",
        fenced({"methods": {f"my-{name}": _example(name, kind)}}),
        "Shipped methods with this loss: " + ", ".join(_users(name)) + ".",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def method_page(name: str) -> str:
    """Return the Markdown page of a method.

    Args:
        name: One of the methods in `distillers/methods.yaml`.
    """
    entry = canonical()[name]
    parts = [
        f"# {plain(entry['label'])}",
        f"`{name}`: {plain(entry['source'])}.",
        "## In a suite",
        fenced({"methods": {name: "papers"}}),
        "The same, in full:",
        fenced({"methods": {name: _terms(entry["terms"])}}),
        *_pair_settings(name),
        "## Losses",
        *(_term(term, terms) for term, terms in entry["terms"].items()),
        "## Published numbers",
        *_published(name),
        "## Reproduction",
        *_reproduction(name),
    ]
    return "\n\n".join(parts) + "\n"


def display(latex: str) -> str:
    """Return a formula as MathML, which browsers show without a script."""
    markup = convert(_FUNCTION.sub(r"\1 \\, ", latex), display="block")
    for pattern, replacement in _SPACES.items():
        markup = re.sub(pattern, replacement, markup)
    return f'<div class="formula" tabindex="0" data-search-exclude>{markup}</div>'


def plain(text: str) -> str:
    """Return a text as Markdown that shows each character as it is, except for `code`."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(p if p.startswith("`") else _SPECIAL.sub(r"\\\1", p) for p in pieces)


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: paragraphs, numbered lists and indented formulas."""
    blocks = []
    for indented, lines in _blocks(text):
        content = "\n".join(lines)
        block = f"```text\n{textwrap.dedent(content)}\n```" if indented else plain(content)
        blocks.append(re.sub(r"\n(?=\d\. )", "\n\n", block))
    return "\n\n".join(blocks)


def fenced(content: dict[str, Any]) -> str:
    """Return a part of a suite as a block of YAML."""
    return f"```yaml\n{yaml.safe_dump(content, sort_keys=False)}```"


def _blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Yield blocks of lines; each line of a block is indented, or none is."""
    lines: list[str] = []
    indented = in_list = False
    for line in text.splitlines():
        in_list = bool(re.match(r"\d\. ", line)) or (in_list and line.startswith("  "))
        code = line.startswith("    ") and not in_list
        if lines and (code != indented or not line.strip()):
            yield indented, lines
            lines = []
        if line.strip():
            lines, indented = [*lines, line], code
    if lines:
        yield indented, lines


def _reads(kind: type[Distiller]) -> Iterator[str]:
    """Yield paragraphs about the features, the labels and the training of a loss."""
    student = ", ".join(f"`{name}`" for name in kind.reads)
    teacher = ", ".join(f"`{name}`" for name in reads_of_teacher(kind))
    if not kind.uses_teacher:
        yield f"Of the student: {student}. The teacher is not used."
    else:
        yield f"Of the student: {student}. Of the teacher: {teacher}."
    uses_labels = kind.needs_labels if kind.uses_labels is None else kind.uses_labels
    facts = {
        "It needs the label or the index of each image, so it excludes mixup and CutMix.": (
            kind.needs_labels
        ),
        "It uses labels.": uses_labels and not kind.needs_labels,
        "It does not use labels.": not uses_labels,
        "It compares the samples of a batch, so a weight holds for one batch size.": (
            kind.relational
        ),
        "It replaces the student's classifier at test time.": has_head(kind),
        f"Tables mark it with a dagger: {kind.note}.": kind.note,
    }
    yield " ".join(fact for fact, holds in facts.items() if holds)
    for option, value in kind.label_free.items():
        yield f"With `{option}: {value}` it needs no labels."


def _refusals(sections: list[Any]) -> Iterator[str]:
    """Yield the conditions under which the constructor refuses the networks or the options."""
    conditions = [
        plain(" ".join(str(item.description).split()))
        for section in sections
        if section.kind.value == "raises"
        for item in section.value
    ]
    if conditions:
        yield "\n".join(["It is refused in these cases:\n", *(f"- {text}" for text in conditions)])


def _options(kind: type[Distiller], sections: list[Any]) -> str:
    """Return the table of a distiller's options."""
    texts = {
        item.name: " ".join(str(item.description).split())
        for section in sections
        if section.kind.value == "parameters"
        for item in section.value
    }
    types = inspect.get_annotations(kind.__init__, eval_str=True)
    rows = [
        f"| `{name}` | {allowed_values(types[name])} | `{_text(parameter.default)}` "
        f"| {plain(texts[name])} |"
        for name, parameter in options(kind).items()
    ]
    head = ["| option | values | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else "None."


def _text(value: object) -> str:
    """Return a value as YAML spells it."""
    return yaml.safe_dump(value).removesuffix("...\n").strip()


def _example(name: str, kind: type[Distiller]) -> dict[str, Any]:
    """Return a method with this loss, at all its defaults, next to the cross-entropy."""
    first = next(m["terms"][name] for m in canonical().values() if name in m["terms"])
    weight = first["weight"] if isinstance(first, dict) else first
    term = {"weight": weight, **default_options(kind)} if options(kind) else weight
    return _terms({"ce": 1, name: term} if kind.uses_teacher else {name: term})


def _users(name: str) -> list[str]:
    return [
        f"[{plain(method)}](../methods/{method}.md)"
        for method, entry in canonical().items()
        if name in entry["terms"]
    ]


def _terms(terms: dict[str, Any]) -> dict[str, Any]:
    """Return losses as a person writes them: `ce: 1`, not `ce: {weight: 1.0}`."""

    def short(value: Any) -> Any:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def entry(term: Any) -> Any:
        if not isinstance(term, dict):
            return short(term)
        values = {key: short(value) for key, value in term.items()}
        return values["weight"] if values.keys() == {"weight"} else values

    return {name: entry(term) for name, term in terms.items()}


def _term(name: str, term: object) -> str:
    """Return a loss of a method: its link, its weight and its formula."""
    kind = distillers.load(name)
    weight = term["weight"] if isinstance(term, dict) else term
    return "\n\n".join(
        [f"[{kind.__name__}](../losses/{name}.md), weight {weight:g}:", *map(display, kind.formula)]
    )


def _pair_settings(name: str) -> Iterator[str]:
    """Yield the authors' settings for single pairs, which `papers` uses for these pairs."""
    pairs = canonical_pairs(name)
    if not pairs:
        return
    yield "For these pairs, `papers` means the authors' own settings:"
    rows = ["| pair | losses |", "|---|---|"]
    for pair, terms in pairs.items():
        values = {key: entry.model_dump(exclude_unset=True) for key, entry in terms.items()}
        flow = yaml.safe_dump(_terms(values), default_flow_style=True, sort_keys=False, width=1000)
        rows.append(f"| {plain(pair)} | `{flow.strip()}` |")
    yield "\n".join(rows)


def _published(name: str) -> Iterator[str]:
    """Yield the table of the accuracies on CIFAR-100 that papers print for a method."""
    lines = [
        line
        for (_, method), line in published.published_lines(DataSpec(name="cifar100")).items()
        if method == name
    ]
    if not lines:
        yield "None for the thirteen pairs of CIFAR-100 in a source that we could read."
    else:
        yield "Top-1 accuracy (%) on CIFAR-100, transcribed, not measured here:"
        rows = ["| teacher | student | top-1 | printed in | remark |", "|---|---|---:|---|---|"]
        for line in lines:
            spread = f" ± {line.std:.2f}" if line.std is not None else ""
            value, place = f"{line.value:.2f}{spread}", f"{line.paper}, {line.table}"
            cells = (line.teacher, line.student, value, place, line.doubt)
            rows.append("| " + " | ".join(map(plain, cells)) + " |")
        yield "\n".join(rows)
    if sources := _rows()[name].get("published cells"):
        yield f"Numbers in [results/published](../../results/published): {sources}."


@cache
def _rows() -> dict[str, dict[str, str]]:
    """Return the rows of the tables in METHODS.md by the name of the method."""
    rows: dict[str, dict[str, str]] = {}
    head: list[str] = []
    for line in METHODS.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if cells and cells[0] == "method":
            head = cells
        elif cells and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = dict(zip(head, cells, strict=True))
    return rows


def _reproduction(name: str) -> Iterator[str]:
    """Yield what METHODS.md knows: tests against the authors' code, and problems of others."""
    row = _rows()[name]
    if golden := row.get("golden values"):
        yield f"Golden values in [tests/golden/losses](../../tests/golden/losses): {golden}."
    problems = row.get("known problems of reproduction") or row.get("note") or "none found"
    yield f"Known problems: {problems}."
