"""What the records of one cell of a table amount to: values over seeds, or why there are none."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, ClassVar, Literal

from bench.report.wording import joined
from bench.stats import ALPHA, Judgement

Role = Literal["teacher", "student", "method"]
Rank = Literal["best", "second"]
Versus = Literal["better", "worse"]

LARGEST = 1e12  # of a value: no run measures more, and sums of its powers remain finite
_GRAVITY = ("missing", "skipped", "diverged", "failed")


@dataclass(frozen=True)
class Entry:
    """One run that a table asks for, and its record if there is one.

    A teacher's entries may repeat for each seed of its students: the same record counts once.
    """

    pair: str
    teacher: str  # the network's name, or how it is to be shown
    student: str
    method: str
    seed: int
    record: Any
    label: str = ""  # of the method; its name when empty
    note: str | None = None  # a deviation, e.g. "reconstruction": a dagger at the row
    role: Role = "method"  # "student" is the plain student


@dataclass(frozen=True)
class Measured:
    """The values of one cell, a seed each, in the order of the seeds."""

    values: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many runs."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """The unbiased standard deviation (n - 1); None for a single run."""
        return stdev(self.values) if self.n > 1 else None


@dataclass(frozen=True)
class Quoted:
    """What a paper prints for a cell: a mean, perhaps a spread, and no values behind them."""

    mean: float
    std: float | None
    source: str  # "CRD, Table 1"
    doubt: str = ""  # why the number should not be trusted
    mark: str = ""  # of the note that tells the doubt
    n: ClassVar[int] = 0
    values: ClassVar[tuple[float, ...]] = ()
    seeds: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True)
class Hole:
    """Why values are absent."""

    status: str  # missing, skipped, diverged or failed
    reason: str  # a whole phrase: "skipped: AT needs …", "diverged at epoch 12"


@dataclass(frozen=True)
class Cell:
    """Values, or the reason why there are none; both when only some seeds have a value."""

    measured: Measured | Quoted | None
    hole: Hole | None = None
    rank: Rank | None = None
    mark: str = ""  # of the note that tells the hole's reason
    versus: Versus | None = None  # how the mean is, beside that of the table's reference method
    judgement: Judgement | None = None  # beside that method, noise considered; None: not tested
    published: Quoted | None = None  # what a paper has in this place
    runs: tuple[str, ...] = field(default=(), compare=False)  # ids of the records it is made of

    @property
    def gap(self) -> float | None:
        """The mean minus the published one."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.mean - self.published.mean

    @property
    def significant(self) -> bool | None:
        """Whether noise is ruled out as the cause of the difference; None: not tested."""
        found = self.judgement
        return None if found is None or found.p is None else found.p < ALPHA

    @property
    def rival(self) -> Measured | Quoted | None:
        """What may be ranked: the survivors of a cell that lacks seeds would be no fair rival."""
        return None if self.hole else self.measured

    @property
    def status(self) -> str:
        """`done`, `partial`, that of the hole, or `empty`: no value, and no reason known."""
        if self.hole is None:
            return "done" if self.measured else "empty"
        return self.hole.status if self.measured is None else "partial"


def cell(entries: Sequence[Entry], metric: str) -> Cell:
    """The cell made of all entries of one pair and method, in any order."""
    if not entries:
        return Cell(None, Hole("missing", "missing: not part of this suite"))
    runs: dict[Hashable, tuple[int, float]] = {}
    holes: dict[int, Hole] = {}
    entries = sorted(entries, key=lambda entry: entry.seed)
    for entry in entries:
        found = _value(entry.record, metric)
        if isinstance(found, Hole):
            holes[entry.seed] = found
        else:
            record = entry.record or {}
            runs.setdefault(
                record.get("id", entry.seed), (int(record.get("seed", entry.seed)), found)
            )
    ids = (str(entry.record["id"]) for entry in entries if entry.record and "id" in entry.record)
    made_of = tuple(dict.fromkeys(ids))
    if not runs:
        return Cell(None, _merged(holes, partial=False), runs=made_of)
    seeds, values = zip(*runs.values(), strict=True)
    hole = _merged(holes, partial=True) if holes else None
    return Cell(Measured(values, seeds), hole, runs=made_of)


def _value(record: Mapping[str, Any] | None, metric: str) -> float | Hole:
    """A record's value of a metric, or why it has none."""
    if record is None:
        return Hole("missing", "missing: not run yet")
    if (status := str(record.get("status"))) != "done":
        return Hole(status, _reason(status, str(record.get("reason") or "")))
    source, key = ("oracle", "top1") if metric == "oracle" else ("last", metric)
    value = ((record.get("metrics") or {}).get(source) or {}).get(key)
    if (number := measured(value)) is None:
        return Hole("missing", f"missing: the record has no {metric}")
    return number


def measured(value: Any) -> float | None:
    """A record's value as a number; None for what is none, or is beyond all that is measured."""
    plain = isinstance(value, int | float) and abs(value) <= LARGEST
    return float(value) if plain else None


def _reason(status: str, text: str) -> str:
    """A record's reason on one line that begins with its status; of a traceback, the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines)
    if said.startswith(status):
        return said
    return f"{status}: {said}" if said else status


def _merged(holes: Mapping[int, Hole], *, partial: bool) -> Hole:
    """The holes of several seeds as one: the gravest status, and each reason with its seeds."""
    seeds: dict[Hole, list[str]] = {}
    for seed, hole in holes.items():
        seeds.setdefault(hole, []).append(str(seed))
    if len(seeds) == 1 and not partial:
        return next(iter(seeds))
    gravest = max(seeds, key=lambda hole: (*_GRAVITY, hole.status).index(hole.status))
    told = (
        f"{'seed' if len(found) == 1 else 'seeds'} {joined(found)} {hole.reason}"
        for hole, found in seeds.items()
    )
    return Hole(gravest.status, "; ".join(told))
