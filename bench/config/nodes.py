"""YAML's nodes as plain data, noting where each key and value stands.

Stricter than YAML, so that a text says what it seems to say: `5e-4` is a number, only `true` and
`false` are booleans (`no` is text), keys are ASCII text and stand once, every character can be
seen, and there are no anchors, aliases, merge keys or tags, hence nothing that could grow beyond
the text's size.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from bench.config.errors import Mistake, Where
from bench.config.text import foreign, hidden, short, visible

MOST_LEVELS = 20  # of nesting
MOST_VALUES = 5_000  # keys included
LONGEST_KEY = 200  # characters
LONGEST_NUMBER = 40  # characters; whatever is longer is text

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Place:
    """A line and a column of a text, both counted from 1."""

    line: int
    column: int


class Refused(Exception):  # noqa: N818 (caught by document.py, never seen by users)
    """A text that is not read, with the line and the sentence of each reason."""

    def __init__(self, *reasons: tuple[int, str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


def root(text: str) -> yaml.Node | None:
    """The node of the whole text, None if it is empty. Raises `Refused`."""
    text = text.replace("\r\n", "\n")
    if not_seen := [
        (i, odd) for i, line in enumerate(text.split("\n"), 1) if (odd := hidden(line))
    ]:
        raise Refused(*not_seen)
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Refused((mark.line + 1 if mark else 1, _complaint(error))) from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\UFFFFFFFF", and on %YAML 1.99…9
        raise Refused((loader.line + 1, "not YAML: a number beyond all bounds")) from error
    finally:
        loader.dispose()
    if loader.refused:
        raise Refused(*loader.refused)
    return node


def place(node: yaml.Node) -> Place:
    """Where a node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


class Walk:
    """A walk through nodes, and what was seen on it."""

    def __init__(self) -> None:
        self.keys: dict[Where, Place] = {}
        self.values: dict[Where, Place] = {}
        self.mistakes: list[Mistake] = []

    def plain(self, node: yaml.Node, where: Where) -> Any:
        """The data of a node: a dict with text for keys, a list, text, a number, and so on."""
        self.values[where] = place(node)
        if isinstance(node, yaml.MappingNode):
            return {k: self.plain(v, (*where, k)) for k, v in self._entries(node, where)}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*where, i)) for i, item in enumerate(node.value)]
        value = scalar(node)
        if isinstance(value, str) and (odd := hidden(value)):  # by an escape
            self.mistakes.append(Mistake(where, odd, self.values[where].line))
            return visible(value)
        return value

    def _entries(self, node: yaml.MappingNode, where: Where) -> Iterator[tuple[str, yaml.Node]]:
        """Each key once, with its value; the others become mistakes."""
        for key, content in node.value:
            line = place(key).line
            if sentence := _unfit(key):
                self.mistakes.append(Mistake(where, sentence, line))
                continue
            at = (*where, key.value)
            if key.value == "<<" and key.style is None:
                self.mistakes.append(Mistake(at, "merging is not allowed, write keys out", line))
            elif at in self.keys:
                sentence = f"stands twice, first in line {self.keys[at].line}"
                self.mistakes.append(Mistake(at, sentence, line))
            else:
                self.keys[at] = place(key)
                yield key.value, content


def _unfit(key: yaml.Node) -> str | None:
    """Why a node cannot be a key; None where it can."""
    if not isinstance(key, yaml.ScalarNode):
        return "a key that is not plain text"
    if len(key.value) > LONGEST_KEY:
        return f"a key of {len(key.value)} characters. Allowed: at most {LONGEST_KEY}"
    odd = hidden(key.value)
    if key.value.isascii() and not odd and not key.value.isprintable():
        odd = "holds a tab or the end of a line"
    return f"the key '{short(visible(key.value))}' {odd}" if odd else foreign(key.value)


def scalar(node: Any) -> str | int | float | bool | None:
    """A scalar node as text, number, boolean or nothing."""
    text: str = node.value
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER or _LEADING_ZERO.match(text):
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _complaint(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if isinstance(error, _TooMuch):
        return problem
    if r"'\t'" in problem:
        problem = "a tab where only spaces may stand"
    if "single document" in str(error.context):
        problem = "a second document begins, where a file holds one"
    column = f" (column {error.problem_mark.column + 1})" if error.problem_mark else ""
    return f"not YAML: {short(problem, 200)}{column}"


class _TooMuch(yaml.MarkedYAMLError):
    """Nesting beyond `MOST_LEVELS`, or more than `MOST_VALUES`."""


class _Loader(yaml.SafeLoader):
    """PyYAML's composer of nodes, which here refuses whatever is not written out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.refused: list[tuple[int, str]] = []
        self.level = self.count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; levels are counted, anchors, aliases and tags noted and left out."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.count += 1
        for count, most, what in (
            (self.level, MOST_LEVELS, "levels of nesting"),
            (self.count, MOST_VALUES, "keys and values"),
        ):
            if count > most:
                raise _TooMuch(problem=f"more than {most:,} {what}", problem_mark=event.start_mark)
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
