"""The errors that a user can cause, and the nearest match for an unknown name.

BenchError                 printed as a message, without a traceback
├── ConfigError            all errors of a suite, cluster file or command line (exit code 2)
├── MissingData            a data set or a checkpoint was not found
└── TeacherRefused         a teacher has another accuracy or checksum than the suite gives
"""

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """An error with a message that names the place, the value found and the allowed values."""


class ConfigError(BenchError):
    """All errors of one file or command line.

    Attributes:
        lines: One message per error: `file:line  path: problem. Allowed: …`.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class MissingData(BenchError):
    """A data set or a checkpoint was not found; the message says what is missing."""


class TeacherRefused(BenchError):
    """A teacher's accuracy or checksum differs from the value in the suite."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the closest allowed name, or an empty text.

    Upper and lower case count as equal.
    """
    by_lower = {text.lower(): text for text in allowed}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name: `no <kind> 'name'. Did you mean 'x'? Allowed: …`."""
    names = sorted(allowed)
    return f"no {kind} '{name}'.{nearest(name, names)} Allowed: {', '.join(names)}"
