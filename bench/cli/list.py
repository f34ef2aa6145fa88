"""The verb `list`: print names that suites can use."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from typer import Argument

from bench.cli import options
from bench.cli.console import print_result
from bench.cli.formatting import Content, paragraphs, table
from bench.errors import ConfigError, unknown

LISTS = ("suites", "methods", "distillers", "networks", "datasets")
MORE = {  # printed below a list: names that are too many to list
    "networks": "and every classifier of timm and torchvision: timm:NAME, torchvision:NAME",
    "datasets": "and any folder of images: folder:PATH, with train/ and test/ (or val/)",
}


def command(
    what: Annotated[
        str, Argument(metavar="WHAT", help="suites, methods, distillers, networks or datasets.")
    ] = "suites",
    as_json: options.AsJson = False,
) -> None:
    """List suites, methods, distillers, networks or datasets.

    Example: bench list methods
    """
    print_result(list_rows(what), partial(list_text, what), as_json)


def list_rows(what: str) -> list[dict[str, Any]]:
    """Return the rows of the list `what`; raise `ConfigError` for an unknown list."""
    import distillers
    from bench import data, models, suite

    match what:
        case "suites":
            return [{"suite": path.stem, "file": str(path)} for path in suite.shipped()]
        case "methods":
            return [
                {
                    "method": name,
                    "terms": " + ".join(
                        f"{term.weight:g} {distiller}"
                        for distiller, term in suite.papers(name).items()
                    ),
                    "source": method["source"],
                }
                for name, method in suite.canonical().items()
            ]
        case "distillers":
            classes = {name: distillers.declared(name) for name in distillers.names()}
            return [
                {"distiller": name, "reads": ", ".join(d.reads), "note": d.note, "paper": d.paper}
                for name, d in classes.items()
            ]
        case "networks":
            return [{"network": name} for name in models.names()]
        case "datasets":
            facts = {name: data.facts(data.Selection(name)) for name in data.names()}
            columns = ("classes", "size", "train", "test")
            return [
                {"dataset": name, **{key: getattr(fact, key) for key in columns}}
                for name, fact in facts.items()
            ]
    raise ConfigError([f"bench list {what}: {unknown('list', what, LISTS)}"])


def list_text(what: str, rows: Sequence[Content]) -> str:
    """Return a list as text for people."""
    return paragraphs(table(rows), list(filter(None, [MORE.get(what)])))
