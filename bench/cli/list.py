"""The verb `list`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from typer import Argument

import distillers
from bench import data, models, suite
from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, paragraphs, table
from bench.data import Selection
from bench.errors import ConfigError, unknown

MORE = {  # networks and data sets that cannot be enumerated
    "networks": "and every classifier of timm and torchvision: timm:NAME, torchvision:NAME",
    "datasets": "and any folder of images: folder:PATH, with train/ and test/ or val/ in it",
}


def command(
    what: Annotated[
        str,
        Argument(metavar="WHAT", help="suites, methods, distillers, networks or datasets."),
    ] = "suites",
    as_json: options.AsJson = False,
) -> None:
    """List suites, methods, distillers, networks or datasets.

    Example: bench list methods
    """
    print_result(list_rows(what), partial(list_text, what), as_json)


def list_rows(what: str) -> list[dict[str, Any]]:
    """Return the rows of a list; raise `ConfigError` for an unknown list."""
    if what not in LISTS:
        raise ConfigError([f"bench list {what}: {unknown('list', what, LISTS)}"])
    return LISTS[what]()


def list_text(what: str, rows: Sequence[Content]) -> str:
    """Return a list as text for people."""
    return paragraphs(table(rows), MORE.get(what, ""))


def _methods() -> list[dict[str, Any]]:
    return [
        {"method": name, "terms": _terms(method["terms"]), "source": method["source"]}
        for name, method in suite.canonical().items()
    ]


def _terms(terms: Mapping[str, Any]) -> str:
    """`1 ce + 0.8 crd`."""
    weights = {
        name: term["weight"] if isinstance(term, Mapping) else term for name, term in terms.items()
    }
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())


def _distillers() -> list[dict[str, Any]]:
    classes = {name: distillers.load(name) for name in distillers.names()}
    return [
        {"distiller": name, "reads": ", ".join(d.reads), "note": d.note, "paper": d.paper}
        for name, d in classes.items()
    ]


def _datasets() -> list[dict[str, Any]]:
    facts = {name: data.facts(Selection(name)) for name in data.names()}
    return [
        {"dataset": name, "classes": f.classes, "size": f.size, "train": f.train, "test": f.test}
        for name, f in facts.items()
    ]


LISTS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {
    "suites": lambda: [{"suite": path.stem, "file": str(path)} for path in suite.shipped()],
    "methods": _methods,
    "distillers": _distillers,
    "networks": lambda: [{"network": name} for name in models.names()],
    "datasets": _datasets,
}
