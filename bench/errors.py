"""Every error that a user can cause, and nothing else.

BenchError                 a sentence for the user, never a traceback
├── Mistakes               everything wrong with a suite or command line, at once (exit code 2)
├── MissingData            a data set or a checkpoint is not where it was looked for
├── TeacherRefused         a checkpoint is not the teacher that its manifest promises
└── RunFailed              a run could not finish
    └── Diverged           its loss was no longer finite
"""

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """Whatever went wrong, as one sentence that says where, what was found and what is allowed."""


class Mistakes(BenchError):
    """All mistakes of one suite together, each a line `file:line  path: what was found. …`."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class MissingData(BenchError):
    """A file that a run needs is absent: names the archive and the folder that was searched."""


class TeacherRefused(BenchError):
    """A teacher's accuracy or checksum differs from its manifest."""


def nearest(found: str, allowed: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest of the allowed names, or nothing if none is close."""
    close = difflib.get_close_matches(found, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(what: str, found: str, allowed: Iterable[str]) -> str:
    """`no <what> 'found'. Did you mean 'x'? Allowed: …`, the sentence for every unknown name."""
    names = sorted(allowed)
    return f"no {what} '{found}'.{nearest(found, names)} Allowed: {', '.join(names)}"
