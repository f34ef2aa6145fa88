"""YAML files as plain data with the line of every key and value, and JSON files.

Stricter than YAML, so that a text means what it seems to say: `5e-4` is a number, only `true` and
`false` are booleans (`no` is text), keys are ASCII text and not repeated, every character is
visible. Anchors, aliases, merge keys and tags are refused: the data cannot be larger than the text.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.config.text import Problem, Where, foreign, found, hidden, short, visible
from bench.errors import ConfigError

MAX_BYTES, MAX_JSON_BYTES = 256 * 1024, 64 * 1024**2  # of a file
MAX_LEVELS, MAX_JSON_LEVELS = 20, 40  # of nesting
MAX_VALUES = 5_000  # keys included
MAX_KEY_LENGTH = 200  # characters
MAX_NUMBER_LENGTH = 40  # characters; a longer one is text

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


class Place(NamedTuple):
    """A line and a column of a text, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """A file's data, and where each part of it is written.

    Attributes:
        name: The file's name in messages.
        data: Plain data: dicts with text as keys, lists, texts, numbers, booleans, None.
        keys: The place of each key.
        values: The place of each value.
        problems: Problems that leave the rest of the file readable, e.g. duplicate keys.
    """

    name: str
    data: dict[str, Any]
    keys: dict[Where, Place]
    values: dict[Where, Place]
    problems: tuple[Problem, ...] = ()

    def line_of(self, where: Where) -> int:
        """Return the line of a key or list item, or of the nearest parent in the file."""
        return self._place(where).line

    def format(self, problems: Iterable[Problem]) -> list[str]:
        """Return `file:line  path: message` for each problem, in the order of the file."""
        placed = sorted(((self._of(problem), problem) for problem in problems), key=lambda p: p[0])
        return [f"{self.name}:{place.line}  {problem}" for place, problem in placed]

    def _of(self, problem: Problem) -> Place:
        at = self.keys.get(problem.where) or self.values.get(problem.where)
        line = problem.line or self.line_of(problem.where)
        return Place(line, at.column if at else 0)

    def _place(self, where: Where) -> Place:
        place = self.keys.get(where) or self.values.get(where)
        return place or (self._place(where[:-1]) if where else Place(1, 1))


def load(path: Path) -> Document:
    """Read a YAML file.

    Args:
        path: The file, at most `MAX_BYTES` long.

    Returns:
        The document, which must be one mapping.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not such a document.
    """
    return parse(read(path, MAX_BYTES), str(path))


def load_json(path: Path) -> Any:
    """Read a JSON file such as a baseline, at most `MAX_JSON_BYTES` long.

    Raises:
        ConfigError: The file cannot be read, is too large or too deep, or is not JSON.
    """
    problem = f"nested deeper than {MAX_JSON_LEVELS} levels, the maximum"
    try:
        content = json.loads(read(path, MAX_JSON_BYTES))
        if not _is_deeper(content, MAX_JSON_LEVELS):
            return content
    except RecursionError:
        pass
    except ValueError as error:
        problem = f"not JSON: {error}"
    raise ConfigError([f"{path}: {problem}"])


def read(path: Path, max_bytes: int) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        ConfigError: The file cannot be read, is larger than `max_bytes`, or is not such a text.
    """
    if problem := hidden(path.name):
        raise ConfigError([f"{path.name!a}: the file's name {problem}"])
    try:
        if path.exists() and not path.is_file():
            raise ConfigError([f"{path}: not a file"])
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    if len(raw) > max_bytes:
        raise ConfigError([f"{path}: larger than {max_bytes // 1024:,} KiB, the maximum"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}  not text in UTF-8"]) from error


def parse(text: str, name: str) -> Document:
    """Return the document of a text, as `load` does; `name` is the file's name in messages."""
    try:
        node = _root(text)
    except _Refused as error:
        raise ConfigError([f"{name}:{line}  {reason}" for line, reason in error.reasons]) from error
    if node is None:
        raise ConfigError([f"{name}:1  empty. Allowed: a mapping of keys to values"])
    reader = _Reader()
    data = reader.plain(node, ())
    if not isinstance(node, yaml.MappingNode):
        line = _start(node).line
        raise ConfigError([f"{name}:{line}  {found(data)}. Allowed: a mapping of keys to values"])
    return Document(name, data, reader.keys, reader.values, tuple(reader.problems))


def value(text: str, name: str) -> Any:
    """Return the plain data of a value on a command line, e.g. of `5e-4` or `[0, 1]`."""
    try:
        node = _root(text)
    except _Refused as error:
        raise ConfigError([f"{name}: {reason}" for _, reason in error.reasons]) from error
    if node is None:
        return None
    reader = _Reader()
    data = reader.plain(node, ())
    if reader.problems:
        raise ConfigError([f"{name}: {problem}" for problem in reader.problems])
    return data


def _is_deeper(content: Any, levels: int) -> bool:
    if not isinstance(content, dict | list):
        return False
    items = content.values() if isinstance(content, dict) else content
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


class _Refused(Exception):
    """An unreadable text, with line and message of each reason."""

    def __init__(self, *reasons: tuple[int, str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


def _root(text: str) -> yaml.Node | None:
    """Return the node of a text, None if it is empty."""
    text = text.replace("\r\n", "\n")
    lines = enumerate(text.split("\n"), 1)
    if problems := [(i, problem) for i, line in lines if (problem := hidden(line))]:
        raise _Refused(*problems)
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Refused((mark.line + 1 if mark else 1, _reason(error))) from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\UFFFFFFFF", and on %YAML 1.99…9
        raise _Refused((loader.line + 1, "not YAML: a number out of range")) from error
    finally:
        loader.dispose()
    if loader.refused:
        raise _Refused(*loader.refused)
    return node


class _Reader:
    """Reads nodes as plain data, and notes the place of each key and value."""

    def __init__(self) -> None:
        self.keys: dict[Where, Place] = {}
        self.values: dict[Where, Place] = {}
        self.problems: list[Problem] = []

    def plain(self, node: yaml.Node, where: Where) -> Any:
        self.values[where] = _start(node)
        if isinstance(node, yaml.MappingNode):
            return {k: self.plain(v, (*where, k)) for k, v in self._entries(node, where)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*where, i)) for i, item in enumerate(node.value)]
        value = _scalar(node)
        if isinstance(value, str) and (problem := hidden(value)):  # by an escape
            self.problems.append(Problem(where, problem, self.values[where].line))
            return visible(value)
        return value

    def _entries(self, node: yaml.MappingNode, where: Where) -> Iterator[tuple[str, yaml.Node]]:
        """Yield each valid key once, with its value; note a problem for the others."""
        for key, content in node.value:
            line = _start(key).line
            if message := _invalid_key(key):
                self.problems.append(Problem(where, message, line))
                continue
            at = (*where, key.value)
            if key.value == "<<" and key.style is None:
                message = "merge keys are not allowed, write the keys out"
            elif at in self.keys:
                message = f"duplicate key, first defined on line {self.keys[at].line}"
            else:
                self.keys[at] = _start(key)
                yield key.value, content
                continue
            self.problems.append(Problem(at, message, line))


def _invalid_key(key: yaml.Node) -> str | None:
    """Return why a node cannot be a key; None for a valid key."""
    if not isinstance(key, yaml.ScalarNode):
        return "a key that is not plain text"
    if len(key.value) > MAX_KEY_LENGTH:
        return f"a key of {len(key.value)} characters. Allowed: at most {MAX_KEY_LENGTH}"
    problem = hidden(key.value)
    if key.value.isascii() and not problem and not key.value.isprintable():
        problem = "contains a tab or a line break"
    return f"the key '{short(visible(key.value))}' {problem}" if problem else foreign(key.value)


def _start(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _scalar(node: Any) -> str | int | float | bool | None:
    text: str = node.value
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_NUMBER_LENGTH or _LEADING_ZERO.match(text):
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if isinstance(error, _TooLarge):
        return problem
    if r"'\t'" in problem:
        problem = "a tab where only spaces are allowed"
    if "single document" in str(error.context):
        problem = "a second document; a file contains one"
    column = f" (column {error.problem_mark.column + 1})" if error.problem_mark else ""
    return f"not YAML: {short(problem, 200)}{column}"


class _TooLarge(yaml.MarkedYAMLError):
    """More than `MAX_LEVELS` of nesting, or more than `MAX_VALUES`."""


class _Loader(yaml.SafeLoader):
    """PyYAML's composer of nodes, without anchors, aliases and tags, and with limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.refused: list[tuple[int, str]] = []
        self.level = self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node; count levels and values, note and drop what is not allowed."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.count += 1
        for count, most, unit in (
            (self.level, MAX_LEVELS, "levels of nesting"),
            (self.count, MAX_VALUES, "keys and values"),
        ):
            if count > most:
                problem = f"more than {most:,} {unit}"
                raise _TooLarge(problem=problem, problem_mark=event.start_mark)
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            name = short(str(event.anchor))
            self.refused.append((line, f"alias *{name}: not allowed, write the value out"))
            self.get_event()  # type: ignore[no-untyped-call]
            mark: Any = event.start_mark
            return yaml.ScalarNode("", "", mark, mark)
        if event.anchor is not None:
            name = short(event.anchor)
            self.refused.append((line, f"anchor &{name}: not allowed, write values out"))
            event.anchor = None
        if event.tag is not None:
            name = short(event.tag)
            self.refused.append((line, f"tag {name}: not allowed, write a plain value"))
            event.tag = None
        self.level += 1
        node = super().compose_node(parent, index)
        self.level -= 1
        return node
