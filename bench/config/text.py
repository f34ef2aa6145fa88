"""Invisible characters and terminal controls: refused in suites, never printed."""

import json
import re
import unicodedata
from typing import Any

_HIDDEN = re.compile(  # controls except tab and newline; bidirectional marks; joiners; surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def hidden(text: str) -> str | None:
    """Return a message about the first invisible character; None if all are visible."""
    match = _HIDDEN.search(text)
    message = "contains {}, an invisible character. Allowed: visible characters"
    return match and message.format(_named(match.group()))


def visible(text: str) -> str:
    """Return the text without invisible characters."""
    return _HIDDEN.sub("", text)


def foreign(name: str) -> str | None:
    """Return a message about the first non-ASCII letter, which may look like another; or None."""
    char = next((char for char in name if not char.isascii()), None)
    return char and f"'{short(name)}' contains {_named(char)}. Allowed in names: ASCII"


def short(text: str, most: int = 60) -> str:
    """Return a text on one line, cut so that it fits into a message."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def printable(text: str) -> str:
    """Return the text with a blank in place of each unprintable character except newlines."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def as_json(content: Any, indent: int | None = 1) -> str:
    r"""Return JSON text, compact if `indent` is None; unprintable characters become `\u001b`."""
    separators = None if indent else (",", ":")
    text = json.dumps(
        content, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    unprintable = {char for char in text if not char.isprintable()} - {"\n"}
    return text.translate({ord(char): json.dumps(char)[1:-1] for char in unprintable})


def _named(char: str) -> str:
    """Return `U+043A CYRILLIC SMALL LETTER KA`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip()
