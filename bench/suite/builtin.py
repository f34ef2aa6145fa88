"""The suites and the methods that come with the package."""

from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import distillers
from bench.config import loader
from bench.errors import ConfigError, nearest
from bench.suite import options
from bench.suite.resolved import Term
from bench.suite.schema import TermEntry, Terms

_HERE = Path(__file__).parents[1]
_terms: TypeAdapter[dict[str, TermEntry]] = TypeAdapter(Terms)


def shipped() -> list[Path]:
    """Return the files of the shipped suites: installed, or in the checkout."""
    folders = (_HERE / "suites", _HERE.parent / "suites")
    folder = next((f for f in folders if f.is_dir()), folders[0])
    return sorted(folder.glob("*.yaml"))


def find(name: str | Path) -> Path:
    """Return the file of a suite.

    Args:
        name: A path, or a shipped suite with or without `.yaml`; an existing file has priority.

    Raises:
        ConfigError: No such suite; the message names the nearest shipped one.
    """
    path = Path(name)
    with suppress(OSError, RuntimeError):  # an invalid path, or no user behind its ~
        path = path.expanduser()
        if path.is_file():
            return path
    suites = {file.stem: file for file in shipped()}
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if path.parent in (Path(), Path("suites")) and stem in suites:
        return suites[stem]
    problem = "a folder" if path.is_dir() else "no such suite"
    allowed = f"a suite file, {', '.join(suites)}"
    raise ConfigError([f"{name}: {problem}.{nearest(stem, suites)} Allowed: {allowed}"])


@cache
def canonical() -> dict[str, dict[str, Any]]:
    """Return the label, terms and source of each method of the papers' tables, in their order."""
    text = files("distillers").joinpath("methods.yaml").read_text("utf-8")
    return loader.parse(text, "distillers/methods.yaml").data


def papers(name: str) -> dict[str, Term]:
    """Return the terms of a canonical method as the papers define it; empty for other names."""
    terms = {}
    for term, entry in canonical_terms(name).items():
        distiller = distillers.load(term)
        values, _ = options.check(distiller, entry.options, ())
        terms[term] = Term(entry.weight, options.defaults(distiller) | values)
    return terms


def canonical_terms(name: str) -> dict[str, TermEntry]:
    """Return the terms of a canonical method as methods.yaml has them; empty for other names."""
    return _terms.validate_python(canonical()[name]["terms"]) if name in canonical() else {}
