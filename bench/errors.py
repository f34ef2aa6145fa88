"""Every error that a user can cause, and nothing else.

BenchError                 a message for the user, never a traceback
├── ConfigError            all errors of a suite, cluster file or command line (exit code 2)
├── MissingData            a data set or a checkpoint was not found
└── TeacherRefused         a checkpoint is not the teacher that the suite describes
"""

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """An error with a message that names the place, the value found and the allowed values."""


class ConfigError(BenchError):
    """All errors of one file or command line.

    Attributes:
        lines: One message each: `file:line  path: what was found. Allowed: …`.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class MissingData(BenchError):
    """A file that a run needs is missing; the message names the archive and the folder."""


class TeacherRefused(BenchError):
    """A teacher's accuracy or checksum differs from the suite's."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest allowed name; without one, an empty text."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `no <kind> 'name'. Did you mean 'x'? Allowed: …`, the message for unknown names."""
    names = sorted(allowed)
    return f"no {kind} '{name}'.{nearest(name, names)} Allowed: {', '.join(names)}"
