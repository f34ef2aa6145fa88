"""Characters that nobody sees, or that a terminal obeys: refused in suites, never printed."""

import json
import re
import unicodedata
from typing import Any

_HIDDEN = re.compile(  # controls but tab and newline; what turns direction; joints; surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def hidden(text: str) -> str | None:
    """A sentence about the first character that cannot be seen; None if all can."""
    odd = _HIDDEN.search(text)
    return odd and f"holds {_named(odd.group())}, which cannot be seen. Allowed: visible characters"


def visible(text: str) -> str:
    """The text without the characters that cannot be seen."""
    return _HIDDEN.sub("", text)


def foreign(name: str) -> str | None:
    """A sentence about a letter of a name beyond ASCII, which may look like another; or None."""
    odd = next((char for char in name if not char.isascii()), None)
    return odd and f"'{short(name)}' holds {_named(odd)}. Allowed in names: ASCII"


def short(text: str, most: int = 60) -> str:
    """A text cut and joined to one line, so that it fits into a message."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def printable(text: str) -> str:
    """The text with a blank for every character but newlines that has no glyph, width or place."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def as_json(content: Any, indent: int | None = 1) -> str:
    r"""JSON, or its shortest form: what cannot be printed in it is written as `\u001b`."""
    apart = None if indent else (",", ":")
    text = json.dumps(content, indent=indent, separators=apart, ensure_ascii=False, allow_nan=False)
    odd = {char for char in text if not char.isprintable()} - {"\n"}
    return text.translate({ord(char): json.dumps(char)[1:-1] for char in odd})


def _named(char: str) -> str:
    """`U+043A CYRILLIC SMALL LETTER KA`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip()
