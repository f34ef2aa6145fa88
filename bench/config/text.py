"""Text of messages: problems in configuration data, and the removal of invisible characters."""

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_HIDDEN = re.compile(  # control characters (not tab, newline), text direction, joiners, surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


Where = tuple[str | int, ...]  # a place in plain data, e.g. ("pairs", 0, "teacher")


@dataclass(frozen=True)
class Problem:
    """One error at a place in the data."""

    where: Where
    message: str
    line: int | None = None  # None: the line of the place

    def __str__(self) -> str:
        """Return `path: message`, or only the message if the problem has no place."""
        return f"{dotted(self.where)}: {self.message}" if self.where else self.message


def dotted(where: Where) -> str:
    """Return a place as messages and `--set` write it: `pairs.0.teacher`."""
    return ".".join(short(str(part)) for part in where)


def found(data: object) -> str:
    """Return `found the text 'x'`, `found the number 3`, `found a list` and the like."""
    match data:
        case None:
            return "found nothing"
        case bool():
            return f"found {str(data).lower()}"
        case int() | float():
            return f"found the number {data}"
        case str():
            return f"found the text '{short(data)}'"
    kind = "list" if isinstance(data, list | tuple) else "mapping"
    return f"found a {kind}" if data else f"found an empty {kind}"


def hidden(text: str) -> str | None:
    """Return a message about the first invisible character; None if all characters are visible."""
    match = _HIDDEN.search(text)
    message = "contains {}, an invisible character. Allowed: visible characters"
    return match and message.format(_named(match.group()))


def broken(text: str) -> str | None:
    """Return a message if a name contains a tab or a line break, else None."""
    return "contains a tab or a line break" if {"\t", "\n"} & set(text) else None


def blank(text: str) -> str | None:
    """Return a message about the first non-ASCII space, which YAML does not accept, or None."""
    char = next((char for char in text if char.isspace() and not char.isascii()), None)
    return char and f"contains {_named(char)}. Allowed between words of YAML: spaces"


def visible(text: str) -> str:
    """Return the text without invisible characters."""
    return _HIDDEN.sub("", text)


def foreign(name: str) -> str | None:
    """Return a message about the first non-ASCII character; None if all are ASCII."""
    char = next((char for char in name if not char.isascii()), None)
    return char and f"'{short(name)}' contains {_named(char)}. Allowed in names: ASCII"


def short(text: str, max_length: int = 60) -> str:
    """Return a text on one line, cut to `max_length` characters for a message."""
    line = " ".join(text[: 4 * max_length].split())
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def printable(text: str) -> str:
    """Return the text with a space in place of each unprintable character except newlines."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def as_json(content: Any, indent: int | None = 1) -> str:
    r"""Return JSON text, compact if `indent` is None, with unprintable characters escaped."""
    separators = None if indent else (",", ":")
    text = json.dumps(
        content, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    unprintable = {char for char in text if not char.isprintable()} - {"\n"}
    return text.translate({ord(char): json.dumps(char)[1:-1] for char in unprintable})


def _named(char: str) -> str:
    """Return a character's code and name, e.g. `U+043A CYRILLIC SMALL LETTER KA`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip()


def count(number: int, noun: str) -> str:
    """Return a number with its noun, e.g. `1 epoch` or `240 epochs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def group_reasons(runs: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Group runs with the same state and reason.

    Args:
        runs: State, name and reason of each run.

    Returns:
        For each group, its state, the names of its runs and its reason. The names are text such as
        `resnet8/vgg8 at seed 0 and 1 more`.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for state, name, reason in runs:
        names.setdefault((state, reason), []).append(name)
    return [
        (state, group[0] + (f" and {len(group) - 1} more" if group[1:] else ""), reason)
        for (state, reason), group in names.items()
    ]
