"""A suite's data after the command line's changes, which knows where each value comes from."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.config import loader
from bench.config.errors import Mistake, Where, dotted, found
from bench.config.loader import Document
from bench.config.nodes import MOST_LEVELS
from bench.config.text import hidden
from bench.errors import Mistakes


@dataclass(frozen=True)
class Change:
    """One `--set place=value`."""

    text: str
    where: Where


@dataclass(frozen=True)
class Source:
    """The data, and who said what of it."""

    document: Document
    data: dict[str, Any]
    changes: tuple[Change, ...] = ()
    refused: tuple[str, ...] = ()  # sentences about changes that cannot be made

    def origin(self, where: Where) -> str:
        """`command line`, or `suite:LINE`, of a value that one of them has set."""
        return "command line" if self._change(where) else f"suite:{self.document.line_of(where)}"

    def told(self, mistakes: Iterable[Mistake]) -> list[str]:
        """Sentences for the user: those of the file in the order of its lines, then `--set`'s."""
        mistakes = list(mistakes)
        changed = [(change, m) for m in mistakes if (change := self._change(m.where))]
        written = [m for m in mistakes if not self._change(m.where)]
        lines = [self.document.told(m) for m in self.document.sorted(written)]
        for change, mistake in changed:
            at = "" if change.where == mistake.where else f" {dotted(mistake.where)}:"
            lines.append(f"--set {change.text}:{at} {mistake.sentence}")
        return [*lines, *self.refused]

    def _change(self, where: Where) -> Change | None:
        """The last change at this place or above it; else of the part that the file lacks."""
        parts = [where[: i + 1] for i in range(len(where))]
        lacks = [part for part in parts if not self.document.has(part)][:1]
        near = [c for c in self.changes if where[: len(c.where)] == c.where]
        near = near or [c for c in self.changes for top in lacks if c.where[: len(top)] == top]
        return near[-1] if near else None


def changed(base: Document, texts: Sequence[str]) -> Source:
    """The document with `recipe.epochs=2` and the like laid over it, in their order."""
    data = copy.deepcopy(base.data)
    changes: list[Change] = []
    refused: list[str] = []
    for text in texts:
        try:
            changes.append(_change(data, text))
        except Mistakes as error:
            refused += error.lines
    return Source(base, data, tuple(changes), tuple(refused))


def value_at(data: Any, where: Where) -> Any:
    """What stands at a place of plain data; None where there is nothing."""
    for part in where:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _change(data: dict[str, Any], text: str) -> Change:
    name = f"--set {text}"
    place, equals, written = text.partition("=")
    parts = [part.strip() for part in place.split(".")]
    if not equals or not all(parts):
        raise Mistakes([f"{name}: no change. Allowed: key=value, e.g. recipe.epochs=2"])
    if odd := hidden(place):
        raise Mistakes([f"{name}: {odd}"])
    if len(parts) > MOST_LEVELS:
        raise Mistakes([f"{name}: more than {MOST_LEVELS} levels of nesting"])
    new = loader.value(written, name)
    where: Where = ()
    holder: Any = data
    while parts:
        key, parts = _step(holder, parts, name)
        where = (*where, key)
        if not parts:
            holder[key] = new
            break
        holder[key] = _opened(where, value_at(holder, (key,)), name)
        holder = holder[key]
    return Change(text, where)


def _step(holder: Any, parts: list[str], name: str) -> tuple[str | int, list[str]]:
    """The next key and the parts behind it; a key that is there may hold dots itself."""
    if isinstance(holder, list):
        last = len(holder) - 1
        if not parts[0].isdecimal() or len(parts[0]) > 9 or int(parts[0]) > last:
            raise Mistakes([f"{name}: no item '{parts[0]}' in this list. Allowed: 0 to {last}"])
        return int(parts[0]), parts[1:]
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in holder:
            return key, parts[count:]
    return parts[0], parts[1:]


def _opened(where: Where, inside: Any, name: str) -> Any:
    """What holds the keys below a place: a short form written out, or a new mapping."""
    if inside is None:
        return {}
    if isinstance(inside, dict | list):
        return inside
    match where:
        case ("dataset",):
            return {"name": inside}
        case ("teachers", "checkpoints", _):
            return {"path": inside}
        case ("methods", _, _):
            return {"weight": inside}
    raise Mistakes([f"{name}: {found(inside)} at {dotted(where)}, which holds no keys"])
