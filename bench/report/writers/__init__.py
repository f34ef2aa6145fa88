"""Writers of reports, one per format; each writes tables, statistics and regression checks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.report.document import Style, Text
from bench.report.model import Note
from bench.results import Unwritable, write_atomic


@dataclass(frozen=True)
class Markup:
    """Escaping and styles of a text format.

    Attributes:
        escape: Function that escapes the format's special characters.
        templates: For each style, a template for `str.format` with one `{}` for the text.
    """

    escape: Callable[[str], str]
    templates: Mapping[Style, str]

    def __call__(self, text: Text) -> str:
        """Return a styled text in the format, escaped."""
        return "".join(
            self.templates.get(span.style, "{}").format(self.escape(visible(span.text)))
            for span in text
        )

    def plain(self, text: str) -> str:
        """Return an unstyled text in the format, escaped."""
        return self.escape(visible(text))

    def note(self, note: Note) -> str:
        """Return a footnote in the format: its mark, then its text."""
        mark = self.templates["mark"].format(self.escape(note.mark)) if note.mark else ""
        return " ".join(filter(None, (mark, self.plain(note.text))))


def visible(text: str) -> str:
    """Return the text with one space for each run of white space or unprintable characters."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text))


def save(path: Path, content: bytes) -> Path:
    """Write a file atomically and return its path.

    Raises:
        Unwritable: The file cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise Unwritable(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
