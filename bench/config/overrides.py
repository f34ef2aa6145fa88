"""The `--set` changes of a document."""

from collections.abc import Sequence
from typing import Any

from bench.config import loader
from bench.config.loader import MAX_LEVELS, Change, Document
from bench.config.text import Where, dotted, found, hidden
from bench.errors import ConfigError


def apply(document: Document, texts: Sequence[str]) -> Document:
    """Apply changes such as `recipe.epochs=2` to a document, in their order; return it."""
    for text in texts:
        try:
            document.changes.append(_apply(document.data, text))
        except ConfigError as error:
            document.refused += error.lines
    return document


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
