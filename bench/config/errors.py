"""One mistake in a suite: where it stands, what was found there, and what is allowed."""

from dataclasses import dataclass

from bench.config.text import short

Where = tuple[str | int, ...]  # a place in plain data, e.g. ("pairs", 0, "teacher")


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, at a place in the data."""

    where: Where
    sentence: str
    line: int | None = None  # where it is not the line of that place

    def __str__(self) -> str:
        """`path: sentence`, without a path for the file as a whole."""
        return f"{dotted(self.where)}: {self.sentence}" if self.where else self.sentence


def dotted(where: Where) -> str:
    """A place as it is written in messages and after `--set`: `pairs.0.teacher`."""
    return ".".join(short(str(part)) for part in where)


def found(data: object) -> str:
    """`found` and what some plain data is: `the text 'x'`, `the number 3`, `a list`."""
    return f"found {_kind(data)}"


def _kind(data: object) -> str:
    match data:
        case None:
            return "nothing"
        case bool():
            return "true" if data else "false"
        case int() | float():
            return f"the number {data}"
        case str():
            return f"the text '{short(data)}'"
        case list() | tuple():
            return "a list"
    return "a mapping"
