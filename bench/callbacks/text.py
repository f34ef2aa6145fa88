"""What is seen of a run of a suite where no terminal is: plain lines, or JSON lines."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from bench.callbacks.progress import Course, Progress, duration
from bench.config.text import as_json, printable
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Cohort

LOST = ("failed", "diverged", "skipped")  # how a run ends without a result
PAUSE = 10.0  # seconds between two lines of progress


class Plain:
    """A line for each event that matters, and one of progress now and then."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out
        self._said = progress.clock()

    def started(self, cohort: "Cohort", device: str) -> None:
        """Say which runs begin, and where."""
        group = self._progress.start(cohort, device)
        methods = ", ".join(dict.fromkeys(course.method for course in group.courses))
        self._say(f"started   {group.label} on {device}{methods and f': {methods}'}")

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Say how far the cohort is, if nothing was said for a while."""
        group = self._progress.advance(run, entry)
        if self._progress.clock() - self._said >= PAUSE:
            self._say(f"epoch     {group.epoch} of {group.label}; {self._progress.said()}")

    def record(self, record: Record) -> None:
        """Say how the run ended."""
        self._say(outcome(self._progress.end(record), record["seconds"]))

    def notice(self, text: str) -> None:
        """Say it."""
        self._say(f"notice    {text}")

    def closed(self) -> None:
        """Say how all ended."""
        self._say(next(summary(self._progress)))

    def _say(self, line: str) -> None:
        self._said = self._progress.clock()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()


class Json:
    """Every event as a line of JSON."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out

    def started(self, cohort: "Cohort", device: str) -> None:
        """`cohort`, `device`, and `runs`, each with `id` and `name`."""
        group = self._progress.start(cohort, device)
        runs = [{"id": course.run.id, "name": course.name} for course in group.courses]
        self._say("started", cohort=cohort.id, device=device, runs=runs)

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """`id` and `name` of the run, and the `entry` of its curves."""
        self._progress.advance(run, entry)
        self._say("epoch", id=run, name=self._progress.courses[run].name, entry=entry)

    def record(self, record: Record) -> None:
        """`id`, `name`, `status`, `reason`, `metrics` and `seconds` of the record."""
        course = self._progress.end(record)
        kept = {key: record[key] for key in ("status", "reason", "metrics", "seconds")}
        self._say("record", id=record["id"], name=course.name, **kept)

    def notice(self, text: str) -> None:
        """`text`."""
        self._say("notice", text=text)

    def closed(self) -> None:
        """`runs`, how many there were to do, `counts` by status, and the `seconds` it all took."""
        runs, seconds = len(self._progress.courses), round(self._progress.elapsed, 3)
        self._say("closed", runs=runs, counts=dict(self._progress.counts), seconds=seconds)

    def _say(self, event: str, **content: Any) -> None:
        self._out.write(as_json({"event": event, **content}, indent=None) + "\n")
        self._out.flush()


def summary(progress: Progress) -> Iterator[str]:
    """How many runs ended how, in a line; then a line for each reason there was."""
    name, counts = progress.plan.suite.name, progress.counts
    parts = [f"{counts[status]} {status}" for status in ("done", *LOST) if counts[status]]
    if open_ := len(progress.courses) - counts.total():
        parts.append(f"{open_} not finished")
    if not parts:
        yield f"{name}: nothing to do, all {len(progress.plan.runs)} runs have their record"
        return
    yield f"{name}: {', '.join(parts)}, after {duration(progress.elapsed)}"
    reasons: dict[tuple[str, str], list[Course]] = {}
    for course in progress.courses.values():
        if course.status in LOST:
            reasons.setdefault((course.status, course.reason or ""), []).append(course)
    for (status, reason), courses in reasons.items():
        more = f" and {len(courses) - 1} more" if len(courses) > 1 else ""
        yield f"  {status:9} {courses[0].name}{more}: {reason}"


def outcome(course: Course, seconds: float) -> str:
    """How a run ended, and after how many seconds of training, in a line."""
    if course.status != "done":
        return f"{course.status:9} {course.name}: {course.reason}"
    top1 = f"top-1 {course.top1:.2f} %, " if course.top1 is not None else ""
    took = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    return f"done      {course.name}: {top1}{took}"
