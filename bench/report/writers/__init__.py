"""Writers: one a format, for tables, statistics and verdicts alike."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.report.document import Style, Text
from bench.report.model import Note
from bench.results import Unwritable, write_atomic


@dataclass(frozen=True)
class Markup:
    """How a format escapes text, and the template of each style."""

    escape: Callable[[str], str]
    templates: Mapping[Style, str]

    def __call__(self, text: Text) -> str:
        """Return a text in the format."""
        return "".join(
            self.templates.get(span.style, "{}").format(self.escape(visible(span.text)))
            for span in text
        )

    def plain(self, text: str) -> str:
        """Return an unstyled text in the format."""
        return self.escape(visible(text))

    def note(self, note: Note) -> str:
        """Return a footnote, its mark first."""
        mark = self.templates["mark"].format(self.escape(note.mark)) if note.mark else ""
        return " ".join(filter(None, (mark, self.plain(note.text))))


def visible(text: str) -> str:
    """Return the text with a blank for all white space and all characters that do not print."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text))


def save(path: Path, content: bytes) -> Path:
    """Write a file atomically and return its path; raises `Unwritable`."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise Unwritable(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
