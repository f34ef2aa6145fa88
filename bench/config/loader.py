"""A YAML file as plain data that remembers its lines; the rules of reading are in nodes.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.config.errors import Mistake, Where, found
from bench.config.nodes import Place, Refused, Walk, place, root
from bench.config.text import hidden
from bench.errors import Mistakes

MOST_BYTES = 256 * 1024  # of a suite's file


@dataclass(frozen=True)
class Document:
    """A file's data; `mistakes` are those that leave the rest readable, e.g. keys that repeat."""

    name: str  # as messages show it
    data: dict[str, Any]
    keys: dict[Where, Place]
    values: dict[Where, Place]
    mistakes: tuple[Mistake, ...] = ()

    def has(self, where: Where) -> bool:
        """Whether the file itself says anything at this place."""
        return where in self.values

    def line_of(self, where: Where) -> int:
        """The line of a key or list item, or of the nearest thing around it that is there."""
        at = self.keys.get(where) or self.values.get(where)
        if at is not None:
            return at.line
        return self.line_of(where[:-1]) if where else 1

    def told(self, mistake: Mistake) -> str:
        """`file:line  path: sentence`."""
        return f"{self.name}:{mistake.line or self.line_of(mistake.where)}  {mistake}"

    def sorted(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Mistakes in the order of the file."""
        return sorted(mistakes, key=self._order)

    def _order(self, mistake: Mistake) -> tuple[int, int]:
        at = self.keys.get(mistake.where) or self.values.get(mistake.where)
        return mistake.line or self.line_of(mistake.where), at.column if at else 0


def load(path: Path) -> Document:
    """A file's document; raises `Mistakes` for all that keeps it from being read."""
    name = str(path)
    if odd := hidden(path.name):
        raise Mistakes([f"{path.name!a}: the file's name {odd}"])
    try:
        if path.exists() and not path.is_file():
            raise Mistakes([f"{name}: not a file"])
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Mistakes([f"{name}: cannot be read: {error.strerror}"]) from error
    if len(raw) > MOST_BYTES:
        raise Mistakes([f"{name}: larger than {MOST_BYTES // 1024} KiB, the most that is read"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Mistakes([f"{name}:{line}  not text in UTF-8"]) from error
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """The document of a text, which must be one mapping."""
    try:
        node = root(text)
    except Refused as error:
        raise Mistakes([f"{name}:{line}  {reason}" for line, reason in error.reasons]) from error
    if node is None:
        raise Mistakes([f"{name}:1  empty. Allowed: a mapping of keys to values"])
    walk = Walk()
    data = walk.plain(node, ())
    if not isinstance(node, yaml.MappingNode):
        line = place(node).line
        raise Mistakes([f"{name}:{line}  {found(data)}. Allowed: a mapping of keys to values"])
    return Document(name, data, walk.keys, walk.values, tuple(walk.mistakes))


def value(text: str, name: str) -> Any:
    """The plain data of one value, e.g. of `5e-4` or `[0, 1]` on a command line."""
    try:
        node = root(text)
    except Refused as error:
        raise Mistakes([f"{name}: {reason}" for _, reason in error.reasons]) from error
    if node is None:
        return None
    walk = Walk()
    data = walk.plain(node, ())
    if walk.mistakes:
        raise Mistakes([f"{name}: {mistake}" for mistake in walk.mistakes])
    return data
