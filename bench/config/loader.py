"""Read YAML files with the line of every key and value, apply `--set` changes, read JSON files.

The rules are stricter than those of YAML, to exclude surprises: `5e-4` is a number, only `true` and
`false` are booleans (`no` is text), keys are ASCII text and not repeated, every character is
visible, tags are refused. Aliases and merge keys are replaced by their content; after this, the
limits of a file must still hold. JSON is accepted, too, even with tabs.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.config.syntax import Loader, reason
from bench.config.text import (
    Problem,
    Where,
    blank,
    broken,
    dotted,
    foreign,
    found,
    hidden,
    short,
    visible,
)
from bench.errors import ConfigError

MAX_BYTES, MAX_JSON_BYTES = 256 * 1024, 64 * 1024**2  # limits for the size of a file
MAX_LEVELS, MAX_JSON_LEVELS = 20, 40  # limits for the levels of nesting
MAX_VALUES = 5_000  # keys and values in a file
MAX_KEY_LENGTH = 200  # characters
MAX_NUMBER_LENGTH = 40  # characters; a longer number is read as text

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


class Place(NamedTuple):
    """A line and a column of a text, both counted from 1."""

    line: int
    column: int


class Change(NamedTuple):
    """A change by `--set TEXT` on the command line, and the place in the data that changes."""

    text: str
    where: Where


@dataclass
class Document:
    """The data of a file, with the line and column of each key and value.

    Attributes:
        name: The file's name in messages.
        data: Plain data: dicts with text keys, lists, texts, numbers, booleans, None.
        keys: The place of each key.
        values: The place of each value.
        problems: Problems that leave the rest of the file readable, e.g. duplicate keys.
        size: Number of keys and values, with aliases written out.
        changes: The changes that `apply` made.
        refused: Messages about changes that could not be made.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    keys: dict[Where, Place] = field(default_factory=dict)
    values: dict[Where, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    size: int = 0
    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def line_of(self, where: Where) -> int:
        """Return the line of a key or list item, or of the nearest parent in the file."""
        place = self.keys.get(where) or self.values.get(where)
        return place.line if place else self.line_of(where[:-1])

    def origin(self, where: Where) -> str:
        """Return the origin of a value that a user set: `command line` or `suite:LINE`."""
        return "command line" if self._change(where) else f"suite:{self.line_of(where)}"

    def format(self, problems: Iterable[Problem]) -> list[str]:
        """Return a message for each problem: the file's by line, then those of `--set` changes."""
        in_file, in_changes = [], []
        for problem in problems:
            where = problem.where
            if change := self._change(where):
                at = "" if change.where == where else f" {dotted(where)}:"
                in_changes.append(f"--set {change.text}:{at} {problem.message}")
            else:
                place = self.keys.get(where) or self.values.get(where)
                line = problem.line or self.line_of(where)
                in_file.append((line, place.column if place else 0, problem))
        in_file.sort(key=lambda item: item[:2])
        lines = [f"{self.name}:{line}  {problem}" for line, _, problem in in_file]
        return [*lines, *in_changes, *self.refused]

    def _change(self, where: Where) -> Change | None:
        """Return the last `--set` change that concerns a place; None if there is none.

        Such a change sets the place or a parent of the place. If there is none and the file does
        not have the place, the last change below the topmost missing parent is returned.
        """
        parts = [where[: i + 1] for i in range(len(where))]
        missing = [part for part in parts if part not in self.values][:1]
        near = [c for c in self.changes if where[: len(c.where)] == c.where]
        near = near or [c for c in self.changes for top in missing if c.where[: len(top)] == top]
        return near[-1] if near else None

    def plain(self, node: yaml.Node, where: Where = ()) -> Any:
        """Return a node as plain data; note the place of each key and value.

        Raises:
            ConfigError: The data with aliases written out exceed the limits of a file.
        """
        self.values[where] = _start(node)
        self._count(node, len(where))
        if isinstance(node, yaml.MappingNode):
            merged = self._merged(node, where)
            entries = dict(self._entries(node, where))
            nodes = {key: content for key, (_, content) in merged.items()} | entries
            self.keys |= {(*where, k): _start(merged[k][0]) for k in nodes if k not in entries}
            return {key: self.plain(content, (*where, key)) for key, content in nodes.items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*where, i)) for i, item in enumerate(node.value)]
        value = _scalar(node)
        if isinstance(value, str) and (problem := hidden(value)):  # from an escape sequence
            self.problems.append(Problem(where, problem, self.values[where].line))
            return visible(value)
        return value

    def _count(self, node: yaml.Node, level: int) -> None:
        """Raise ConfigError if the document exceeds its limits with this node."""
        self.size += 1
        if self.size > MAX_VALUES or level > MAX_LEVELS:
            limit = f"{MAX_VALUES:,} keys and values, {MAX_LEVELS} levels of nesting"
            message = f"too large with its aliases written out. Allowed: {limit}"
            raise ConfigError([f"{self.name}:{_start(node).line}  {message}"])

    def _entries(self, node: yaml.MappingNode, where: Where) -> Iterator[tuple[str, yaml.Node]]:
        """Yield each valid key with its value; store a problem for an invalid or duplicate key."""
        for key, content in node.value:
            line = _start(key).line
            if message := _invalid_key(key):
                self.problems.append(Problem(where, message, line))
                continue
            at = (*where, key.value)
            if _is_merge(key):
                continue
            if at in self.keys:
                message = f"duplicate key, first defined on line {self.keys[at].line}"
                self.problems.append(Problem(at, message, line))
                continue
            self.keys[at] = _start(key)
            yield key.value, content

    def _merged(
        self, node: yaml.MappingNode, where: Where, depth: int = 0
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key and value of entries that merge keys (`<<`) add; repeated keys are skipped."""
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, content in node.value:
            if not _is_merge(key):
                continue
            self._count(content, depth)
            sources = content.value if isinstance(content, yaml.SequenceNode) else [content]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    message = (
                        "<<: not a mapping. Allowed: an alias of a mapping, or a list of aliases"
                    )
                    self.problems.append(Problem(where, message, _start(content).line))
                    continue
                direct = {k.value: (k, v) for k, v in source.value if not _invalid_key(k)}
                direct.pop("<<", None)
                entries = self._merged(source, where, depth + 1) | direct | entries
        return entries


def load(path: Path) -> Document:
    """Read a YAML file.

    Args:
        path: The file, at most `MAX_BYTES` long.

    Returns:
        The document. Its data is a mapping.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not a YAML mapping.
    """
    return parse(read(path, MAX_BYTES), str(path))


def load_json(path: Path) -> Any:
    """Return the content of a JSON file of at most `MAX_JSON_BYTES`, e.g. a baseline.

    Raises:
        ConfigError: The file cannot be read, is too large or too deep, or is not JSON.
    """
    problem = f"nested deeper than {MAX_JSON_LEVELS} levels, the maximum"
    try:
        content = json.loads(read(path, MAX_JSON_BYTES))
        if _depth(content) <= MAX_JSON_LEVELS:
            return content
    except RecursionError:
        pass
    except ValueError as error:
        problem = f"not JSON: {error}"
    raise ConfigError([f"{path}: {problem}"])


def read(path: Path, max_bytes: int) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        ConfigError: The file cannot be read, is larger than `max_bytes`, or is not UTF-8.
    """
    if problem := hidden(path.name) or broken(path.name):
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
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:4]:
        raise ConfigError(
            [f"{path}:1  text in UTF-16 or UTF-32. Allowed: UTF-8; save the file as UTF-8"]
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}  not text in UTF-8. Allowed: UTF-8; save the file as UTF-8"
        raise ConfigError([message]) from error


def parse(text: str, name: str) -> Document:
    """Return the document of a text, as `load` does; `name` is the file's name in messages."""
    node = _compose(text, lambda line: f"{name}:{line}  ")
    if node is None:
        raise ConfigError([f"{name}:1  empty. Allowed: a mapping of keys to values"])
    document = Document(name)
    document.data = document.plain(node)
    if not isinstance(document.data, dict):
        problem = f"{found(document.data)}. Allowed: a mapping of keys to values"
        raise ConfigError([f"{name}:{document.line_of(())}  {problem}"])
    return document


def value(text: str, name: str) -> Any:
    """Return a value of the command line, e.g. `5e-4` or `[0, 1]`, as plain data."""
    node, document = _compose(text, lambda _: f"{name}: "), Document(name)
    data = None if node is None else document.plain(node)
    if document.problems:
        raise ConfigError([f"{name}: {problem}" for problem in document.problems])
    return data


def apply(document: Document, texts: Sequence[str]) -> Document:
    """Apply changes such as `recipe.epochs=2` to a document in order; return the document."""
    for text in texts:
        try:
            document.changes.append(_apply(document.data, text))
        except ConfigError as error:
            document.refused += error.lines
    return document


def _apply(parent: Any, text: str) -> Change:
    """Apply one change to `parent`, the data of a document; return the change."""
    name = f"--set {text}"
    place, equals, new_text = text.partition("=")
    parts = [part.strip() for part in place.split(".")]
    if not equals or not all(parts):
        raise ConfigError([f"{name}: not a change. Allowed: key=value, e.g. recipe.epochs=2"])
    if problem := hidden(place):
        raise ConfigError([f"{name}: {problem}"])
    if len(parts) > MAX_LEVELS:
        raise ConfigError([f"{name}: more than {MAX_LEVELS} levels of nesting"])
    new = value(new_text, name)
    where: Where = ()
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
    """Return the next key of a place and the parts after the key, which may contain dots."""
    if isinstance(parent, list):
        last = len(parent) - 1
        if not parts[0].isdecimal() or len(parts[0]) > 9 or int(parts[0]) > last:
            allowed = f"0 to {last}" if parent else "none, the list is empty"
            raise ConfigError([f"{name}: no item '{parts[0]}' in this list. Allowed: {allowed}"])
        return int(parts[0]), parts[1:]
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if key in parent:
            return key, parts[count:]
    return parts[0], parts[1:]


def _opened(where: Where, content: Any, name: str) -> Any:
    """Return the dict or list at a place; replace a short form such as `kd: 0.9` by a dict."""
    if content is None:
        return {}
    if isinstance(content, dict | list):
        return content
    match where:
        case ("dataset",):
            return {"name": content}
        case ("teachers", "checkpoints", _) | ("networks", _, "init"):
            return {"path": content}
        case ("methods", _, _):
            return {"weight": content}
    raise ConfigError([f"{name}: {found(content)} at {dotted(where)}, which has no keys"])


def _depth(content: Any) -> int:
    if not isinstance(content, dict | list):
        return 0
    items = content.values() if isinstance(content, dict) else content
    return 1 + max(map(_depth, items), default=0)


def _compose(text: str, place: Callable[[int], str]) -> yaml.Node | None:
    """Return the root node of a YAML text, None if empty; `place(line)` begins error messages."""
    text = text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")
    lines = text.split("\n")
    refused = [(i, problem) for i, line in enumerate(lines, 1) if (problem := hidden(line))]
    scanner, node = Loader("" if refused else text), None
    try:
        refused += _not_allowed(scanner)
        if not refused:
            node = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        blanks = [(i, problem) for i, line in enumerate(lines, 1) if (problem := blank(line))]
        refused = [(mark.line + 1 if mark else 1, reason(error)), *blanks]
    except (ValueError, OverflowError):  # PyYAML, for "\UFFFFFFFF" or %YAML 1.99…9
        refused = [(scanner.line + 1, "not YAML: a number out of range")]
    if refused:
        raise ConfigError([f"{place(line)}{message}" for line, message in refused])
    return node


def _not_allowed(scanner: Any) -> Iterator[tuple[int, str]]:
    """Yield line and message of each tag; after a message that a limit is exceeded, stop."""
    level = count = 0
    while scanner.check_event():
        event = scanner.get_event()
        line, tag = event.start_mark.line + 1, getattr(event, "tag", None)
        level -= isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        if level > MAX_LEVELS or count > MAX_VALUES:
            levels = f"{MAX_LEVELS} levels of nesting"
            maximum = levels if level > MAX_LEVELS else f"{MAX_VALUES:,} keys and values"
            yield line, f"more than {maximum}"
            return
        level += isinstance(event, yaml.CollectionStartEvent)
        if tag is not None:
            yield line, f"tag {short(tag)}: not allowed, write a plain value"


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None


def _invalid_key(key: yaml.Node) -> str | None:
    """Return the reason why a key is invalid; None for a valid key."""
    if not isinstance(key, yaml.ScalarNode):
        return "a key that is not plain text"
    if len(key.value) > MAX_KEY_LENGTH:
        return f"a key of {len(key.value)} characters. Allowed: at most {MAX_KEY_LENGTH}"
    problem = hidden(key.value) or broken(key.value)
    return f"the key '{short(visible(key.value))}' {problem}" if problem else foreign(key.value)


def _start(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _scalar(node: Any) -> str | int | float | bool | None:
    text: str = node.value
    if node.style is not None:  # quoted, or a block of text
        return _join_surrogates(text) if node.style == '"' else text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= MAX_NUMBER_LENGTH:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
    return text


def _join_surrogates(text: str) -> str:
    r"""Return the text with pairs such as `\ud83d\ude00`, as JSON writes them, as one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
