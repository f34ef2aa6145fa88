"""A document with `--set` changes, which knows the origin of each value."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.config import loader
from bench.config.loader import MAX_LEVELS, Document
from bench.config.text import Problem, Where, dotted, found, hidden
from bench.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """One `--set place=value`."""

    text: str
    where: Where


@dataclass(frozen=True)
class ChangedDocument:
    """A document's data after changes.

    Attributes:
        document: The file.
        data: Its data, changed.
        changes: The changes that were made.
        refused: Messages about changes that could not be made.
    """

    document: Document
    data: dict[str, Any]
    changes: tuple[Change, ...] = ()
    refused: tuple[str, ...] = ()

    def origin(self, where: Where) -> str:
        """Return `command line` or `suite:LINE`, the origin of a value that is set."""
        change = self._change(where)
        return "command line" if change else f"suite:{self.document.line_of(where)}"

    def format(self, problems: Iterable[Problem]) -> list[str]:
        """Return a message for each problem: in the order of the file, then of `--set`."""
        in_file, in_changes = [], []
        for problem in problems:
            if change := self._change(problem.where):
                at = "" if change.where == problem.where else f" {dotted(problem.where)}:"
                in_changes.append(f"--set {change.text}:{at} {problem.message}")
            else:
                in_file.append(problem)
        return [*self.document.format(in_file), *in_changes, *self.refused]

    def _change(self, where: Where) -> Change | None:
        """Return the last change at or above a place, else within the part missing in the file."""
        parts = [where[: i + 1] for i in range(len(where))]
        missing = [part for part in parts if part not in self.document.values][:1]
        near = [c for c in self.changes if where[: len(c.where)] == c.where]
        near = near or [c for c in self.changes for top in missing if c.where[: len(top)] == top]
        return near[-1] if near else None


def apply(document: Document, texts: Sequence[str]) -> ChangedDocument:
    """Apply changes such as `recipe.epochs=2`, in their order."""
    data = copy.deepcopy(document.data)
    changes: list[Change] = []
    refused: list[str] = []
    for text in texts:
        try:
            changes.append(_apply(data, text))
        except ConfigError as error:
            refused += error.lines
    return ChangedDocument(document, data, tuple(changes), tuple(refused))


def _apply(data: dict[str, Any], text: str) -> Change:
    name = f"--set {text}"
    place, equals, value = text.partition("=")
    parts = [part.strip() for part in place.split(".")]
    if not equals or not all(parts):
        raise ConfigError([f"{name}: not a change. Allowed: key=value, e.g. recipe.epochs=2"])
    if problem := hidden(place):
        raise ConfigError([f"{name}: {problem}"])
    if len(parts) > MAX_LEVELS:
        raise ConfigError([f"{name}: more than {MAX_LEVELS} levels of nesting"])
    new = loader.value(value, name)
    where: Where = ()
    parent: Any = data
    while True:
        key, parts = _next_key(parent, parts, name)
        where = (*where, key)
        if not parts:
            parent[key] = new
            return Change(text, where)
        content = parent.get(key) if isinstance(parent, dict) else parent[key]
        parent[key] = _opened(where, content, name)
        parent = parent[key]


def _next_key(parent: Any, parts: list[str], name: str) -> tuple[str | int, list[str]]:
    """Return the next key and the parts after it; an existing key may contain dots itself."""
    if isinstance(parent, list):
        last = len(parent) - 1
        if not parts[0].isdecimal() or len(parts[0]) > 9 or int(parts[0]) > last:
            allowed = f"0 to {last}" if parent else "none, it is empty"
            raise ConfigError([f"{name}: no item '{parts[0]}' in this list. Allowed: {allowed}"])
        return int(parts[0]), parts[1:]
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in parent:
            return key, parts[count:]
    return parts[0], parts[1:]


def _opened(where: Where, content: Any, name: str) -> Any:
    """Return a container for the keys below a place: a short form is written out."""
    if content is None:
        return {}
    if isinstance(content, dict | list):
        return content
    match where:
        case ("dataset",):
            return {"name": content}
        case ("teachers", "checkpoints", _):
            return {"path": content}
        case ("methods", _, _):
            return {"weight": content}
    raise ConfigError([f"{name}: {found(content)} at {dotted(where)}, which has no keys"])
